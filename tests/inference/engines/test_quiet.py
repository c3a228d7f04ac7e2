"""No engine opens a socket, looks a host up, or leaves anything in the home folder but our cache.

OpenVINO and ONNX Runtime both come with telemetry that does. Each child runs without CI in its
environment, as CI silences it, and has two guards: Python's audit hook, which names what was done,
and the kernel's own, which ends a process that asks for a socket in any language.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

GUARD = """
import ctypes, platform, sys

def forbid(event, arguments):
    if event.startswith("socket."):
        raise PermissionError(f"{event} {arguments}")

sys.addaudithook(forbid)
number = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
guarded = False
if sys.platform == "linux" and number:
    class Step(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                    ("k", ctypes.c_uint)]
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.POINTER(Step))]
    steps = (Step * 6)(  # a socket() whose family is not "of this machine" ends the process
        Step(0x20, 0, 0, 0), Step(0x15, 0, 3, number), Step(0x20, 0, 0, 16), Step(0x15, 1, 0, 1),
        Step(0x06, 0, 0, 0x80000000), Step(0x06, 0, 0, 0x7FFF0000),
    )
    program = Program(6, steps)
    libc = ctypes.CDLL(None, use_errno=True)
    guarded = libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program)) == 0
"""

THROUGH_EVERY_ENGINE = """
import os, time, threading
from pathlib import Path
import torch
from tests.inference.engines.nets import PATCH, blobs
from volunet.inference.engines import auto
from volunet.inference.engines.auto import AutoEngine
from volunet.inference.engines.trial import make_windows

auto.SMALL = 0
torch.set_num_threads(1)
scan = make_windows(1, PATCH)[0].numpy()
choice = AutoEngine(blobs(), torch.device("cpu")).settle(scan)
for row in choice.rows:
    unable = row.verdict == f"this CPU does not compute in {row.precision}"
    assert row.equal is not None or unable, f"{row}: {row.verdict}"
assert {"torch", "openvino", "onnx"} <= {row.engine for row in choice.rows if row.equal}
for name in ("torch", "openvino", "onnx"):
    AutoEngine(blobs(), torch.device("cpu"), engine=name)(make_windows(1, PATCH))
time.sleep(1)
assert not any(n.startswith("openvino_telemetry") for n in sys.modules), "telemetry was imported"
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
print(*sorted(str(p.relative_to(Path.home())) for p in Path.home().rglob("*") if p.is_file()))
"""


def in_a_child(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_engine_is_quiet(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    done = in_a_child(GUARD + THROUGH_EVERY_ENGINE, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    left = done.stdout.split()
    assert left
    assert all(path.startswith(".cache/volunet/engines/") for path in left)


def test_the_guards_bite(tmp_path):
    done = in_a_child(GUARD + "import socket; socket.socket()", tmp_path)
    assert "PermissionError: socket.__new__" in done.stderr
    done = in_a_child(GUARD + "print(guarded); libc.socket(2, 1, 0)", tmp_path)
    if sys.platform == "linux" and "True" in done.stdout:
        assert done.returncode == -signal.SIGSYS


def test_what_was_in_the_environment_is_there_afterwards(tmp_path):
    code = """
import os
before = dict(os.environ)
from volunet.inference.engines import onnx_engine, openvino_engine
openvino_engine.import_openvino(); onnx_engine.import_onnxruntime()
assert dict(os.environ) == before
import sys
assert "openvino_telemetry" not in sys.modules
"""
    done = in_a_child(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_an_extra_that_is_missing_is_a_row_for_auto_and_advice_for_who_names_it(tmp_path):
    code = """
import sys
sys.modules["openvino"] = sys.modules["onnxruntime"] = None
import torch
from tests.inference.engines.nets import PATCH, blobs
from volunet.errors import MissingExtra
from volunet.inference.engines import auto
from volunet.inference.engines.auto import AutoEngine
auto.SMALL = 0
choice = AutoEngine(blobs(), torch.device("cpu")).settle()
assert choice.winner.engine == "torch"
told = {str(row): row.verdict for row in choice.rows}
assert told["openvino fp32"] == "not installed: pip install 'volunet[openvino]'", told
assert told["onnx fp32"] == "not installed: pip install 'volunet[onnx]'", told
for name in ("openvino", "onnx"):
    try:
        AutoEngine(blobs(), torch.device("cpu"), engine=name)
    except MissingExtra as missing:
        print(missing)
"""
    done = in_a_child(code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install 'volunet[openvino]'" in done.stdout
    assert "pip install 'volunet[onnx]'" in done.stdout
