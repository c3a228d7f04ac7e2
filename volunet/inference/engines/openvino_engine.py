"""Networks run by OpenVINO on a CPU, in float32 or bfloat16 (extra `openvino`).

A network is converted by tracing it at the least size that shows what it does, and then given the
size of its windows. Its conversion is bytes, so that it can be kept:

    length of XML (8 bytes, little-endian) | XML | weights
"""

from __future__ import annotations

import logging
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from volunet.errors import MissingExtra, ShapeError
from volunet.inference.engines.engine import Network, Precision
from volunet.inference.engines.openvino_norm import stage_means

LENGTH = struct.Struct("<Q")
HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}
TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """OpenVINO, without its telemetry.

    Imported as it comes, it starts a thread, looks a host up and writes into the home folder.
    None stands in for the module that does so, which OpenVINO takes for "not installed".

    Raises:
        MissingExtra: it is not installed.
    """
    if "openvino" not in sys.modules and find_spec("openvino") is None:
        raise MissingExtra("The engine 'openvino'", "openvino")
    blocked = TELEMETRY not in sys.modules
    if blocked:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("The engine 'openvino'", "openvino") from error
    finally:
        if blocked:
            del sys.modules[TELEMETRY]
    return openvino


def precisions() -> tuple[Precision, ...]:
    """The precisions that this CPU computes in, the fastest first.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    able = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "fp32") if "BF16" in able else ("fp32",)


def convert(network: Network) -> bytes:
    """The network as OpenVINO reads it, for its one size of windows.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    ov = import_openvino()
    module = deepcopy(network.module).cpu().eval()
    with torch.no_grad(), warnings.catch_warnings(), _own_logging():
        warnings.simplefilter("ignore")  # tracing warns of checks of the shape, which hold here
        model = ov.convert_model(
            module,
            example_input=torch.zeros(network.example_shape),
            input=[1, network.channels, *network.patch],
        )
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        ov.serialize(model, xml, weights)
        text = xml.read_bytes()
        return LENGTH.pack(len(text)) + text + weights.read_bytes()


@contextmanager
def _own_logging() -> Iterator[None]:
    """Puts the root logger back as it was; a conversion that fails leaves it otherwise."""
    root = logging.getLogger()
    level, handlers, filters = root.level, root.handlers[:], root.filters[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:], root.filters[:] = handlers, filters


class OpenVinoEngine:
    """A converted network on as many threads as torch uses.

    Several threads may call it: one window is computed at a time.

    Args:
        content: what `convert` gave.
        precision: of the arithmetic; logits are float32 in any.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """

    def __init__(self, content: bytes, *, precision: Precision = "fp32") -> None:
        ov = import_openvino()
        (length,) = LENGTH.unpack_from(content)
        end = LENGTH.size + length
        model = ov.Core().read_model(content[LENGTH.size : end], content[end:])
        if precision == "fp32":  # in bfloat16 each stage would round to it
            stage_means(ov, model)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,
        }
        compiled = ov.Core().compile_model(model, "CPU", settings)
        self.precision = precision
        self._shapes = tuple(compiled.input(0).shape), tuple(compiled.output(0).shape)
        self._request = compiled.create_infer_request()
        self._tensor, self._lock = ov.Tensor, threading.Lock()

    def __str__(self) -> str:
        return f"openvino {self.precision}"

    def __call__(self, windows: Tensor, /) -> Tensor:
        """Logits (B, classes, *patch) in memory of their own.

        Raises:
            ShapeError: windows of another size than those it was converted for.
        """
        taken, given = self._shapes
        if tuple(windows.shape[1:]) != taken[1:]:
            raise ShapeError(
                f"This network was converted for windows of {taken[1:]}, got "
                f"{tuple(windows.shape[1:])}."
            )
        batch = windows.detach().to("cpu", torch.float32).contiguous()
        logits = torch.empty((len(batch), *given[1:]))
        with self._lock:
            for window, answer in zip(torch.split(batch, 1), torch.split(logits, 1), strict=True):
                self._request.set_input_tensor(self._share(window))
                self._request.set_output_tensor(self._share(answer))
                self._request.infer()
        return logits

    def _share(self, tensor: Tensor) -> Any:
        """The same memory, as OpenVINO takes it."""
        return self._tensor(tensor.numpy(), shared_memory=True)
