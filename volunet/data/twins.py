"""Images that are the same, voxel for voxel, on both sides of a split.

Sums of files do not tell: a series that was converted twice gives two files, as gzip notes when.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from volunet.data.sampler import Sampled
from volunet.findings import Finding, finding

EVERY = 8
"""Of the planes along each axis that are compared first."""


def find_twins(
    train: Iterable[Sampled],
    held_out: Iterable[Sampled],
    contents: Mapping[str, str] | None = None,
) -> list[Finding]:
    """A refusal SET-LEAK for each held-out case whose prepared image is also learnt from.

    Images of one value throughout are passed by: they tell nothing of each other.

    Args:
        contents: sums of the files of images, by case id: those that are equal were told before.
    """
    known = contents or {}
    alike: dict[str, list[Sampled]] = defaultdict(list)
    for case in train:
        alike[_mark(case)].append(case)
    found = []
    for case in held_out:
        for other in alike.get(_mark(case), ()):
            told = known.get(case.case_id, "-") == known.get(other.case_id, "+")
            if not told and _is_same(case.image, other.image):
                message = (
                    f"The same image is in training ({other.case_id!r}) and in validation "
                    f"({case.case_id!r}), in files that differ."
                )
                found.append(finding("SET-LEAK", message).at(case=case.case_id))
                break
    return found


def _is_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool(one.min() < one.max()) and np.array_equal(one, other)


def _mark(case: Sampled) -> str:
    """The shape, and a sum of a few of the voxels."""
    some = np.ascontiguousarray(case.image[:, ::EVERY, ::EVERY, ::EVERY])
    return f"{case.image.shape} {hashlib.sha256(some.data).hexdigest()}"
