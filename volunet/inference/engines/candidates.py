"""The engines there are, where each can be had, and how each is built."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import torch

from volunet.errors import ConfigError, MissingExtra
from volunet.inference.engines import onnx_engine, openvino_engine
from volunet.inference.engines.engine import Engine, Network, Precision
from volunet.inference.engines.torch_engine import DTYPES, TorchEngine, name_of
from volunet.planning.machine import choose_dtype, name_of_device, processor_facts

EngineName = Literal["torch", "openvino", "onnx"]
PACKAGES = ("volunet", "torch", "openvino", "onnxruntime", "onnxruntime-gpu", "onnx")


@dataclass(frozen=True)
class Candidate:
    """An engine at a precision."""

    engine: EngineName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


REFERENCE = Candidate("torch", "fp32")


def list_candidates(device: torch.device) -> tuple[Candidate, ...]:
    """What may run on a device, the likely fastest first; not all may be installed."""
    half = name_of(choose_dtype(device))
    found = [Candidate("torch", half)] if half != "fp32" else []
    if device.type == "cpu":
        found = [
            Candidate("openvino", "bf16"),
            *found,
            Candidate("openvino", "fp32"),
        ]
    if device.type in ("cpu", "cuda"):
        found.append(Candidate("onnx", "fp32"))
    return (*found, REFERENCE)


def why_not(candidate: Candidate, device: torch.device) -> str:
    """Why a candidate cannot be tried here; "" where it can."""
    try:
        if candidate.engine == "openvino":
            able = candidate.precision in openvino_engine.precisions()
            return "" if able else f"this CPU does not compute in {candidate.precision}"
        if candidate.engine == "onnx":
            able = onnx_engine.runs_on(device)
            return "" if able else "this ONNX Runtime is built without CUDA"
    except MissingExtra:
        return f"not installed: pip install 'volunet[{candidate.engine}]'"
    return ""


def check_able(candidates: tuple[Candidate, ...], device: torch.device) -> None:
    """Nothing, where one of the candidates can run here; torch always can.

    Raises:
        ConfigError: none can.
    """
    reasons = {c: why_not(c, device) for c in candidates if c.engine != "torch"}
    if len(reasons) == len(candidates) and all(reasons.values()):
        told = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
        raise ConfigError(f"{told}. Leave engine and precision out, or choose others.")


def convert(engine: EngineName, network: Network) -> bytes:
    """The network as the engine reads it; nothing for torch.

    Raises:
        MissingExtra: the engine is not installed.
    """
    if engine == "openvino":
        return openvino_engine.convert(network)
    return onnx_engine.convert(network) if engine == "onnx" else b""


def build(
    candidate: Candidate, network: Network, device: torch.device, content: bytes = b""
) -> Engine:
    """The engine, ready to answer.

    Args:
        content: what `convert` gave.

    Raises:
        MissingExtra: it is not installed.
    """
    if candidate.engine == "openvino":
        return openvino_engine.OpenVinoEngine(content, precision=candidate.precision)
    if candidate.engine == "onnx":
        return onnx_engine.OnnxEngine(content, device=device)
    return TorchEngine(network.module, device=device, dtype=DTYPES[candidate.precision])


def narrow(
    candidates: tuple[Candidate, ...], engine: str, precision: str | None, device: torch.device
) -> tuple[Candidate, ...]:
    """The candidates of an engine ("auto" for any) and a precision (None for any).

    Raises:
        ConfigError: there is no such engine or precision on this device.
        MissingExtra: the engine that is named is not installed.
    """
    known = sorted({c.engine for c in candidates})
    if engine not in ("auto", *known):
        raise ConfigError(
            f"There is no engine {engine!r} for {device.type}. Choose auto or {', '.join(known)}."
        )
    if engine == "openvino":
        openvino_engine.import_openvino()
    elif engine == "onnx":
        onnx_engine.import_onnxruntime()
    if precision is not None and precision not in DTYPES:
        raise ConfigError(f"There is no precision {precision!r}. Choose {', '.join(DTYPES)}.")
    named = [c for c in candidates if engine in ("auto", c.engine)]
    if engine == "torch" and precision is not None:
        named = [Candidate("torch", name) for name in DTYPES]
    kept = tuple(c for c in named if precision in (None, c.precision))
    if not kept:
        offered = ", ".join(map(str, candidates))
        raise ConfigError(
            f"No {engine} engine has {precision} on {device.type}. There are {offered}."
        )
    return kept


def versions() -> Mapping[str, str]:
    """The versions of the packages that engines come from, those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe(device: torch.device) -> str:
    """The name of a processor and a hash of what it can do."""
    if device.type == "cuda":
        return name_of_device(device)
    flags = " ".join(sorted(processor_facts().get("flags", "").split()))
    digest = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return f"{device.type} {name_of_device(device)} {digest}"
