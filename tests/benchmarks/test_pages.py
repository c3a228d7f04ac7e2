"""Tables of the docs are what the result files say."""

from __future__ import annotations

import json

import pytest

from benchmarks import pages
from benchmarks.plots import plot_ct, plot_stitch

RESULT = {
    "model": {"structures": {"1": "brainstem"}},
    "rows": {
        "monai": {
            "seconds": 900.0,
            "runs": 3,
            "peak_gb": 9.0,
            "steps_s": {"read": 2.0, "network": 840.0, "stitch": 10.0, "return": 30.0},
            "dice": {"1": 0.8, "mean": 0.8},
            "dice_to_peer": {"1": 1.0, "mean": 1.0},
        },
        "volunet": {
            "seconds": 150.0,
            "runs": 3,
            "peak_gb": 3.0,
            "steps_s": {"read": 1.0, "judge": 0.5, "prepare": 1.5, "network": 120.0, "label": 20.0},
            "dice": {"1": 0.801, "mean": 0.801},
            "dice_to_peer": {"1": 0.99, "mean": 0.99},
        },
        "volunet-less": {"about": "", "not_measured": "not run"},
    },
}
STITCH = {
    "rows": {
        name: {
            "seconds": 1.0 + cost,
            "network_alone_s": 1.0,
            "stitching_s": cost,
            "above_gb": cost / 2,
            "blend": "Gaussian",
            "sums": "float32",
            "runs": 1,
        }
        for name, cost in (("monai", 4.0), ("volunet", 1.0))
    }
}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_a_whole_run_is_set_against_the_peers():
    head, _, _, volunet, less = cells(pages.whole_run(RESULT))
    told = dict(zip(head[1:3], volunet[1:3], strict=True))
    assert told == {"seconds": "150.0", "times faster": "6.0"}
    assert volunet[3:6] == ["120.0", "7.0", "3.00"]
    assert less[1] == "not measured: not run"


def test_steps_and_the_rest_add_up_to_the_whole():
    _, _, monai, volunet = cells(pages.steps(RESULT))
    assert sum(map(float, monai[1:])) == pytest.approx(900)
    assert sum(map(float, volunet[1:])) == pytest.approx(150)


def test_structures_are_called_by_their_names():
    head, *_ = cells(pages.dice(RESULT))
    assert head == ["", "brainstem", "mean"]


def test_stitching_is_told_as_part_of_the_peers():
    *_, volunet = cells(pages.stitching(STITCH))
    assert volunet[1:6] == ["2.00", "1.00", "0.25", "0.50", "0.25"]


def test_every_row_of_a_table_has_the_cells_of_its_head():
    for table in (pages.whole_run(RESULT), pages.steps(RESULT), pages.stitching(STITCH)):
        assert len({len(line) for line in cells(table)}) == 1


def test_a_table_goes_to_its_place_and_nothing_else_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- ct -->\nold\n<!-- /ct -->\nafter\n")
    for _ in range(2):
        pages.put(page, "ct", "| new |")
    assert page.read_text() == "before\n<!-- ct -->\n\n| new |\n\n<!-- /ct -->\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        pages.put(page, "other", "| new |")


def test_the_pages_have_a_place_for_every_table():
    for _, page, name, _ in pages.TABLES:
        assert f"<!-- {name} -->" in (pages.DOCS / f"{page}.md").read_text(encoding="utf-8")


def test_plots_are_small_and_come_out_the_same_again(tmp_path):
    for plot, result in ((plot_ct, RESULT), (plot_stitch, STITCH)):
        for name in ("a.svg", "b/a.svg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            plot(json.loads(json.dumps(result["rows"])), pages.NAMES, tmp_path / name)
        first, second = ((tmp_path / name).read_bytes() for name in ("a.svg", "b/a.svg"))
        assert first == second
        assert len(first) < 100_000
