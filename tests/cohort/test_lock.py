"""One process at a time works on a folder, and a dead one does not keep the next one out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cohort.test_runner import predict
from tests.cohort.threshold import write_scans
from volunet.cohort.lock import (
    NAME,
    PERMIT_S,
    RESTART_S,
    STALE_S,
    is_held,
    locked,
    locked_in_turn,
)
from volunet.errors import ConfigError, TakenOver
from volunet.io.processes import process_space

DEAD = {"host": os.uname().nodename, "pid": os.getpid(), "born": "1", "space": process_space()}
HOLD = "import sys, pathlib; from volunet.cohort.lock import locked\n"
HOLD += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"


def hold(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_process_is_told_whom_to_wait_for(tmp_path: Path) -> None:
    scans, out = write_scans(tmp_path / "scans", 1), tmp_path / "out"
    other = hold(out)
    with pytest.raises(ConfigError, match=rf"process {other.pid} on .* Wait for it"):
        predict(scans, out)
    assert sorted(p.name for p in out.iterdir()) == [NAME]
    other.kill()
    # Not yet waited for, it is a zombie, which works no more.
    deadline = time.monotonic() + 10
    while "Z" not in Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with locked(out):
        pass
    other.communicate()
    assert predict(scans, out).exit_code == 0
    assert not (out / NAME).exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    other = hold(tmp_path)
    other.kill()
    other.communicate()
    assert (tmp_path / NAME).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_process_that_was_given_the_same_id_does_not_count(tmp_path: Path) -> None:
    with locked(tmp_path):
        held = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps(held | {"born": "1"}))
    with locked(tmp_path):
        pass


def test_a_lock_cannot_be_held_twice_in_one_process(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(ConfigError, match=f"remove {NAME}"), locked(tmp_path):
            pass
        assert (tmp_path / NAME).exists(), "whoever is refused leaves the lock"


def test_who_waits_for_a_folder_is_told_for_whom_and_has_it_next(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("volunet.cohort.lock.WAIT_S", 0.01)
    other, told = hold(tmp_path), list[str]()

    def waits(why: str) -> None:
        told.append(why)
        if len(told) == 3:
            other.communicate(b"\n")

    with locked_in_turn(tmp_path, waits):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert len(told) == 3
    assert f"process {other.pid} on" in told[0]
    assert not list(tmp_path.iterdir())


def test_a_lock_that_somebody_cleared_away_is_made_again(tmp_path) -> None:
    with locked(tmp_path) as lock:
        held = lock.path.read_text()
        lock.path.unlink()
        lock.refresh()
        assert lock.path.read_text() == held
        with pytest.raises(ConfigError), locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir())


def test_waiting_ends_where_that_is_asked_for(tmp_path) -> None:
    def stop(why: str) -> None:
        raise KeyboardInterrupt

    with locked(tmp_path), pytest.raises(KeyboardInterrupt), locked_in_turn(tmp_path, stop):
        pass
    with locked_in_turn(tmp_path, stop), pytest.raises(ConfigError), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
NEIGHBOUR = DEAD | {"space": process_space().replace("pid:", "other:")}
CLONE = DEAD | {"space": process_space().replace(BOOT, BOOT[::-1])}
OF_AN_EARLIER_VERSION = DEAD | {"born": f"{BOOT[::-1]}:1", "space": "pid:[4026531836]"}


def test_after_a_restart_the_lock_of_this_machine_is_free_sooner(tmp_path: Path) -> None:
    recent = time.time() - RESTART_S
    for held, age, free in ((CLONE, 60, True), (CLONE, -60, False), (NEIGHBOUR, 60, False)):
        (tmp_path / NAME).write_text(json.dumps(held))
        os.utime(tmp_path / NAME, (recent - age, recent - age))
        assert is_held(tmp_path) is not free
    assert not is_held(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"host": "another", "pid": 1, "born": ""}',
        *map(json.dumps, (NEIGHBOUR, CLONE, OF_AN_EARLIER_VERSION)),
    ],
    ids=[
        "unreadable",
        "another machine",
        "another container with this process's id",
        "another machine of this name",
        "an earlier version's",
    ],
)
def test_a_lock_whose_process_cannot_be_seen_is_stale_without_a_sign_of_life(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(ConfigError), locked(tmp_path):
        pass
    old = time.time() - STALE_S - 60
    os.utime(tmp_path / NAME, (old, old))
    with locked(tmp_path) as lock:
        os.utime(tmp_path / NAME, (old, old))
        lock.refresh()
        assert time.time() - (tmp_path / NAME).stat().st_mtime < 60


def test_a_process_gives_signs_of_life_while_a_case_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volunet.cohort.lock.SIGN_S", 0.01)
    with locked(tmp_path):
        os.utime(tmp_path / NAME, (0, 0))
        deadline = time.monotonic() + 20
        while not (tmp_path / NAME).stat().st_mtime and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / NAME).stat().st_mtime > 0


def test_a_lock_that_was_taken_over_is_left_alone(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        (tmp_path / NAME).write_text(json.dumps(NEIGHBOUR))
        with pytest.raises(TakenOver, match=r"taken .* over"):
            lock.refresh()
    assert json.loads((tmp_path / NAME).read_text()) == NEIGHBOUR


def test_a_process_that_died_while_taking_over_keeps_nobody_out_for_long(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps(DEAD))
    permit = tmp_path / f"{NAME}.taken"
    permit.touch()
    for _ in range(2):
        with pytest.raises(ConfigError), locked(tmp_path):
            pass
    old = time.time() - PERMIT_S - 1
    os.utime(permit, (old, old))
    with pytest.raises(ConfigError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_of_many_that_find_a_stale_lock_only_one_gets_it(tmp_path: Path) -> None:
    for round_ in range(30):
        folder = tmp_path / str(round_)
        folder.mkdir()
        (folder / NAME).write_text(json.dumps(DEAD))
        start, inside, most = threading.Barrier(4), [], []

        def work(
            folder: Path = folder,
            start: threading.Barrier = start,
            inside: list[int] = inside,
            most: list[int] = most,
        ) -> None:
            start.wait()
            try:
                with locked(folder):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.002)
                    inside.pop()
            except ConfigError:
                pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(most) == 1
        assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Choose another folder"), locked(tmp_path / "file"):
        pass
