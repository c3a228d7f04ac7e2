"""What attention gates let through: their coefficients over one window of a scan, as a picture.

    python -m benchmarks.gates --model RUN --image SCAN --label MASK --out PICTURE.png

The network (the first one of an ensemble) looks once, by torch in float32, at a window that is
centred on the labelled voxels, or on the scan's middle without any, and moved into the scan where
it can be. A gate multiplies each voxel of a skip connection by a coefficient in [0, 1] (Oktay et
al. 2018, arXiv:1804.03999); one that works lets less through outside the structures than inside. A
coarse gate's voxels are repeated up to the window's size. All figures, above the maps too, are of
the whole window, not of the slice that is drawn; padding of a small scan is not counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.measured import keep, versions
from volunet.data.cases import Case
from volunet.data.read_case import read_case, read_images
from volunet.errors import ModelError, VolunetError
from volunet.inference.engines.torch_engine import TorchEngine
from volunet.models.blocks import AttentionGate
from volunet.packaging.model_file import load_model, read_model_file
from volunet.planning.plan import Plan
from volunet.reporting.canvas import new_figure, save_png
from volunet.reporting.pictures import BLACK, GREY, WHITE
from volunet.reporting.planes import VIEWS, Panel, View, grey_window
from volunet.space.box import Box
from volunet.space.labels import Labels
from volunet.space.resample import resample_labels
from volunet.space.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEARLY_SHUT = 0.1
"""A coefficient below this is counted as shut."""
TALL, WORDS = 2.6, 0.95
"""Inches: the longer side of a panel, and room for words above and below."""


@dataclass(frozen=True, eq=False)
class Window:
    """What the network sees once, and the part of it that lies in the scan.

    Args:
        seen: (1, C, *S), S the plan's patch and its margin around.
        image: (C, I, J, K), the part.
        index: (I, J, K) class indices there; None where nothing was drawn.
        part: where it lies in the patch.
    """

    seen: Tensor
    image: Volume
    index: NDArray[Any] | None
    part: Box


@dataclass(frozen=True, eq=False)
class GateMap:
    """A gate's coefficients.

    Args:
        shape: of the gate's own map.
        voxels: (I, J, K) on the window's part of the scan, in [0, 1].
    """

    shape: tuple[int, ...]
    voxels: NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """A gate in numbers.

    Args:
        stage: 0 for the finest.
        shape: of the gate's own map.
        below: share of coefficients below `NEARLY_SHUT`.
        inside: mean inside the structures; None where the window shows none.
        outside: mean over background; None where nothing was drawn.
    """

    stage: int
    shape: tuple[int, ...]
    mean: float
    sd: float
    below: float
    inside: float | None
    outside: float | None


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a run, or its model/")
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="a file a channel")
    parser.add_argument("--label", type=Path, help="the label map drawn on the image")
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG file")
    parser.add_argument("--json", type=Path, help="keeps the figures here")
    options = parser.parse_args(words)
    try:
        facts = show_gates(options.model, options.image, options.label, options.out)
    except VolunetError as error:
        parser.error(str(error))
    if options.json:
        keep(options.json, facts)
    print(table(facts))


def show_gates(
    model: Path, images: Sequence[Path], label: Path | None, out: Path
) -> dict[str, Any]:
    """Draws the picture; returns its figures, which hold no name of a scan.

    Raises:
        ModelError: the model has no attention gates.
        Refused: the image or the label map is refused.
        WriteError: the picture could not be written.
    """
    plan, engine = load_gated(model)
    prepared, index = read_prepared(plan, images, label)
    window = cut_window(prepared, index, plan)
    maps = gate_maps(engine, window, plan)
    rows = [figures_of(n, gate, window.index, plan.labels) for n, gate in enumerate(maps)]
    save_png(draw(window, maps, rows, plan), out)
    told = {"model": read_model_file(model).name, "versions": versions(), "patch": plan.patch}
    told |= {"voxels": window.image.grid.shape, "spacing_mm": window.image.grid.spacing}
    told |= {"structure_voxels": counts(window.index, plan.labels)}
    return told | {"shut_below": NEARLY_SHUT, "gates": [asdict(row) for row in rows]}


def load_gated(folder: Path) -> tuple[Plan, TorchEngine]:
    """The plan and the first network of a model with attention gates.

    Raises:
        ModelError: it has none, or is no model.
    """
    plan = read_model_file(folder).plan
    if not isinstance(plan, Plan) or not plan.attention:
        raise ModelError(
            f"The model in {folder} has no attention gates: its plan does not say attention = "
            "true. Train one with --set plan.attention=true."
        )
    cpu = torch.device("cpu")
    segmenter = load_model(
        folder, device=cpu, make_engine=lambda n: TorchEngine(n.module, device=cpu)
    )
    engine = segmenter.engines[0]
    assert isinstance(engine, TorchEngine), "made above"
    return plan, engine


def read_prepared(
    plan: Plan, images: Sequence[Path], label: Path | None
) -> tuple[Volume, NDArray[Any] | None]:
    """The scan as the network wants it, and class indices (I, J, K) on its grid."""
    channels = len(plan.channels)
    if label is None:
        return plan.prepare(read_images(images, channels=channels).volume), None
    case = Case(case_id="scan", images=tuple(images), label=label)
    read = read_case(case, channels=channels, labels=plan.labels)
    prepared = plan.prepare(read.image)
    on_grid = resample_labels(read.label.reoriented("RAS"), prepared.grid)
    return prepared, plan.labels.to_index(on_grid.voxels[0])


def cut_window(prepared: Volume, index: NDArray[Any] | None, plan: Plan) -> Window:
    """One window of a scan, padded as at inference: with 0, or mirrored if there is a margin."""
    shape, patch, margin = prepared.grid.shape, plan.patch, plan.margin
    centre = centre_of(structures(index, plan.labels), shape, plan.flat)
    axes = list(zip(centre, patch, shape, strict=True))
    start = tuple(min(max(c - p // 2, 0), max(n - p, 0)) for c, p, n in axes)
    box = Box(start, tuple(min(a + p, n) for a, (_, p, n) in zip(start, axes, strict=True)))
    low = tuple(max(p - n, 0) // 2 for _, p, n in axes)
    part = Box(low, tuple(a + n for a, n in zip(low, box.shape, strict=True)))
    around = Box(
        tuple(max(a - m, 0) for a, m in zip(box.start, margin, strict=True)),
        tuple(min(b + m, n) for b, m, n in zip(box.stop, margin, shape, strict=True)),
    )
    before = [
        at + m - (a - first)
        for at, m, a, first in zip(low, margin, box.start, around.start, strict=True)
    ]
    sides = [
        (ahead, p + 2 * m - ahead - held)
        for ahead, p, m, held in zip(before, patch, margin, around.shape, strict=True)
    ]
    voxels = prepared.voxels[around.index]
    padded = np.pad(voxels, [(0, 0), *sides], mode="reflect" if any(margin) else "constant")
    cut = None if index is None else index[box.index]
    return Window(torch.from_numpy(padded)[None], prepared.crop(box), cut, part)


def structures(index: NDArray[Any] | None, labels: Labels) -> NDArray[np.bool_] | None:
    """Where structures were drawn; voxels that nobody judged are none."""
    return None if index is None else (index > 0) & (index < labels.classes)


def centre_of(
    inside: NDArray[np.bool_] | None, shape: tuple[int, ...], flat: int | None
) -> tuple[int, ...]:
    """The centre of mass of what was drawn, in the fullest slice across `flat`; or the middle."""
    if inside is None or not inside.any():
        return tuple(n // 2 for n in shape)
    if flat is not None:
        fullest = fullest_slice(inside, flat)
        inside = inside & (np.arange(shape[flat]) == fullest).reshape(
            [-1 if axis == flat else 1 for axis in range(3)]
        )
    return tuple(round(float(at.mean())) for at in np.nonzero(inside))


def fullest_slice(inside: NDArray[np.bool_], axis: int) -> int:
    """The slice across an axis that shows most."""
    return int(inside.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())


def gate_maps(engine: TorchEngine, window: Window, plan: Plan) -> list[GateMap]:
    """The coefficients of every gate over a window, finest gate first."""
    seen: list[Tensor] = []

    def note(_score: nn.Module, _given: tuple[Tensor, ...], scores: Tensor) -> None:
        seen.append(scores.sigmoid())  # as the gate does with them

    gates = [part for part in engine.network.modules() if isinstance(part, AttentionGate)]
    hooks = [gate.score.register_forward_hook(note) for gate in gates]
    try:
        engine(window.seen)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(seen) == len(gates), "each gate is asked once"
    if plan.flat is not None:  # a network of two axes has no room for the third
        seen = [m if m.ndim == 5 else m.unsqueeze(2 + plan.flat) for m in seen]
    seen.sort(key=Tensor.numel, reverse=True)
    return [GateMap(tuple(m.shape[2:]), enlarged(m, plan.patch, window.part)) for m in seen]


def enlarged(own: Tensor, patch: tuple[int, ...], part: Box) -> NDArray[np.float32]:
    """A map (1, 1, *S) brought to the patch by repeating voxels, and cut to a part of that."""
    large: NDArray[np.float32] = F.interpolate(own, size=patch, mode="nearest")[0, 0].numpy()
    return large[part.index]


def figures_of(stage: int, gate: GateMap, index: NDArray[Any] | None, labels: Labels) -> Figures:
    """A gate in numbers, over the window's part of the scan."""
    values = gate.voxels.astype(np.float64)
    return Figures(
        stage=stage,
        shape=gate.shape,
        mean=float(values.mean()),
        sd=float(values.std()),
        below=float((gate.voxels < NEARLY_SHUT).mean()),
        inside=mean_where(values, structures(index, labels)),
        outside=mean_where(values, None if index is None else index == 0),
    )


