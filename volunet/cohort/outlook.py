"""What a run over many scans will take at its peak, told by their headers before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from volunet.data.cases import Scan
from volunet.findings import Refused
from volunet.inference.effort import Effort
from volunet.inference.limit import Foreseen
from volunet.inference.segmenter import Segmenter
from volunet.io.header import Header
from volunet.io.scan import read_header
from volunet.planning.foresight import estimate_bytes
from volunet.planning.machine import GB
from volunet.planning.plan import Plan


@dataclass(frozen=True)
class Outlook:
    """The predicted peak memory of a run.

    Args:
        peak_bytes: of the scan that takes most; 0 where no header could be read.
        gpu_bytes: the same on a GPU.
        case_id: that scan.
        shape: of it.
        how: it will be looked at.
        refused: scans that would pass the limit, or the machine's memory, in any way.
        overlaps: the next scan is read, and the last mask written, while one is segmented.
    """

    peak_bytes: float = 0.0
    gpu_bytes: float = 0.0
    case_id: str = ""
    shape: tuple[int, int, int] = (0, 0, 0)
    how: str = ""
    refused: int = 0
    overlaps: bool = True

    def __str__(self) -> str:
        told = []
        if self.peak_bytes:
            gpu = f", and {self.gpu_bytes / GB:.2f} GB on the GPU" if self.gpu_bytes else ""
            size = " x ".join(map(str, self.shape))
            told.append(
                f"Predicted peak memory: {self.peak_bytes / GB:.2f} GB{gpu} "
                f"({self.case_id}, {size}, {self.how})."
            )
        if not self.overlaps:
            told.append("One scan at a time is read, for want of memory.")
        if self.refused:
            scans = "1 scan" if self.refused == 1 else f"{self.refused} scans"
            told.append(f"{scans} will be refused, for want of memory.")
        return " ".join(told)


def look_ahead(
    scans: Sequence[Scan], model: Segmenter, *, accept: Collection[str] = ()
) -> tuple[Segmenter, Outlook]:
    """The model, told what else will be in memory, and the peak that is to be expected.

    Other scans are read and written meanwhile where that fits the limit, and makes no scan slower.

    Args:
        accept: codes of refusals to waive when headers are read.
    """
    headers = _headers(scans, model, accept)
    alone = _foresee_all(headers, model)
    read = [header for case_id, header in headers.items() if alone.get(case_id)]
    if len(read) < 2:
        return model, _outlook(headers, alone, overlaps=True)
    both = replace(model, beside=_beside(read, model))
    together = _foresee_all(headers, both)
    if _ways(together) == _ways(alone):
        return both, _outlook(headers, together, overlaps=True)
    lonely = replace(model, alone=True)
    return lonely, _outlook(headers, alone, overlaps=lonely.overlaps)


def _beside(headers: Collection[Header], model: Segmenter) -> float:
    """The next scan while it is read, and the mask of the last one while it is written."""
    mask = max(_mask_bytes(header, model) for header in headers)
    return max(header.reading_bytes for header in headers) + mask


def _mask_bytes(header: Header, model: Segmenter) -> float:
    plan = model.plan
    if isinstance(plan, Plan) and plan.targets is not None:
        return estimate_bytes(plan, header.grid)
    return float(prod(header.grid.shape)) * plan.labels.dtype.itemsize


def _headers(scans: Sequence[Scan], model: Segmenter, accept: Collection[str]) -> dict[str, Header]:
    """Headers by case id; those that cannot be read are left for the reading to refuse."""
    headers, several = {}, len(model.plan.channels) > 1
    for scan in scans:
        if not scan.refused:
            try:
                header = read_header(scan.images, accept=accept, channels_in_file=several)
            except Exception:  # whatever it is, it must not stop the other scans
                continue
            headers[scan.case_id] = header
    return headers


def _foresee_all(headers: Mapping[str, Header], model: Segmenter) -> dict[str, Foreseen | None]:
    """How each scan will be looked at; None where it will be refused for want of memory."""
    foreseen: dict[str, Foreseen | None] = {}
    for case_id, header in headers.items():
        try:
            foreseen[case_id] = model.foresee(header)
        except Refused as refused:
            if any(found.code == "RES-MEMORY" for found in refused.findings):
                foreseen[case_id] = None
    return foreseen


def _ways(foreseen: Mapping[str, Foreseen | None]) -> list[tuple[Effort, bool] | None]:
    return [None if seen is None else (seen.effort, seen.tried) for seen in foreseen.values()]


def _outlook(
    headers: Mapping[str, Header], foreseen: Mapping[str, Foreseen | None], *, overlaps: bool
) -> Outlook:
    known = {case_id: seen for case_id, seen in foreseen.items() if seen is not None}
    refused = len(foreseen) - len(known)
    if not known:
        return Outlook(refused=refused, overlaps=overlaps)
    case_id, seen = max(known.items(), key=lambda item: item[1].demand.total)
    return Outlook(
        peak_bytes=seen.demand.total,
        gpu_bytes=seen.demand.gpu,
        case_id=case_id,
        shape=headers[case_id].grid.shape,
        how=str(seen),
        refused=refused,
        overlaps=overlaps,
    )
