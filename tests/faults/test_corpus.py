"""Every fault of the corpus is met with its code; a refusal never comes with voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faults import bytes_and_header, geometry, labels
from tests.faults.corpus import Fault
from volunet.codes import CODES
from volunet.findings import Refused
from volunet.io.read import Reading, inspect, read, read_mask
from volunet.io.write import write

FAULTS = [*bytes_and_header.FAULTS, *geometry.FAULTS, *labels.FAULTS]
REFUSED = [fault for fault in FAULTS if fault.verdict == "refuse"]
READABLE = [fault for fault in FAULTS if fault.verdict != "refuse"]


def meet(fault: Fault, path: Path, accept: tuple[str, ...] = ()) -> Reading:
    if fault.role == "labels":
        return read_mask(path, labels.DECLARED, accept=accept)
    return inspect(path, accept=accept)


def test_the_corpus_names_each_fault_once() -> None:
    names = [(fault.role, fault.name) for fault in FAULTS]
    assert len(set(names)) == len(names) > 100


@pytest.mark.parametrize("fault", REFUSED, ids=str)
def test_a_bad_file_is_refused_with_its_code_and_advice(fault: Fault, tmp_path: Path) -> None:
    path = fault.build(tmp_path)
    with pytest.raises(Refused) as refusal:
        meet(fault, path)
    worst = refusal.value.findings[0]
    assert (worst.code, worst.severity) == (fault.code, "refuse")
    assert worst.file == path.name
    assert worst.message
    assert worst.advice


@pytest.mark.parametrize("fault", REFUSED, ids=str)
def test_a_bad_file_yields_nothing_to_write(fault: Fault, tmp_path: Path) -> None:
    path, out = fault.build(tmp_path), tmp_path / "out.nii.gz"
    with pytest.raises(Refused):
        write(meet(fault, path).volume, out)
    assert not out.exists()


@pytest.mark.parametrize("fault", READABLE, ids=str)
def test_a_file_that_can_be_used_is_read_and_its_flaw_told(fault: Fault, tmp_path: Path) -> None:
    reading = meet(fault, fault.build(tmp_path))
    told = [(found.code, str(found.severity)) for found in reading.findings]
    assert told == ([(fault.code, fault.verdict)] if fault.code else [])
    assert np.isfinite(reading.volume.voxels).all()


@pytest.mark.parametrize("fault", [f for f in REFUSED if f.waivable], ids=str)
def test_an_accepted_code_lets_its_file_through_and_stays_on_record(
    fault: Fault, tmp_path: Path
) -> None:
    reading = meet(fault, fault.build(tmp_path), accept=(fault.code,))
    told = {found.code: found.accepted for found in reading.findings if found.severity == "refuse"}
    assert told == {fault.code: True}


@pytest.mark.parametrize("fault", [f for f in REFUSED if not f.waivable], ids=str)
def test_what_has_no_way_to_go_on_cannot_be_waived(fault: Fault, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        meet(fault, fault.build(tmp_path), accept=tuple(CODES))


@pytest.mark.parametrize("fault", [f for f in REFUSED if f.role == "image"], ids=str)
def test_a_refusal_passes_through_the_loader_of_monai(fault: Fault, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        read(fault.build(tmp_path))
    assert refusal.value.findings[0].code == fault.code
