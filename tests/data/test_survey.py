"""A survey looks at every case once, and is not stopped by one that cannot be read."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest

from tests.data.on_disk import AFFINE, SHAPE, touch, write_label, write_nifti, write_pairs
from volunet.data.layouts import find_dataset
from volunet.data.read_case import read_case
from volunet.data.survey import survey
from volunet.errors import Stopped
from volunet.findings import Refused
from volunet.planning.fingerprint import Fingerprint, take_facts
from volunet.space.labels import Labels

LABELS = Labels(structures={"one": 1, "two": 2})


@pytest.fixture
def root(tmp_path):
    return write_pairs(tmp_path, [f"c{n}" for n in range(6)])


def cases(root):
    return find_dataset(root).cases


def test_the_fingerprint_is_that_of_each_case_taken_alone(root):
    found = survey(cases(root), LABELS, 1)
    alone = {}
    for case in cases(root):
        read = read_case(case, channels=1, labels=LABELS)
        alone[case.case_id] = take_facts(read.image, read.label, LABELS)
    assert found.fingerprint == Fingerprint(cases=alone)
    assert list(found.fingerprint.cases) == [case.case_id for case in cases(root)]
    assert (found.findings, found.refused) == ((), ())
    assert found.fingerprint.cases["c0"].shape == SHAPE


def test_a_case_that_is_refused_is_named_and_the_others_are_counted(root):
    touch(root / "images" / "c1.nii.gz", b"<html>sign in</html>")
    write_label(root / "labels" / "c4.nii.gz", values=(1, 7))
    found = survey(cases(root), LABELS, 1)
    assert found.refused == ("c1", "c4")
    assert set(found.fingerprint.cases) == {"c0", "c2", "c3", "c5"}
    refusing = {f.case for f in found.findings if f.refuses}
    assert refusing == {"c1", "c4"}


def test_cases_with_other_channels_are_refused(root):
    with pytest.raises(Refused, match=r"(?s)None of the 6 cases can be used.*2 are needed"):
        survey(cases(root), LABELS, 2)


def test_what_is_accepted_is_used(root):
    shifted = AFFINE.copy()
    shifted[0, 3] = 5.0
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[1:4] = 1
    write_nifti(root / "labels" / "c2.nii.gz", voxels, shifted)
    assert survey(cases(root), LABELS, 1).refused == ("c2",)
    found = survey(cases(root), LABELS, 1, accept=("GEO-MISMATCH",))
    assert found.refused == ()
    assert [f.accepted for f in found.findings if f.code == "GEO-MISMATCH"] == [True]


def test_progress_is_told_after_every_case(root):
    told = []
    survey(cases(root), LABELS, 1, progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 6) for n in range(1, 7)]


def test_who_stops_the_survey_does_not_wait_for_all_the_other_cases(root):
    def stop(done, total):
        raise Stopped("enough")

    def seconds(**how) -> float:
        started = time.perf_counter()
        with suppress(Stopped):
            survey(cases(root) * 40, LABELS, 1, **how)
        return time.perf_counter() - started

    assert seconds(progress=stop) < seconds() / 3


def test_no_case_at_all_is_refused():
    with pytest.raises(Refused, match="None of the 0 cases"):
        survey((), LABELS, 1)
