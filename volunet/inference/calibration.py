"""What looking less, or more, changes on held-out cases, and the two presets chosen by it.

`fast` is the setting with the fewest windows among those whose mean Dice is within `TOLERANCE` of
the best; `best` is the one with the highest mean Dice to four decimals, of equals the cheapest.
Windows, unlike seconds, are the same on every machine: each look of each network counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from volunet.config import Settings
from volunet.inference.effort import Effort
from volunet.inference.segmenter import Segmenter

TOLERANCE = 0.002
DECIMALS = 4

Preset = Literal["fast", "best"]
PRESETS: tuple[Preset, ...] = ("fast", "best")


class Look(Settings):
    """How hard a scan is looked at.

    Args:
        overlap: least part of a window's side shared with the next one.
        mirror: axes of the network along which windows are also seen flipped.
        skip_air: what lies around the body is cut off, and windows of nothing but air are left out.
    """

    overlap: Annotated[float, Field(ge=0, lt=1)]
    mirror: tuple[int, ...] = ()
    skip_air: bool = True

    def __str__(self) -> str:
        said = [f"overlap {self.overlap:g}"]
        said += [f"mirrored along axes {', '.join(map(str, self.mirror))}"] * bool(self.mirror)
        said += ["air looked at too"] * (not self.skip_air)
        return ", ".join(said)

    def of(self, effort: Effort) -> Effort:
        """An effort that looks so hard; how memory is used stays as it is."""
        return replace(
            effort,
            overlap=self.overlap,
            mirror=self.mirror,
            skip_air=self.skip_air,
            crop=self.skip_air,
        )

    def on(self, segment: Segmenter) -> Segmenter:
        """A model that looks so hard, which is another one to whoever keeps its masks.

        Raises:
            ConfigError: mirrored looks would take left for right (`Effort.check_sides`).
        """
        effort = self.of(segment.effort)
        if effort == segment.effort:
            return segment
        effort.check_sides(segment.plan)
        identity = sha256(f"{segment.identity} {self.model_dump_json()}".encode()).hexdigest()
        return replace(segment, effort=effort, identity=identity)


class Measured(Settings):
    """What one setting gave.

    Args:
        look: the setting.
        dice: mean over structures of their means over cases.
        windows: seen by the networks, a case.
        seconds: from voxels to labels, a case.
    """

    look: Look
    dice: float
    windows: float
    seconds: float

    def __str__(self) -> str:
        return f"Dice {self.dice:.4f}, {self.windows:.4g} windows, {self.seconds:.3g} s a case"


class Calibration(Settings):
    """What several settings gave on the same held-out cases.

    Args:
        cases: how many were segmented with every setting.
        rows: the settings; the first one is the default.
        left_out: settings that there was no time for.
    """

    cases: int
    rows: tuple[Measured, ...] = Field(min_length=1)
    left_out: tuple[Look, ...] = ()

    def chosen(self, preset: Preset) -> Measured:
        """The setting that a preset stands for."""
        best = min(self.rows, key=lambda row: (-round(row.dice, DECIMALS), row.windows))
        if preset == "best":
            return best
        near = [row for row in self.rows if row.dice >= best.dice - TOLERANCE]
        return min(near, key=lambda row: row.windows)

    def say(self, preset: Preset) -> str:
        """What a preset changes, against the default, and what that costs."""
        row, default = self.chosen(preset), self.rows[0]
        on = f"on {self.cases} held-out case{'s' * (self.cases != 1)}"
        if row == default:
            kind = f"cheaper and within {TOLERANCE} Dice" if preset == "fast" else "better"
            return f"{preset}: as by default ({row.look}); nothing {kind} was found {on}."
        gain = f"Dice {row.dice - default.dice:+.4f} {on}"
        return f"{preset}: {row.look}: {gain}, {_times(row.windows / default.windows)}."


def merge_calibrations(several: Sequence[Calibration], *, networks: int) -> Calibration | None:
    """What the folds of a cross-validation measured, each with its own network, for all together.

    Dice is the mean by cases; windows and seconds are those of a case with `networks` networks.

    Returns:
        The settings that every fold measured; None where there is none.
    """
    if not several:
        return None
    looks = [row.look for row in several[0].rows]
    tables = [{row.look: row for row in found.rows} for found in several]
    shared = [look for look in looks if all(look in table for table in tables)]
    cases = sum(found.cases for found in several)

    def mean(look: Look, of: str) -> float:
        pairs = zip(several, tables, strict=True)
        return sum(f.cases * float(getattr(t[look], of)) for f, t in pairs) / cases

    rows = tuple(
        Measured(
            look=look,
            dice=mean(look, "dice"),
            windows=networks * mean(look, "windows"),
            seconds=networks * mean(look, "seconds"),
        )
        for look in shared
    )
    missed = {
        look for found in several for look in (*found.left_out, *(r.look for r in found.rows))
    }
    left_out = tuple(sorted(missed - set(shared), key=str))
    return Calibration(cases=cases, rows=rows, left_out=left_out) if rows else None


def _times(ratio: float) -> str:
    if ratio == 1:
        return "as many windows"
    if ratio < 1:
        return f"{1 / ratio:.2g} times fewer windows"
    return f"{ratio:.2g} times as many windows"
