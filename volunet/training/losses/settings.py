"""What training minimises: a sum of terms, as a recipe says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volunet.config import Settings
from volunet.space.labels import BACKGROUND

Term = Literal[
    "dice", "ce", "focal", "tversky", "focal_tversky", "generalised_dice", "cldice",
    "hausdorff", "boundary", "mae", "mse", "huber",
]  # fmt: skip
Positive = Annotated[float, Field(gt=0)]
OF_TERMS: Mapping[str, tuple[Term, ...]] = {
    "focal_gamma": ("focal",),
    "false_positives": ("tversky", "focal_tversky"),
    "false_negatives": ("tversky", "focal_tversky"),
    "tversky_gamma": ("focal_tversky",),
    "huber_delta": ("huber",),
    "skeleton_steps": ("cldice",),
    "batch": ("dice", "tversky", "focal_tversky", "generalised_dice"),
    "class_weights": (
        *("dice", "ce", "focal", "tversky", "focal_tversky", "hausdorff", "boundary"),
        *("mae", "mse", "huber"),
    ),
}
"""Settings that mean something to these terms alone."""
OF_BACKGROUND: tuple[Term, ...] = ("ce", "focal", "mae", "mse", "huber")
"""Terms over voxels, of which background has some, or over targets, which may be called so."""
USUAL: tuple[Term, ...] = ("dice", "ce", "mae")
"""Terms where none are named, of structures or of values."""


class LossSettings(Settings):
    """A sum of terms.

    Args:
        terms: each with its weight; None for {"dice": 1, "ce": 1}, or {"mae": 1} where images are
            estimated. Overlap: "dice" (Milletari et al. 2016, arXiv:1606.04797), "generalised_dice"
            (Sudre et al. 2017, arXiv:1707.03237), "tversky" (Salehi et al. 2017, arXiv:1706.05721),
            "focal_tversky" (Abraham and Khan 2019, arXiv:1810.07842). Voxels: "ce" (cross-entropy;
            that of each region alone, where regions are learnt), "focal" (Lin et al. 2017,
            arXiv:1708.02002). Form, at the finest scale only: "cldice" for tubes (Shit et al. 2021,
            arXiv:2003.07311), "hausdorff" (Karimi and Salcudean 2019, arXiv:1904.10030) and
            "boundary" (Kervadec et al. 2019, arXiv:1812.07032), which take seconds on a large
            patch, and which want a term of overlap or voxels beside them. Values, where images are
            estimated: "mae" (absolute differences), "mse" (squared ones), "huber" (squared up to
            `huber_delta`, absolute beyond; Huber 1964), in units of the targets' spread.
        class_weights: how much a structure, a region, a target or "background" counts, by name, 1
            unless given; voxels in "ce" and "focal", structures in the mean of the other terms but
            "generalised_dice", which weighs them itself, and "cldice", which takes them together.
            Background counts in "ce" and "focal" alone.
        batch: whether overlap ("dice", "tversky" and their kin) is that of the whole batch, or of
            each patch alone.
        focal_gamma: how little "focal" cares for what is right already.
        false_positives: what a false voxel costs in "tversky" and "focal_tversky".
        false_negatives: what a missed voxel costs there.
        tversky_gamma: power that "focal_tversky" is raised to, 1 / gamma of its paper: below 1 what
            is nearly right goes on mattering.
        huber_delta: the difference from which on "huber" is absolute.
        skeleton_steps: steps of thinning in "cldice": half the width of the widest tube in voxels.
    """

    terms: Annotated[dict[Term, Positive], Field(min_length=1)] | None = None
    class_weights: dict[str, Positive] = Field(default_factory=dict)
    batch: bool = True
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    false_positives: Positive = 0.3
    false_negatives: Positive = 0.7
    tversky_gamma: Positive = 0.75
    huber_delta: Positive = 1.0
    skeleton_steps: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _say_nothing_in_vain(self) -> Self:
        for name, terms in OF_TERMS.items():
            if getattr(self, name) != type(self).model_fields[name].get_default(
                call_default_factory=True
            ):
                self._refuse_without(terms, name)
        if BACKGROUND in self.class_weights:
            self._refuse_without(OF_BACKGROUND, f"class_weights.{BACKGROUND}")
        return self

    def _refuse_without(self, terms: Sequence[Term], name: str) -> None:
        if not set(terms) & set(self.terms or USUAL):
            raise ValueError(
                f"{name} is of {', '.join(terms)}, not among the terms; take it out, or name one "
                "of these in terms"
            )
