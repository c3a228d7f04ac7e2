"""Findings are told worst first, refuse what they must, and their codes stand in one table."""

from __future__ import annotations

import ast
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volunet.codes import CODES
from volunet.errors import VolunetError
from volunet.findings import (
    RANK,
    Finding,
    Refused,
    Severity,
    accept,
    finding,
    refuse_if_needed,
    worst_first,
)

PACKAGE = Path(__file__).parents[1] / "volunet"
FAMILIES = {"IO", "NII", "GEO", "IMG", "LBL", "SET", "MDL", "OOD", "RES", "ROI", "RUN"}

found = st.lists(
    st.builds(
        Finding,
        code=st.sampled_from(["IO-CRC", "GEO-FORMS", "LBL-TINY", "RUN-FAILED"]),
        severity=st.sampled_from(Severity),
        message=st.text(),
        advice=st.text(),
        case=st.sampled_from(["", "a", "b"]),
        numbers=st.dictionaries(st.text(), st.integers() | st.floats(-1, 1) | st.text()),
    )
)
codes = st.sets(st.sampled_from(["IO-CRC", "GEO-FORMS", "LBL-TINY", "RUN-FAILED"]))


@given(found)
def test_worst_comes_first_and_nothing_is_lost(findings):
    ordered = worst_first(findings)
    assert sorted(map(id, ordered)) == sorted(map(id, findings))
    assert all(RANK[a.severity] >= RANK[b.severity] for a, b in pairwise(ordered))


@given(found, codes)
def test_only_refusals_are_accepted_and_only_those_that_were_named(findings, waived):
    for before, after in zip(findings, accept(findings, waived), strict=True):
        assert after.accepted == (before.refuses and before.code in waived)
        assert after.refuses == (before.refuses and before.code not in waived)
        assert (after.code, after.severity) == (before.code, before.severity)


@given(found, codes)
def test_a_refusal_that_is_left_is_raised_with_everything_that_was_found(findings, waived):
    if any(f.refuses and f.code not in waived for f in findings):
        with pytest.raises(Refused) as caught:
            refuse_if_needed(findings, waived)
        assert len(caught.value.findings) == len(findings)
        assert caught.value.findings[0].refuses
        assert all(str(f) in str(caught.value) for f in caught.value.findings if f.refuses)
    else:
        assert len(refuse_if_needed(findings, waived)) == len(findings)


@given(found)
def test_a_finding_is_one_line_of_json_with_the_keys_of_the_contract(findings):
    keys = ["code", "severity", "case", "file", "message", "advice", "numbers"]
    for one in findings:
        line = one.to_json()
        assert "\n" not in line
        assert list(json.loads(line)) == keys
        assert json.loads(line)["numbers"] == dict(one.numbers)
        waived = accept([one], {one.code})[0]
        assert json.loads(waived.to_json()).get("accepted", False) == one.refuses


def test_severity_and_advice_come_from_the_table_unless_given():
    usual = finding("IO-CRC", "Wrong.", stored=1, computed=2)
    assert (usual.severity, usual.refuses) == (Severity.REFUSE, True)
    assert usual.advice == CODES["IO-CRC"].advice
    assert usual.numbers == {"stored": 1, "computed": 2}
    assert str(usual) == f"IO-CRC: Wrong. {usual.advice}"
    mild = finding("IO-CRC", "Wrong.", severity=Severity.WARN, advice="Wait.")
    assert (mild.refuses, mild.advice) == (False, "Wait.")


def test_a_place_is_filled_in_without_forgetting_the_other():
    placed = finding("IO-CRC", "Wrong.").at(case="a").at(file="a.nii.gz")
    assert (placed.case, placed.file) == ("a", "a.nii.gz")


def test_an_unknown_code_is_our_mistake():
    with pytest.raises(KeyError):
        finding("IO-NONSENSE", "?")


def test_refused_is_one_of_volunets_errors_and_a_value_error():
    assert issubclass(Refused, (VolunetError, ValueError))


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_a_family_a_severity_and_whole_sentences(code):
    usual = CODES[code]
    assert code.split("-")[0] in FAMILIES
    assert code == code.upper()
    assert Severity(usual.severity) in RANK
    for sentence in (usual.meaning, usual.advice):
        assert sentence.endswith(".")


def codes_in_the_package() -> set[str]:
    """Every text in the package, outside the table, that has the form of a code."""
    texts: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        if file.name != "codes.py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            texts |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)
                      and isinstance(n.value, str)}  # fmt: skip
    return {t for t in texts if t.split("-")[0] in FAMILIES and "-" in t and t.upper() == t}


def test_every_code_that_is_used_stands_in_the_table_and_none_stands_there_unused():
    assert codes_in_the_package() - set(CODES) == set()
    assert set(CODES) - codes_in_the_package() == set()