def mean_where(values: NDArray[np.float64], mask: NDArray[np.bool_] | None) -> float | None:
    return float(values[mask].mean()) if mask is not None and mask.any() else None


def counts(index: NDArray[Any] | None, labels: Labels) -> dict[str, int]:
    """Voxels of each structure in the window; {} where nothing was drawn."""
    if index is None:
        return {}
    return {name: int((index == n).sum()) for n, name in enumerate(labels.names, start=1)}


def draw(window: Window, maps: Sequence[GateMap], rows: Sequence[Figures], plan: Plan) -> Figure:
    """The image, then each gate finest first, in the slice that shows most of the structures."""
    view = next(v for v in VIEWS if v.axis == (2 if plan.flat is None else plan.flat))
    place = slice_of(window, view, plan.labels)
    panel = cut_panel(window, view, place)
    across, along = panel.size_mm
    wide, tall = (side * TALL / max(across, along) for side in panel.size_mm)
    inches = (max(wide, 1.9) * (len(maps) + 1) + 0.9, tall + WORDS)
    figure = new_figure(inches, BLACK)
    figure.set_layout_engine("constrained")
    first, *others = figure.subplots(1, len(maps) + 1, squeeze=False)[0]
    low, high = grey_window([panel])
    extent = (0.0, across, along, 0.0)
    first.imshow(panel.image, cmap="gray", vmin=low, vmax=high, extent=extent)
    axis = "xyz"[view.axis]
    finish(first, panel, plan.labels, f"{view.name}, {axis} = {panel.place_mm:.0f} mm\nimage")
    for ax, gate, row in zip(others, maps, rows, strict=True):
        plane = looked_at(gate.voxels, view, place)
        shown = ax.imshow(plane, vmin=0, vmax=1, extent=extent, interpolation="nearest")
        finish(ax, panel, plan.labels, title(row))
    bar = figure.colorbar(shown, ax=others, shrink=0.8, pad=0.02)
    bar.set_label("coefficient", color=GREY, fontsize=9)
    bar.ax.tick_params(colors=GREY, labelsize=8)
    legend(figure, panel, plan.labels)
    return figure


