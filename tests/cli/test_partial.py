"""Cases in which only some structures were drawn, from a table to scores."""

import csv
import json
import shutil

import pytest

from tests.cli.command import SAMPLE, SMOKE, volunet


@pytest.fixture
def table(tmp_path):
    """The sample CT as a table; the second and the third case say that only one organ was drawn."""
    shutil.copy(SAMPLE / "ct" / "labels.json", tmp_path)
    names = list(json.loads((tmp_path / "labels.json").read_text())["labels"])
    cases = sorted(p.name for p in (SAMPLE / "ct" / "images").glob("*.nii.gz"))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "image", "label", "split", "labelled"])
        for n, name in enumerate(cases):
            paths = [SAMPLE / "ct" / kind / name for kind in ("images", "labels")]
            split = "validation" if n in (0, 1) else "train"
            drawn = names[0] if n in (1, 2) else ""
            rows.writerow([name.split(".")[0], *paths, split, drawn])
    return tmp_path / "table.csv", names, [name.split(".")[0] for name in cases]


@pytest.mark.slow
def test_a_table_trains_and_scores_what_was_drawn(table, tmp_path):
    path, names, cases = table
    words = ("train", path, "-o", tmp_path / "run", "-r", SMOKE)
    done = volunet(*words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LBL-UNDRAWN" in done.stdout
    with (tmp_path / "run" / "validation" / "metrics.csv").open() as file:
        status = {(row["case_id"], row["label"]): row["status"] for row in csv.DictReader(file)}
    assert status == {
        (case, name): "undrawn" if case == cases[1] and name != names[0] else "ok"
        for case in cases[:2]
        for name in names
    }
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["made_from"]["labelled"] == {case: [names[0]] for case in cases[1:3]}

    path.write_text(path.read_text().replace(f",{names[0]}\n", f",{names[1]}\n", 1))
    again = volunet(*words, home=tmp_path)
    assert again.returncode == 2
    assert f"labelled.{cases[1]}" in again.stderr
