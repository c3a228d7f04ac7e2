"""The tables and plots of the docs, made from the JSON files in `benchmarks/results/`.

    python -m benchmarks.pages

A table stands in its page between `<!-- name -->` and `<!-- /name -->`; the text around it is
written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    budget,
    contract,
    effort,
    folds,
    gate_gains,
    less,
    models,
    nnunet,
    recipes,
    tidying,
    training,
    values,
)
from benchmarks import steps as training_steps
from benchmarks.plots import plot_ct, plot_stitch

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks"
Facts = dict[str, Any]
Table = Callable[[Facts], str]
TableOfMany = Callable[[Sequence[Facts]], str]

NAMES = {
    "monai": "MONAI",
    "monai-noisy": "MONAI, over noisy air",
    "monai-4": "MONAI, four windows at a time",
    "torchio": "TorchIO",
    "nnunet": "nnU-Net",
    "volunet": "volunet",
    "volunet-less": "volunet, cropping and skipping",
    "volunet-less-noisy": "volunet, the same over noisy air",
    "volunet-fp32": "volunet, bfloat16 off",
    "volunet-torch": "volunet, torch alone",
    "volunet-torch-fp32": "volunet, torch alone, bfloat16 off",
}
STEPS = {
    "read": ("read",),
    "prepare": ("judge", "prepare"),
    "network": ("network",),
    "blend, return": ("stitch", "return", "label"),
    "write": ("write",),
}
"""Columns, and what tools call the steps in them."""


def main() -> None:
    for result, page, name, table in TABLES:
        path = RESULTS / f"{result}.json"
        if path.exists():
            put(DOCS / f"{page}.md", name, table(json.loads(path.read_text())))
    for results, page, name, table_of in TOGETHER:
        found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{results}.json"))]
        if found:
            put(DOCS / f"{page}.md", name, table_of(found))
    for result, plot in (("inference_ct", plot_ct), ("inference_stitch", plot_stitch)):
        path = RESULTS / f"{result}.json"
        if path.exists():
            plot(json.loads(path.read_text())["rows"], NAMES, DOCS / f"{result}.svg")


def put(page: Path, name: str, table: str) -> None:
    """Writes a table to its place in a page.

    Raises:
        ValueError: the page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if not place.search(text):
        raise ValueError(f"{page.name} has no place for the table {name!r}.")
    page.write_text(place.sub(lambda m: f"{m[1]}\n{table}\n\n{m[2]}", text), encoding="utf-8")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, form: str = ".1f") -> str:
    return "" if value is None else format(value, form)


def times(peer: float | None, own: float | None) -> str:
    """How many times faster, or smaller, than the peer."""
    return "" if not peer or not own else f"{peer / own:.1f}"


def whole_run(result: Facts, peer: str = "monai") -> str:
    """Seconds from file to file, against the peer's, and what the masks are worth."""
    rows = result["rows"]
    first = rows.get(peer, {})
    head = ("", "seconds", "times faster", "network s", "times faster", "peak GB", "runs")
    head += ("mean Dice", "Dice to MONAI's mask")
    lines = []
    for name, row in rows.items():
        if "seconds" not in row:
            lines.append([NAMES[name], f"not measured: {row['not_measured']}", *[""] * 7])
            continue
        network, beside = _network(row), _network(first)
        lines.append(
            [
                NAMES[name],
                number(row["seconds"]),
                times(first.get("seconds"), row["seconds"]),
                number(network),
                times(beside, network),
                number(row["peak_gb"], ".2f"),
                str(row["runs"]),
                number(row.get("dice", {}).get("mean"), ".4f"),
                number(row.get("dice_to_peer", {}).get("mean"), ".4f"),
            ]
        )
    return table(head, lines)


def setting(result: Facts) -> str:
    """When, on what, and with which model."""
    told = [f"Measured on {result['date']}: {result['processor']}, {result['threads']} threads."]
    if model := result.get("model"):
        known = [value for value in model["validation_dice"].values() if value is not None]
        dice = f", mean validation Dice {sum(known) / len(known):.3f}" if known else ""
        told.append(
            f"The model: {model['steps']:,} steps of training on {model['cases']} cases"
            f" ({model['seconds'] / 60:.0f} minutes){dice}."
        )
    return " ".join(told)


def steps(result: Facts) -> str:
    """Seconds by step; what is left of the whole run is start-up and what volunet does besides."""
    lines = []
    for name, row in result["rows"].items():
        if "steps_s" not in row:
            continue
        parts = [sum(row["steps_s"].get(s, 0.0) for s in named) for named in STEPS.values()]
        rest = row["seconds"] - sum(parts)
        lines.append([NAMES[name], *(number(p, ".2f") for p in parts), number(rest, ".2f")])
    return table(("seconds", *STEPS, "rest"), lines)


def dice(result: Facts) -> str:
    """Dice against the reference labels, structure by structure."""
    rows = {name: row["dice"] for name, row in result["rows"].items() if row.get("dice")}
    labels = list(next(iter(rows.values()), {}))
    named = result["model"].get("structures", {})
    lines = []
    for name, row in rows.items():
        lines.append([NAMES[name], *(number(row.get(n), ".4f") for n in labels)])
    return table(("", *(named.get(n, n) for n in labels)), lines)


def agreement(result: Facts) -> str:
    """Dice of the engines' masks against torch's in float32 on the same prepared tensor."""
    facts = result.get("agreement", {})
    rows = {name: row for name, row in facts.items() if isinstance(row, dict) and "dice" in row}
    labels = list(next(iter(rows.values()))["dice"]) if rows else []
    lines = [
        [name, *(number(row["dice"].get(n), ".4f") for n in labels), f"{row['equal']:.4%}"]
        for name, row in rows.items()
    ]
    return table(("engine", *labels, "voxels equal"), lines)


