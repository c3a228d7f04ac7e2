"""What a training run keeps in its folder, and whether the same command may go on in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from volunet.cohort.lock import is_held
from volunet.config import Settings, build, read_config, read_values, to_json
from volunet.errors import ConfigError
from volunet.findings import Finding, Refused, as_data, from_data
from volunet.io.atomic import write_text
from volunet.planning.fingerprint import Fingerprint
from volunet.planning.plan import Plan
from volunet.recipe import Recipe
from volunet.training.checkpoint import can_go_on

PACKAGES = ("volunet", "torch", "monai", "numpy", "nibabel", "pytorch-ignite")

FLAGS = {name: f"--{name}" for name in ("seed", "accept")}
FLAGS |= {"start": "--from", "encoder_weights": "--encoder-weights"}
"""How a command says what a run is made from."""
LATER = ("accept", "labels", "images", "groups")
"""What records of earlier versions do not hold."""


class RunFolder:
    """The folder of one run; made where it is missing.

    Args:
        writes: whether this process is the one that writes in it.
        folds: the folders of its folds that are asked for, where it is a cross-validation.
    """

    def __init__(self, path: Path, *, writes: bool = True, folds: Sequence[Path] = ()) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.writes, self._folders = path, writes, folds or (path,)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says; {} before the run has started."""
        path = self.path / "run.json"
        return read_values(path) if path.is_file() else {}

    @property
    def finished(self) -> bool:
        """Whether training ended and its model was written."""
        done = self.record.get("status") == "finished"
        return done and (self.path / "model" / "model.json").is_file()

    @cached_property
    def begun(self) -> bool:
        """Whether there is something to go on from: a checkpoint or a model, in a fold at least.

        Until then nothing is lost where a command asks for something else; but where another
        process trains a fold.
        """
        folds = [*self.path.glob("fold_*")]
        return any(is_begun(part) for part in (self.path, *folds)) or any(map(is_held, folds))

    @cached_property
    def goes_on(self) -> bool:
        """Whether its weights are in checkpoints, whatever it started from."""
        return all(can_go_on(part / "checkpoints") for part in self._folders)

    @property
    def made_from(self) -> Mapping[str, Any] | None:
        """What a run that is begun was made from; None where it can be made from anything."""
        return self.record.get("made_from") if self.begun else None

    @property
    def goes_on_from(self) -> Mapping[str, Any] | None:
        """What a run was made from that holds all its weights in a checkpoint; else None."""
        return self.made_from if self.goes_on else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What `run.json` says was found about the cases of a run that ended."""
        return from_data(self.record.get("findings", ()))

    @property
    def surveyed(self) -> tuple[Finding, ...]:
        """What `run.json` says was found about the cases when the plan was made."""
        return from_data(self.record.get("surveyed", ()))

    def write_record(self, facts: Mapping[str, Any]) -> None:
        """Adds facts to `run.json`."""
        if not self.writes:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        versions = {name: version(name) for name in PACKAGES}
        record = {"schema": 1, "started": now, **self.record, **facts}
        record |= {"updated": now, "versions": versions}
        write_text(self.path / "run.json", json.dumps(record, indent=2) + "\n")

    def check_unchanged(self, made_from: Mapping[str, Any]) -> None:
        """Sees to it that a run goes on with what it was started with.

        Args:
            made_from: what is known by now; other things that the run was made from are let be.

        Raises:
            ConfigError: something differs; its names are given.
        """
        before = self.made_from
        if before is None:
            return
        before = _with_defaults(before)
        now = json.loads(json.dumps(made_from))
        now = {key: value for key, value in now.items() if key in before or key not in LATER}
        if "recipe" in now:
            _forget_former(now["recipe"])
        changed = sorted(_differences({key: before.get(key) for key in now}, now))
        changed = [FLAGS.get(name, name) for name in changed]
        if changed:
            raise ConfigError(
                f"{self.path.name} was started with other values of {_some(changed)}. Use another "
                "folder for -o, or go back to what it was started with."
            )

    def check_readable(self, unreadable: Sequence[Finding]) -> None:
        """Sees to it that the cases that a run was started with can still be read.

        Raises:
            Refused: some cannot, which are not changed for that.
        """
        known = (self.made_from or {}).get("cases", {})
        if lost := [found for found in unreadable if found.refuses and found.case in known]:
            raise Refused(lost)

    def read_planned(self, asked: Mapping[str, Any]) -> tuple[Plan | None, Fingerprint | None]:
        """The plan in the folder that counts, and what it was made from, as far as it does.

        Both, where they were made for what is asked for now; the plan alone, where a person put it
        there or changed it; neither, where a command that asked for something else left them.

        Args:
            asked: what the run is made from, but for the plan.
        """
        plan, fingerprint = self.read_plan(), self.read_fingerprint()
        record = self.record
        if self.made_from is not None or record.get("planned_from") == _sum_of(asked):
            return plan, fingerprint
        if plan is not None and record.get("planned") == _sum_of(plan.model_dump(mode="json")):
            return None, None
        return plan, None

    def read_plan(self) -> Plan | None:
        """The plan in the folder, which a person may have put there; None where there is none.

        Raises:
            ConfigError: it is damaged, or says what plans do not know.
        """
        path = self.path / "plan.json"
        return read_config(path, Plan) if path.is_file() else None

    def read_fingerprint(self) -> Fingerprint | None:
        """What the plan was made from; None where there is none.

        Raises:
            ConfigError: it is damaged.
        """
        path = self.path / "fingerprint.json"
        return read_config(path, Fingerprint) if path.is_file() else None

    def keep_found(self, findings: Iterable[Finding]) -> None:
        """Adds warnings, and what was waived, to what `run.json` says was found for the plan.

        What it is about, such as the model that a run starts from, may be gone when it goes on.
        """
        known = self.surveyed
        new = [found for found in findings if not found.refuses and found not in known]
        if new:
            self.write_record({"surveyed": as_data([*known, *new])})

    def write_splits(self, text: str) -> None:
        """Keeps which cases were trained on, and which were held out."""
        if self.writes:
            write_text(self.path / "splits.json", text + "\n")

    def write_plan(
        self, plan: Plan, fingerprint: Fingerprint, asked: Mapping[str, Any], *, by_rules: bool
    ) -> None:
        """Keeps the plan, what it was made from, and what was asked for.

        Args:
            by_rules: the plan is not a person's.
        """
        if not self.writes:
            return
        write_text(self.path / "fingerprint.json", to_json(fingerprint))
        write_text(self.path / "plan.json", to_json(plan))
        planned = _sum_of(plan.model_dump(mode="json")) if by_rules else None
        self.write_record({"planned": planned, "planned_from": _sum_of(asked)})


def is_begun(folder: Path) -> bool:
    """Whether there is a checkpoint or a model in a run's folder, its folds not looked at."""
    return (folder / "model" / "model.json").is_file() or can_go_on(folder / "checkpoints")


