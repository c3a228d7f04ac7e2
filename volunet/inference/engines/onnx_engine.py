"""Networks run by ONNX Runtime, on a CPU or an NVIDIA GPU, in float32 (extra `onnx`)."""

from __future__ import annotations

import io
import os
import threading
import warnings
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from volunet.errors import MissingExtra, ModelError
from volunet.inference.engines.engine import Network

OPSET = 20
OPT_OUT = "ORT_DISABLE_TELEMETRY"
AXES = "ijk"


def import_onnxruntime() -> Any:
    """ONNX Runtime, without its telemetry.

    Imported as it comes (from 1.29 on), it writes into the home folder and sends what it runs to
    its makers. It looks once, when it is imported, whether a variable tells it not to.

    Raises:
        MissingExtra: it, or `onnx` that networks are converted with, is not installed.
    """
    if any(find_spec(name) is None for name in ("onnxruntime", "onnx")):
        raise MissingExtra("The engine 'onnx'", "onnx")
    before = os.environ.get(OPT_OUT)
    os.environ[OPT_OUT] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("The engine 'onnx'", "onnx") from error
    finally:
        if before is None:
            del os.environ[OPT_OUT]
        else:
            os.environ[OPT_OUT] = before
    onnxruntime.disable_telemetry_events()  # where somebody else imported it before
    return onnxruntime


def runs_on(device: torch.device) -> bool:
    """Whether ONNX Runtime, as it is installed here, computes on such a device.

    Raises:
        MissingExtra: it is not installed.
    """
    wanted = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    return wanted in import_onnxruntime().get_available_providers()


def convert(network: Network) -> bytes:
    """The network as an ONNX file, for windows of any size and number.

    Raises:
        MissingExtra: `onnx` is not installed.
    """
    import_onnxruntime()
    free = {0: "batch"} | {axis + 2: AXES[axis] for axis in range(len(network.patch))}
    file = io.BytesIO()  # the older exporter writes into a buffer, whatever its types say
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of checks of the shape, and of its age
        torch.onnx.export(
            deepcopy(network.module).cpu().eval(),
            (torch.zeros(network.example_shape),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["windows"],
            output_names=["logits"],
            dynamic_axes={"windows": free, "logits": free},
        )
    return file.getvalue()


class OnnxEngine:
    """A converted network on as many threads as torch uses, or on a GPU.

    Args:
        content: what `convert` gave.
        device: a CPU or a CUDA device.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ModelError: a GPU is wanted, and ONNX Runtime finds no CUDA there to run on.
    """

    def __init__(self, content: bytes, *, device: torch.device | str = "cpu") -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        place = torch.device(device)
        self._at_once = 1 if place.type == "cpu" else None
        providers: list[Any] = ["CPUExecutionProvider"]
        if place.type == "cuda":
            providers = [("CUDAExecutionProvider", {"device_id": place.index or 0, "use_tf32": 0})]
        self._session = ort.InferenceSession(
            content, options, providers=providers, enable_fallback=0
        )
        if place.type == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            raise ModelError(
                "ONNX Runtime does not start on this GPU, and would have used the CPU: its CUDA or "
                "cuDNN is of another version, or missing. Mend that, or take the engine torch."
            )
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return "onnx fp32"

    def __call__(self, windows: Tensor, /) -> Tensor:
        """Logits (B, classes, *patch) in memory of their own."""
        batch = windows.detach().to("cpu", torch.float32).contiguous()
        parts = torch.split(batch, self._at_once or len(batch))
        with self._lock:
            answers = [self._session.run(None, {"windows": part.numpy()})[0] for part in parts]
        logits = [torch.from_numpy(answer) for answer in answers]
        return torch.cat(logits) if len(logits) > 1 else logits[0]
