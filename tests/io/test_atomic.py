"""A file is there whole, or it is not there; whatever stops the writing."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from volunet.errors import WriteError
from volunet.io.atomic import sweep, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a.json", "größe\n") == tmp_path / "a.json"
    assert (tmp_path / "a.json").read_bytes() == "größe\n".encode()
    assert names(tmp_path) == ["a.json"]


def test_chunks_are_written_one_after_another(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", iter([b"one", b"", b"two"]))
    assert (tmp_path / "a.bin").read_bytes() == b"onetwo"


def test_a_file_that_is_replaced_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def old_is_still_there(part: Path) -> None:
        assert part.read_text() == "new"
        assert (tmp_path / "a.txt").read_text() == "old"

    write_bytes(tmp_path / "a.txt", b"new", verify=old_is_still_there)
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_does_not_pass_its_check_is_not_kept(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def refuse(part: Path) -> None:
        raise WriteError("not what was meant")

    with pytest.raises(WriteError, match="not what was meant"):
        write_bytes(tmp_path / "a.txt", b"new", verify=refuse)
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_error_of_whoever_makes_the_chunks_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("second")

    with pytest.raises(KeyError):
        write_bytes(tmp_path / "a.bin", chunks())
    assert names(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"its folder 'nowhere' is not there\. Make it first"):
        write_text(tmp_path / "nowhere" / "a.txt", "")


def test_a_name_may_take_all_the_bytes_a_file_system_allows(tmp_path: Path) -> None:
    name = "ß" * 120 + ".nii.gz"
    write_text(tmp_path / name, "x")
    assert names(tmp_path) == [name]
    with pytest.raises(WriteError, match="too long"):
        write_text(tmp_path / ("x" * 300), "x")


FULL = """
import resource, sys
from volunet.errors import WriteError
from volunet.io.atomic import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_bytes(sys.argv[1], (bytes(30_000) for _ in range(10)))
except WriteError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.bin")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a.bin was not written" in run.stdout
    assert "full. Free some space" in run.stdout
    assert names(tmp_path) == []


def fail_to_sync_folders(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing a folder fails as it does on some shares and on a broken disk."""
    sync = os.fsync

    def fail(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EACCES", "EBADF"])
def test_a_share_that_cannot_sync_a_folder_is_written_to(tmp_path: Path, name, monkeypatch) -> None:
    fail_to_sync_folders(getattr(errno, name), monkeypatch)
    write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_has_its_name_is_never_called_not_written(tmp_path: Path, monkeypatch) -> None:
    fail_to_sync_folders(errno.EIO, monkeypatch)
    with pytest.raises(WriteError, match=r"a\.txt was written.*Input/output error.*Check the disk"):
        write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == ["a.txt"]


KILLED = """
import itertools, sys
from volunet.io.atomic import write_bytes
for n in itertools.count():
    write_bytes(sys.argv[1], (bytes([n % 256]) * 50_000 for _ in range(20)))
    print(n, flush=True)
"""


def test_kill_9_leaves_a_whole_file_and_what_is_left_over_is_swept(tmp_path: Path) -> None:
    path, left_over = tmp_path / "a.bin", 0
    for attempt in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.003 * attempt)
            child.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1
        left_over += len(names(tmp_path)) - 1
        sweep(tmp_path)
        assert names(tmp_path) == ["a.bin"]
    assert left_over > 0


def test_sweeping_spares_the_living_the_foreign_and_the_others(tmp_path: Path) -> None:
    kept: list[str] = []

    def look(part: Path) -> None:
        kept.extend(path.name for path in sweep(tmp_path))
        foreign = part.name.replace(part.name.split(".")[-2].split("-")[0], "0ff1ce")
        (tmp_path / foreign).touch()
        (tmp_path / foreign.replace("0ff1ce", "0ff1cd")).touch()
        os.utime(tmp_path / foreign.replace("0ff1ce", "0ff1cd"), (0, 0))
        (tmp_path / ".mine.part").touch()

    write_bytes(tmp_path / "a.txt", b"x", verify=look)
    assert kept == []
    assert [path.name.split(".")[-2][:6] for path in sweep(tmp_path)] == ["0ff1cd"]
    assert len(names(tmp_path)) == 3


def test_a_machine_of_the_same_name_is_another_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    name = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    at_work = tmp_path / f".a.txt.{name}-{dead.pid}-01234567.part"
    at_work.touch()
    assert sweep(tmp_path) == []
    os.utime(at_work, (0, 0))
    assert sweep(tmp_path) == [at_work]


def test_what_a_killed_process_left_goes_with_the_next_one_that_writes_there(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass

    def leave(part: Path) -> None:
        mine = f"-{os.getpid()}-"
        (tmp_path / part.name.replace(mine, f"-{dead.pid}-")).touch()

    write_bytes(tmp_path / "a.txt", b"x", verify=leave)
    assert len(names(tmp_path)) == 2
    code = "import sys; from volunet.io.atomic import write_text; write_text(sys.argv[1], 'y')"
    subprocess.run([sys.executable, "-c", code, tmp_path / "b.txt"], check=True)
    assert names(tmp_path) == ["a.txt", "b.txt"]
