"""How much memory segmenting a scan will take, from its header, before a voxel is read.

What can be counted is counted: the scan in its own type, the prepared image, the labels, the ring
of sums of logits. The constants stand for libraries, their buffers and the allocator, and were
fitted to measured peaks (benchmarks/contract.py); they are a little on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from volunet.io.header import Header
from volunet.planning.any_plan import AnyPlan
from volunet.planning.memory import count_weights, widest_maps
from volunet.planning.nnunet_plan import NnunetPlan
from volunet.planning.plan import Plan
from volunet.space.grid import Grid
from volunet.space.lattice import cells_in, lattice_points
from volunet.space.lookup import as_axes, index_map

PROCESS_BYTES = 0.31e9
"""A process that ran `volunet predict` up to its first scan."""
ENGINE_BYTES = {"torch": 0.08e9, "openvino": 0.20e9, "onnx": 0.30e9}
"""What an engine's library takes beside weights and feature maps, its conversion included."""
WEIGHT_COPIES = {"torch": 1, "openvino": 4, "onnx": 4}
"""Weights in float32: the network's own, and what conversion keeps."""
MAPS = {"torch fp32": 10.0, "torch bf16": 4.6, "torch fp16": 4.6}
MAPS |= {"openvino fp32": 3.9, "openvino bf16": 1.8, "onnx fp32": 5.0}
"""Feature maps of the finest stage, counted in float32, that a window takes at its peak."""
REFERENCE = "torch fp32"
"""What other engines are tried against, also where one was asked for by name."""
HEAD_SHARE = 0.45
"""Part of the maps that is still there at the last layer."""
ANSWERS = {"torch": 1.4, "openvino": 2.9, "onnx": 2.9}
"""Logits of a window as the last layer makes them and as the engine gives them."""
TRIAL_ANSWERS, TRIAL_BYTES = 3, 2.0**28
"""Logits of each window that a trial holds, and of all its windows: there are two if they fit."""
CUDA_BYTES = 0.6e9
"""What a process takes of a GPU before it computes."""
BLOCKS_BYTES = 0.05e9
"""Blocks of the scan that are resampled, and blocks of labels that are written, at a time."""
LATTICE_BYTES, MAPPED_BYTES, CELL_BYTES = 8, 12, 5
"""What looking for the body takes for each point of its lattice; what bringing it to the plan's
grid takes for each cell of that, and what is kept of a cell."""
EDGE = 0.05
"""Part of the voxels that lie at the edge of a structure, whose logits are blended one by one."""


@dataclass(frozen=True, slots=True)
class Way:
    """How scans are segmented, as far as it takes memory.

    Args:
        engines: those that may run the network, such as "torch fp32".
        tried: they are tried against each other first.
        accumulator: bytes of a sum of logits.
        strips: parts that an image is worked through in.
        batch: windows given to the network at once.
        networks: of an ensemble.
        looks: at each window, by each network.
        on_gpu: the network and the sums are on a GPU.
        hurried: there is a deadline: labels are made anew beside those of the first look.
        part: of the prepared scan, which alone is looked at; None for all of it.
    """

    engines: tuple[str, ...] = (REFERENCE,)
    tried: bool = False
    accumulator: int = 4
    strips: int = 1
    batch: int = 1
    networks: int = 1
    looks: int = 1
    on_gpu: bool = False
    hurried: bool = False
    part: Grid | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Predicted peak memory, in bytes, by what it is for.

    Args:
        process: Python, libraries, weights.
        scan: voxels as they were read.
        image: the scan as the network wants it.
        labels: the label map, and what is needed to write it.
        network: feature maps and logits of the windows at hand, or of a trial of engines.
        sums: of logits, in the ring.
        beside: other scans and masks that are read and written meanwhile.
        gpu: all that lies on a GPU; not part of the total.
    """

    process: float
    scan: float
    image: float
    labels: float
    network: float
    sums: float
    beside: float = 0.0
    gpu: float = 0.0

    @property
    def total(self) -> float:
        """Of the machine's own memory."""
        parts = (self.process, self.scan, self.image, self.labels, self.network, self.sums)
        return sum(parts) + self.beside

    @property
    def largest(self) -> float:
        """What a limit must hold: the machine's memory, or the GPU's."""
        return max(self.total, self.gpu)


