"""Five folds of the hippocampus against nnU-Net's cross-validation of the same cases.

    python -m benchmarks.folds --data HIPPOCAMPUS --reference NNUNET --work WORK --budget 40m \\
        --folds 0 1 2 3 4

nnU-Net's own splits; every case is segmented by the model that did not see it, with the defaults
and without mirroring, and compared with nnU-Net's published mask of it (1000 epochs on a GPU, with
mirroring). Folds that `--out` tells of already are kept, so that they can be run day by day.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import hippocampus
from benchmarks.peers.measured import keep, versions
from benchmarks.runs import limit_to

RESULTS = Path(__file__).parent / "results"
RECIPE = Path(__file__).parents[1] / "pipelines" / "hippocampus_mr.toml"


def main() -> None:
    options = read_options()
    limit_to(options.threads)
    told = json.loads(options.out.read_text()) if options.out.exists() else {"rows": {}}
    for fold in options.folds:
        told["rows"][str(fold)] = measure(fold, options)
        told["rows"] = dict(sorted(told["rows"].items()))
        told["together"] = together(told["rows"], options.reference)
        keep(options.out, told)
    print(table(told))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--budget", default="40m", help="of each fold")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "folds.json")
    return parser.parse_args()


def measure(fold: int, options: argparse.Namespace) -> dict:
    """The row of a fold, from an earlier start where there is one."""
    out = (options.work / f"fold_{fold}").absolute()
    kept = out / "row.json"
    if not kept.exists():
        asked = {"data": options.data.absolute(), "reference": options.reference, "recipe": RECIPE}
        asked |= {"out": out, "budget": options.budget, "fold": fold, "seed": 0}
        row = hippocampus.measure(argparse.Namespace(**asked))
        cases = hippocampus.dice_of(out / "scores" / "metrics.csv")
        row["cases"] = {case: round(dice, 5) for case, dice in cases.items()}
        keep(kept, row | {"versions": versions()})
    found: dict = json.loads(kept.read_text())
    return found


def together(rows: dict[str, dict], reference: Path) -> dict:
    """All cases of all folds so far."""
    mine = {case: dice for row in rows.values() for case, dice in row["cases"].items()}
    return {"cases": len(mine), **hippocampus.against(mine, reference, 0)}


def table(told: dict) -> str:
    """The rows for the documentation."""
    head = ["fold", "cases", "budget", "steps", "Dice", "nnU-Net's", "difference", "measured on"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for fold, row in told["rows"].items():
        on = f"{row['date']}, {row['processor']}"
        cells = [
            fold,
            len(row["cases"]),
            row["budget"],
            row["run"]["steps"],
            *scores(row["nnunet"]),
        ]
        lines.append(f"| {' | '.join(map(str, [*cells, on]))} |")
    cells = ["all", told["together"]["cases"], "", "", *scores(told["together"]), ""]
    return "\n".join([*lines, f"| {' | '.join(map(str, cells))} |"])


def scores(told: dict) -> list[str]:
    low, high = told["interval"]
    difference = f"{told['difference']:+.4f} ({low:.4f} to {high:.4f})"
    return [f"{told['ours']:.4f}", f"{told['theirs']:.4f}", difference]


if __name__ == "__main__":
    main()
