"""Tables on a narrow terminal."""

import io

import pytest
from rich.console import Console

from volunet.cli.compare import row
from volunet.cli.info import tell_findings
from volunet.cli.speaker import Speaker
from volunet.cli.train import tell_summary
from volunet.evaluation.compare import Difference
from volunet.evaluation.interval import Mean
from volunet.findings import finding


@pytest.fixture
def narrow():
    """A speaker to a terminal of 80 columns."""
    out = Console(file=io.StringIO(), width=80, soft_wrap=True, highlight=False)
    return Speaker(out=out)


def test_no_name_is_cut_in_a_table_of_findings(narrow):
    name = "sub-0001__ses-01__anat__sub-0001_ses-01_acq-portal_venous_T1w"
    tell_findings(narrow, [finding("IO-TRUNC", "The file ends early.").at(case=name)])
    said = narrow.out.file.getvalue()
    assert "…" not in said
    cells = [line[24:].split("  ")[0].strip() for line in said.splitlines()]
    assert name in "".join(cells)
    assert max(map(len, said.splitlines())) <= 80


def test_a_mean_of_regions_is_called_so(narrow):
    row = {measure: {"mean": 0.5} for measure in ("dice", "iou", "nsd", "hd95_mm", "assd_mm")}
    summary = {"labels": {"rim": row}, "regions": {"whole": row}, "mean_over_labels": row}
    tell_summary(narrow, "scores", summary | {"averaged": ["whole"]})
    assert "mean of regions" in narrow.out.file.getvalue()


def test_no_number_is_cut_in_a_table_of_differences(narrow):
    gain = Mean(n=40, mean=122.5267, low=-122.1099, high=122.9435, median=1.0)
    found = Difference("portal_vein", "assd_mm", 12.4959, 135.0226, gain, 40, 0)
    columns = ("structure", "measure", "first", "second", "first is better by", "n", "a, b", "one")
    narrow.table("paired", columns, [row(found)])
    said = narrow.out.file.getvalue()
    assert all(number in said for number in ("12.5", "135", "+122.5", "-122.1", "122.9", "40"))
    assert max(map(len, said.splitlines())) <= 80


def test_no_number_or_structure_is_cut_in_a_table_of_scores(narrow):
    mean = {"mean": 0.9123, "interval": [0.8501, 0.9502]}
    row = dict.fromkeys(("dice", "iou", "nsd"), mean) | {"hd95_mm": {"mean": 123.4567}}
    names = ["inferior_vena_cava", "portal_vein_and_splenic_vein"]
    summary = {"labels": dict.fromkeys(names, row), "averaged": names, "mean_over_labels": row}
    tell_summary(narrow, "scores", summary)
    said = narrow.out.file.getvalue()
    assert "…" not in said
    assert said.count("0.912 (0.85-0.95)") == 3
    assert said.count("123.457") == 3
    assert max(map(len, said.splitlines())) <= 80