def slice_of(window: Window, view: View, labels: Labels) -> int:
    """The slice of the window that is drawn."""
    inside = structures(window.index, labels)
    if inside is None or not inside.any():
        return window.image.grid.shape[view.axis] // 2
    return fullest_slice(inside, view.axis)


def cut_panel(window: Window, view: View, place: int) -> Panel:
    """The image's first channel and the class indices in the slice that is drawn."""
    grid = window.image.grid
    index = np.zeros(grid.shape, dtype=np.uint8) if window.index is None else window.index
    at = np.where(np.arange(3) == view.axis, place, np.array(grid.shape) // 2)
    width, height = (grid.shape[a] * grid.spacing[a] for a in (view.columns, view.rows))
    return Panel(
        view=view,
        image=looked_at(window.image.voxels[0], view, place),
        labels=looked_at(index, view, place),
        reference=None,
        size_mm=(width, height),
        place_mm=float(grid.to_world(at)[view.axis]),
    )


def looked_at(voxels: NDArray[Any], view: View, place: int) -> NDArray[Any]:
    """A slice of (R, A, S) as (rows, columns) from top left, the patient's right on the left."""
    plane: NDArray[Any] = voxels.take(place, axis=view.axis)
    return plane.T[::-1, ::-1]


def title(row: Figures) -> str:
    """What stands above a gate's map."""
    size = " × ".join(map(str, row.shape))
    if row.inside is None or row.outside is None:
        return f"stage {row.stage}, {size}\nmean {row.mean:.3f}"
    return f"stage {row.stage}, {size}\ninside {row.inside:.3f}, outside {row.outside:.3f}"


def finish(ax: Axes, panel: Panel, labels: Labels, words: str) -> None:
    """Outlines and words on a panel."""
    (width, height), (rows, columns) = panel.size_mm, panel.labels.shape
    x = (np.arange(-1, columns + 1) + 0.5) * width / columns
    y = (np.arange(-1, rows + 1) + 0.5) * height / rows
    for n, name in enumerate(labels.names, start=1):
        mask = np.pad(panel.labels == n, 1).astype(np.float64)
        for colour, line in ((WHITE, 1.8), (labels.colour_of(name), 1.0)) if mask.any() else ():
            ax.contour(x, y, mask, levels=[0.5], colors=[colour], linewidths=line)
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    ax.set_title(words, color=GREY, fontsize=8)


def legend(figure: Figure, panel: Panel, labels: Labels) -> None:
    """The structures that are outlined."""
    from matplotlib.lines import Line2D

    seen = [name for n, name in enumerate(labels.names, start=1) if (panel.labels == n).any()]
    lines = [Line2D([], [], color=labels.colour_of(name), label=name) for name in seen]
    if lines:
        figure.legend(
            handles=lines,
            loc="outside lower center",
            ncols=min(len(lines), 8),
            frameon=False,
            labelcolor=WHITE,
            fontsize=8,
        )


def table(facts: dict[str, Any]) -> str:
    """The gates for the terminal, finest first."""
    head = ("stage", "map", "mean", "sd", f"below {NEARLY_SHUT}", "inside", "outside")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in facts["gates"]:
        size = " x ".join(map(str, row["shape"]))
        means = (row[name] for name in ("mean", "sd", "below", "inside", "outside"))
        cells = ["" if mean is None else f"{mean:.3f}" for mean in means]
        lines.append(f"| {row['stage']} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