def _sum_of(values: Mapping[str, Any]) -> str:
    """The SHA-256 of values as JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


FORMER: Mapping[str, Any] = {
    "training.augmentation.noise_share": 0.1,
    "training.augmentation.brightness_share": 0.15,
    "training.augmentation.contrast_share": 0.15,
    "training.augmentation.gamma_share": 0.2,
    "training.augmentation.turn_share": 0.5,
    "training.augmentation.turn_deg": 15.0,
    "training.augmentation.scale": [0.85, 1.2],
    "training.loss.terms": {"dice": 1.0, "ce": 1.0},
}
"""Defaults of recipes that earlier versions wrote out, and that are null now."""


def _forget_former(recipe: dict[str, Any]) -> None:
    """Sets what an earlier version wrote out as its default to null, in place."""
    for name, default in FORMER.items():
        *path, last = name.split(".")
        table = recipe
        for part in path:
            table = table.get(part, {})
        if table.get(last) == default:
            table[last] = None


def _with_defaults(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made from, with settings that an earlier version did not have yet."""
    kinds: dict[str, type[Settings]] = {"recipe": Recipe, "plan": Plan}
    found = dict(made_from)
    for name, kind in kinds.items():
        if isinstance(found.get(name), dict):
            try:
                found[name] = build(kind, found[name], at=name).model_dump(mode="json")
                if kind is Recipe:
                    _forget_former(found[name])
            except ConfigError:
                continue  # it is told as a difference
    return found


def _differences(before: Any, now: Any, name: str = "") -> Iterable[str]:
    """The dotted names under which two JSON values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            inner = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield name


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
