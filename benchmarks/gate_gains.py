"""What attention gates gained, case by case: tables of the runs that `benchmarks.recipes` kept.

    python -m benchmarks.recipes --group gates --budget 10m --seed 0 … --keep gates_hippocampus_0
    python -m benchmarks.recipes --group gates --budget 10m --seed 1 … --keep gates_hippocampus_1
    python -m benchmarks.pages

Every difference is paired over cases, its 95 % interval a bootstrap over them. Of several seeds a
case's mean is taken first: an interval tells how far other cases might differ, and beside it stands
what another seed changed (and another machine, where it ran on one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from volunet.evaluation.interval import paired_difference

Facts = dict[str, Any]
PAIRS = (
    ("gates on the plain network", "plain, gates", "plain"),
    ("gates on the residual network", "residual, gates", "residual"),
    ("residual instead of plain", "residual", "plain"),
)


def dice_table(results: Sequence[Facts]) -> str:
    """Mean Dice of each network, one column a seed."""
    seeds = [f"seed {result['seed']}" for result in results]
    lines = [row_of(["network", *(w for s in seeds for w in (f"{s}, steps", f"{s}, Dice"))])]
    lines.append("|" + "---|" * (1 + 2 * len(seeds)))
    for name in names_in(results):
        rows = [by_name(result)[name] for result in results]
        cells = [w for row in rows for w in (f"{row['steps']:,}", f"{row['mean']:.4f}")]
        lines.append(row_of([name, *cells]))
    on = [w for r in results for w in ("", f"{r['date']}, {r['processor']}")]
    return "\n".join([*lines, row_of(["measured on", *on])])


def gain_table(results: Sequence[Facts]) -> str:
    """What gates changed: one column a seed, and one for all together."""
    seeds = [f"seed {result['seed']}" for result in results]
    both = ["mean of seeds"] if len(results) > 1 else []
    lines = [row_of(["difference of Dice", "cases", *seeds, *both])]
    lines.append("|" + "---|" * (2 + len(seeds) + len(both)))
    known = names_in(results)
    for words, one, other in PAIRS:
        if one in known and other in known:
            runs = [(dice_of(result, one), dice_of(result, other)) for result in results]
            if both:
                runs.append((mean_of([a for a, _ in runs]), mean_of([b for _, b in runs])))
            lines.append(row_of([words, str(len(runs[0][0])), *(told(a, b) for a, b in runs)]))
    if both:
        for name in known:
            cells = [told(dice_of(r, name), dice_of(results[0], name)) for r in results[1:]]
            count = str(len(dice_of(results[0], name)))
            lines.append(row_of([f"{name}: against seed 0", count, "", *cells, ""]))
    return "\n".join(lines)


def names_in(results: Sequence[Facts]) -> list[str]:
    """Networks that all results have, in the order of the first."""
    return [n for n in by_name(results[0]) if all(n in by_name(r) for r in results)]


def by_name(result: Facts) -> dict[str, Facts]:
    return {row["name"]: row for row in result["rows"]}


def dice_of(result: Facts, name: str) -> dict[str, float]:
    found: dict[str, float] = by_name(result)[name]["dice"]
    return found


def mean_of(seeds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each case's mean over the seeds."""
    return {case: float(np.mean([seed[case] for seed in seeds])) for case in seeds[0]}


def told(one: dict[str, float], other: dict[str, float]) -> str:
    """A paired difference and its interval."""
    gain = paired_difference(one, other, np.random.default_rng(0))
    return f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


def row_of(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