def inference_demand(
    plan: AnyPlan, scan: Header, way: Way | None = None, *, beside: float = 0.0
) -> Demand:
    """Peak memory of segmenting a scan, the process included.

    Args:
        beside: bytes that other scans take meanwhile.
    """
    way = way or Way()
    whole = plan.grid_for(scan.grid)
    grid = way.part or whole
    image = _image_bytes(plan, grid if _prepares_parts(plan) else whole)
    image += CELL_BYTES * cells_in(whole)
    of_index = 1 if plan.network["out_channels"] <= 256 else 4
    labels = float(prod(scan.grid.shape) * max(of_index, plan.labels.dtype.itemsize))
    tidied = 2
    if isinstance(plan, Plan) and plan.targets is not None:
        labels, tidied = (
            estimate_bytes(plan, scan.grid) + 4.0 * len(plan.heads) * prod(grid.shape),
            1,
        )
    slab, sums = _ring_bytes(plan, grid, scan.grid, way)
    network, trial, answers = _network_bytes(plan, way)
    # In turn: reading, looking for the body, preparing, trying engines, looking, tidying.
    steps = [
        (scan.reading_bytes - scan.nbytes, 0.0, 0.0, 0.0),
        (_body_bytes(scan.grid, whole), 0.0, 0.0, 0.0),
        (_preparing_bytes(plan, scan, image), 0.0, 0.0, 0.0),
        (image, 0.0, trial, 0.0),
        (image, labels * (1 + way.hurried) + slab, network, sums),
        (image, labels * tidied * (1 + way.hurried), 0.0, 0.0),
    ]
    gpu = 0.0
    if way.on_gpu:
        weights = 4.0 * count_weights(plan) * way.networks
        gpu = CUDA_BYTES + weights + max(network + sums + slab, trial)
        steps = [(image, labels, 0.0, 0.0) for image, labels, *_ in steps]
        steps.append((image, 0.0, answers, 0.0))  # which are compared in the machine's memory
        if any(name.startswith("onnx") for name in way.engines):  # whose answers come back
            steps.append((image, labels + slab, network, sums))
    most = max(steps, key=sum)
    process = _process_bytes(plan, way) + BLOCKS_BYTES
    return Demand(process, scan.nbytes, *most, beside=beside, gpu=gpu)


def _image_bytes(plan: AnyPlan, grid: Grid) -> float:
    """The scan as the network wants it."""
    padded = tuple(map(max, grid.shape, plan.patch))
    voxels = prod(grid.shape) + (padded != grid.shape) * prod(padded)
    if plan.unpadded is not None:  # the scan once more, mirrored around itself
        around = zip(padded, plan.margin, plan.unpadded.step, strict=True)
        voxels += prod(n + 2 * m + step for n, m, step in around)
    return 4.0 * len(plan.channels) * voxels


def _prepares_parts(plan: AnyPlan) -> bool:
    """Whether a part of a scan is prepared alone, as where nothing is taken of the whole image."""
    return isinstance(plan, Plan) and all(i.scheme == "set" for i in plan.intensities)


def _body_bytes(scan: Grid, grid: Grid) -> float:
    """What looking for the body takes at its peak (`inference.air`)."""
    points = lattice_points(scan)
    return float(max(LATTICE_BYTES * points, points + MAPPED_BYTES * cells_in(grid)))


def estimate_bytes(plan: Plan, native: Grid) -> float:
    """The estimates of a scan as they are written."""
    return 4.0 * len(plan.heads) * prod(plan.target_grid(native).shape)


def _ring_bytes(plan: AnyPlan, grid: Grid, native: Grid, way: Way) -> tuple[float, float]:
    """What is made of the rows that leave the ring, and the ring itself."""
    heads, rows = plan.network["out_channels"], min(plan.patch[0], max(grid.shape[0], 1))
    across = _across(grid.shape, way.strips)
    slab = rows * across + 2.0 * heads * across * way.accumulator
    if (axes := as_axes(index_map(grid, native))) is None or not axes.on_lattice:
        slab += rows * across * (12 + EDGE * heads * 4)  # edges, and where they are
    return slab, float(heads * rows * across * way.accumulator)


def _network_bytes(plan: AnyPlan, way: Way) -> tuple[float, float, float]:
    """Feature maps and logits of the windows at hand, those of a trial, and logits it compares."""
    logits = plan.network["out_channels"] * 4.0 * prod(plan.patch)
    several = 2 * logits * (way.networks * way.looks > 1)
    maps = 4.0 * widest_maps(plan)
    each = {
        name: _window_bytes(name, maps, logits, several, way.networks)
        for name in {*way.engines, REFERENCE}
    }
    network = way.batch * max(each[name] for name in way.engines)
    if not way.tried:
        return network, 0.0, 0.0
    answers = (1 + TRIAL_ANSWERS * (2 if 2 * logits <= TRIAL_BYTES else 1)) * logits
    return network, max(network, each[REFERENCE]) + answers, answers


def _window_bytes(engine: str, maps: float, logits: float, several: float, networks: int) -> float:
    """What an engine takes for a window, at its finest stage or at its last layer.

    Engines that convert a network keep its feature maps for the next window, each its own.
    """
    held, kind = MAPS[engine] * maps, engine.split()[0]
    idle = 0.0 if kind == "torch" else (networks - 1) * held
    return idle + max(held, HEAD_SHARE * held + ANSWERS[kind] * logits + several)


def _process_bytes(plan: AnyPlan, way: Way) -> float:
    kinds = {engine.split()[0] for engine in way.engines}
    weights = 4 * count_weights(plan) * way.networks
    copies = max(WEIGHT_COPIES[kind] for kind in kinds)
    return PROCESS_BYTES + sum(ENGINE_BYTES[kind] for kind in kinds) + copies * weights


def _across(shape: tuple[int, ...], strips: int) -> int:
    """Voxels of a row of the largest strip, which holds the first column of the next one."""
    strips = min(strips, shape[1])
    return min(ceil(shape[1] / strips) + (strips > 1), shape[1]) * shape[2]


def _preparing_bytes(plan: AnyPlan, scan: Header, image: float) -> float:
    """The prepared image, and what is held beside it while it is made."""
    voxels = prod(scan.grid.shape)
    if isinstance(
        plan, NnunetPlan
    ):  # a mask, a channel in float32, and the channel between two axes
        return image + voxels * (1 + 4) + max(4.0 * voxels, image / len(plan.channels))
    return image
