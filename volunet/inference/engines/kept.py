"""Choices of engines and converted networks that are kept for the user from one run to the next."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volunet.config import build as build_settings
from volunet.config import to_json
from volunet.errors import ConfigError
from volunet.inference.engines.candidates import describe, versions
from volunet.inference.engines.choose import Choice
from volunet.inference.engines.engine import Network
from volunet.io.user_cache import keep, recall


@dataclass(frozen=True)
class Kept:
    """What is kept for a network; nothing for one without an identity.

    Args:
        device: that engines were tried on.
        asked: engine and precision that were asked for.
        folder: of what is kept.
    """

    network: Network
    device: torch.device
    asked: tuple[str, str | None]
    folder: Path

    def choice(self) -> Choice | None:
        """The choice; None where there is none, or none that can be read."""
        said = recall(self.folder, self._key("choice")) if self.network.identity else None
        if said is None:
            return None
        try:
            choice = build_settings(Choice, json.loads(said), at="the engine's choice")
        except (ConfigError, ValueError):
            return None
        return choice if choice.chosen < len(choice.rows) else None

    def content(self, choice: Choice) -> bytes | None:
        """The converted network; None where it is not the one that was tried."""
        if not choice.sha256:
            return b""
        content = recall(self.folder, self._key(choice.winner.engine)) or b""
        return content if hashlib.sha256(content).hexdigest() == choice.sha256 else None

    def keep(self, choice: Choice, content: bytes) -> None:
        """Keeps a choice, and the network as the engine reads it."""
        if not self.network.identity:
            return
        if content:
            keep(self.folder, self._key(choice.winner.engine), content)
        keep(self.folder, self._key("choice"), to_json(choice).encode())

    def _key(self, what: str) -> dict[str, Any]:
        return {
            "format": 3,
            "what": what,
            "model": self.network.identity,
            "patch": list(self.network.patch),
            "device": describe(self.device),
            "threads": torch.get_num_threads(),
            "versions": dict(versions()),
            "asked": list(self.asked),
        }