def stitching(result: Facts) -> str:
    """What stitching costs, against MONAI's."""
    rows = result["rows"]
    first = rows.get("monai", {})
    head = ("", "whole run s", "stitching s", "part of MONAI's", "memory above GB")
    head += ("part of MONAI's", "weights", "sums", "runs")
    lines = []
    for name, row in rows.items():
        if "seconds" not in row:
            lines.append([NAMES[name], f"not measured: {row['not_measured']}", *[""] * 7])
            continue
        parts = [
            number(row[k] / first[k], ".2f") if first.get(k) else ""
            for k in ("stitching_s", "above_gb")
        ]
        seconds, stitching_s, above = (
            number(row[k], ".2f") for k in ("seconds", "stitching_s", "above_gb")
        )
        how = (row["blend"], row["sums"], str(row["runs"]))
        lines.append([NAMES[name], seconds, stitching_s, parts[0], above, parts[1], *how])
    return table(head, lines)


def ablation(result: Facts) -> str:
    """One measure at a time."""
    base = result["rows"].get(result["base"], {})
    head = ("", "seconds", "times the first", "network s", "peak GB")
    lines = []
    for row in result["rows"].values():
        if "seconds" not in row:
            lines.append([row["about"], "not measured", "", "", ""])
            continue
        part = number(row["seconds"] / base["seconds"], ".2f") if base.get("seconds") else ""
        peak = number(row["peak_gb"], ".2f")
        lines.append([row["about"], number(row["seconds"]), part, number(_network(row)), peak])
    return table(head, lines)


def shares(result: Facts) -> str:
    """What each step takes of the whole."""
    lines = []
    for row in result["rows"].values():
        if "steps_s" not in row:
            continue
        parts = [sum(row["steps_s"].get(s, 0.0) for s in named) for named in STEPS.values()]
        whole = row["seconds"]
        rest = whole - sum(parts)
        lines.append([row["about"], *(f"{part / whole:.1%}" for part in (*parts, rest))])
    return table(("share of the time", *STEPS, "rest"), lines)


def with_plot(table: Table, name: str, shows: str) -> Table:
    """A table with its plot below it."""
    return lambda result: f"{table(result)}\n\n![{shows}]({name}.svg)"


def _network(row: Facts) -> float | None:
    seconds: float | None = row.get("steps_s", {}).get("network")
    return seconds


CT_PLOT = with_plot(whole_run, "inference_ct", "Seconds from file to file, by step.")
STITCH_PLOT = with_plot(stitching, "inference_stitch", "Seconds of stitching and of the network.")
TABLES: tuple[tuple[str, str, str, Table], ...] = (
    ("inference_ct", "inference", "ct", CT_PLOT),
    ("inference_ct", "inference", "ct setting", setting),
    ("inference_ct", "inference", "ct steps", steps),
    ("inference_ct", "inference", "ct dice", dice),
    ("inference_ct", "inference", "ct agreement", agreement),
    ("inference_folder", "inference", "folder", whole_run),
    ("inference_folder", "inference", "folder steps", steps),
    ("inference_stitch", "inference", "stitch setting", setting),
    ("inference_stitch", "inference", "stitch", STITCH_PLOT),
    ("ablation_off", "ablation", "off setting", setting),
    ("ablation_off", "ablation", "off", ablation),
    ("less_ct", "inference", "less", less.table),
    ("ablation_off", "ablation", "off shares", shares),
    ("ablation_on", "ablation", "on", ablation),
    ("contract", "memory", "contract", lambda result: contract.table(result["rows"])),
    ("effort_hippocampus", "effort", "hippocampus", effort.table),
    ("effort_head_neck_ct", "effort", "head and neck", effort.table),
    ("steps", "training", "steps", training_steps.table),
    ("budget", "training", "budget", budget.table),
    ("recipes_hippocampus", "training", "recipes hippocampus", recipes.table),
    ("recipes_sarcoma_pet", "training", "recipes sarcoma", recipes.table),
    ("recipes_rates_hippocampus", "training", "recipes rates", recipes.table),
    ("recipes_augmentation_hippocampus", "training", "recipes mirrored", recipes.table),
    ("recipes_augmentation_forty", "training", "recipes forty", recipes.table),
    ("recipes_few_hippocampus_0", "training", "recipes few 0", recipes.table),
    ("recipes_few_hippocampus_1", "training", "recipes few 1", recipes.table),
    ("training", "training", "minutes", training.table),
    ("folds", "training", "folds", folds.table),
    ("models", "models", "models", models.table),
    ("denoise", "regression", "denoise", values.table),
    ("superres", "regression", "superres", values.table),
    ("tidying_hippocampus", "effort", "tidying hippocampus", tidying.table),
    ("tidying_head_neck_ct", "effort", "tidying head and neck", tidying.table),
)
TOGETHER: tuple[tuple[str, str, str, TableOfMany], ...] = (
    ("nnunet_*", "nnunet", "nnunet", nnunet.table),
    ("recipes_gates_hippocampus_*", "gates", "hippocampus dice", gate_gains.dice_table),
    ("recipes_gates_hippocampus_*", "gates", "hippocampus gains", gate_gains.gain_table),
    ("recipes_gates_sarcoma_*", "gates", "sarcoma dice", gate_gains.dice_table),
    ("recipes_gates_sarcoma_*", "gates", "sarcoma gains", gate_gains.gain_table),
)
"""Tables that are made of several results."""


if __name__ == "__main__":
    main()
