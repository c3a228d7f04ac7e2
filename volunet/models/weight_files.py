"""Reading files of weights: tensors by name, and nothing that could run."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load
from torch import Tensor

from volunet.errors import ModelError

HOLDERS = ("state_dict", "model_state_dict", "model", "net", "network")
"""Entries under which checkpoints keep weights beside other things."""
DEEPEST = 4
"""How many of these may lie in one another."""


@dataclass(frozen=True)
class WeightFile:
    """What a file holds.

    Args:
        name: of the file.
        sha256: of all of it.
        tensors: by the names that they have there.
        other: names of what is beside the weights, such as the state of an optimiser.
    """

    name: str
    sha256: str
    tensors: dict[str, Tensor]
    other: tuple[str, ...]


def read_weights(path: str | os.PathLike[str], *, sha256: str | None = None) -> WeightFile:
    """Weights in safetensors, or in torch's format read as data only.

    Args:
        path: of a file here; nothing is fetched.
        sha256: that the file must have.

    Raises:
        ModelError: there is no such file, its SHA-256 is another, it is damaged, or it holds no
            tensors by name.
    """
    if "://" in str(path):
        raise ModelError(
            f"{path} is an address, and nothing is fetched unasked. Fetch it with "
            f"volunet.io.fetch.fetch_weights, and give the path that it returns."
        )
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} is no file of weights. Give the file that holds them.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ModelError(
            f"{path.name} has the SHA-256 {found}, not {sha256.lower()}: it is damaged or another "
            f"file. Get it again."
        )
    if path.suffix != ".safetensors":
        check_archive(BytesIO(content), path.name)
    held = _held(path, content)
    tensors, other = _weights_in(held)
    if not tensors:
        raise ModelError(
            f"{path.name} holds no tensors by name, but {', '.join(map(str, other[:6])) or 'none'}."
            f" Save the network's state_dict() into a file of its own."
        )
    return WeightFile(path.name, found, tensors, other)


def check_archive(file: BinaryIO, name: str) -> None:
    """Nothing, where every part of torch's archive has its checksum, which torch does not look at.

    A file that was saved without checksums has 0 in the place of all, and nothing to compare with;
    nor have files of torch's before 1.6, which are no archives.

    Args:
        file: open for reading.
        name: of the file, for the message.

    Raises:
        ModelError: a part is damaged.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            has_checksums = any(part.CRC for part in archive.infolist())
            damaged = archive.testzip() if has_checksums else None
    except Exception as error:  # what is damaged makes unpacking raise anything
        raise ModelError(f"{name} is damaged: {error}. Get it again from its source.") from error
    if damaged is not None:
        raise ModelError(
            f"{name} is damaged: the checksum of {damaged} in it is wrong. Get it again from its "
            f"source."
        )


def refuse_nonfinite(weights: Mapping[str, Tensor], whose: str) -> None:
    """Nothing, where all weights are finite numbers.

    Args:
        whose: what they are of, for the message.

    Raises:
        ModelError: some are NaN or infinite.
    """
    wrong = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if wrong:
        more = f" ({len(wrong)} tensors do)" if len(wrong) > 1 else ""
        raise ModelError(
            f"{whose} cannot be used: {wrong[0]} holds numbers that are not finite{more}. Its "
            f"training failed, or the file is damaged. Take another checkpoint."
        )


def _held(path: Path, content: bytes) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return dict(load(content))
        held = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what is damaged makes unpickling raise anything
        raise ModelError(
            f"{path.name} is no file of weights that can be read safely: it is damaged, or holds "
            f"more than tensors and plain values, such as a whole network. Save the network's "
            f"state_dict() instead."
        ) from error
    if not isinstance(held, dict):
        raise ModelError(
            f"{path.name} holds a {type(held).__name__}, not tensors by name. Save the network's "
            f"state_dict() instead."
        )
    return held


def _weights_in(
    held: dict[str, Any], deep: int = DEEPEST
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors, and the names of all else, which is looked into no further."""
    for holder in HOLDERS if deep else ():
        if isinstance(held.get(holder), dict):
            tensors, other = _weights_in(held[holder], deep - 1)
            return tensors, (*other, *(str(name) for name in held if name != holder))
    tensors = {str(name): value for name, value in held.items() if isinstance(value, Tensor)}
    return tensors, tuple(str(name) for name in held if name not in tensors)
