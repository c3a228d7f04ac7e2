"""Starts a command, and tells how long it took and what it held: `launch.py FACTS COMMAND...`.

Linux counts what a process held before it became the command as the command's own. So the command
is started from here, where next to nothing is held, and not from whoever asks.
"""

import json
import os
import sys
import time


def main() -> None:
    facts, words = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    child = os.posix_spawnp(words[0], words, os.environ)
    _, status, usage = os.wait4(child, 0)
    told = {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "exit": os.waitstatus_to_exitcode(status),
    }
    with open(facts, "w") as file:
        json.dump(told, file)


main()
