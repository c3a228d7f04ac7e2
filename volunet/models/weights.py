"""Weights learnt elsewhere into an encoder, with a report of what became of every tensor.

The file has the encoder's own dimensions, or it has two and the encoder three. Layouts that are
understood are listed in `volunet.models.weight_names`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field

from torch import Tensor

from volunet.errors import ModelError
from volunet.models.encoders.encoder import Encoder
from volunet.models.inflation import Inflation, LearntOn, adapt_kernel, inflate_kernel, turn_kernel
from volunet.models.load_report import LoadReport, Taken, some
from volunet.models.weight_files import WeightFile, read_weights, refuse_nonfinite
from volunet.models.weight_names import is_own, published_name

ENOUGH = 0.8
"""The share of the network's numbers that must come from the file."""
BIAS, MEAN = "downsample.0.bias", "downsample.1.running_mean"
"""Of a shortcut's convolution, and of the norm behind it."""
SHORTCUT, COUNTER = ".downsample.", "num_batches_tracked"


def load_pretrained(
    encoder: Encoder,
    path: str | os.PathLike[str],
    *,
    inflate: Inflation = "centre",
    depth_axis: int = 2,
    learnt_on: LearntOn = "arrays",
    sha256: str | None = None,
    whole: bool = False,
) -> LoadReport:
    """Puts the weights of a file into an encoder; on an error the encoder stays as it was.

    Args:
        encoder: such as `EncoderUNet(...).encoder`.
        path: safetensors, or torch's format read as data only; no address, nothing is fetched.
        inflate: how weights of two dimensions go into three, as in `volunet.models.inflation`.
        depth_axis: the axis of S that a network of two dimensions did not have; the last, K, where
            it saw axial slices.
        learnt_on: pictures, whose kernels of two dimensions are turned to the axes of scans, unless
            the file is of volunet's own encoders; or arrays with the axes that this one will see.
        sha256: that the file must have.
        whole: not a weight of the encoder may be missing, as where it will stay as it is loaded.

    Raises:
        ModelError: the file cannot be read or has another SHA-256, a weight has a shape that does
            not fit or is not finite, layers are left over, or too little of the network is in it:
            less than four fifths, no shortcut where the encoder has them, or not the `whole`.
    """
    if inflate not in ("centre", "average") or depth_axis not in (0, 1, 2):
        raise ModelError(
            f"Weights are inflated by 'centre' or 'average' along axis 0, 1 or 2, got {inflate!r} "
            f"along {depth_axis!r}."
        )
    file = read_weights(path, sha256=sha256)
    turns = learnt_on == "pictures" and not any(map(is_own, file.tensors))
    fitting = _Fitting(encoder, file, inflate, depth_axis, turns)
    left_out, missing = fitting.fit_all()
    fitting.check(left_out)
    fitting.check_missing(missing, whole=whole)
    encoder.load_state_dict({**encoder.state_dict(), **fitting.weights})
    taken = fitting.taken
    return LoadReport(
        encoder=encoder.name,
        file=file.name,
        sha256=file.sha256,
        how=f"{inflate} along axis {depth_axis}",
        loaded=tuple(taken["loaded"]),
        inflated=tuple(taken["inflated"]),
        adapted=tuple(taken["adapted"]),
        left_out=(*left_out, *file.other),
        missing=missing,
        turned=fitting.turned,
    )


@dataclass
class _Fitting:
    """Tensors of a file that find their place in an encoder, and those that do not."""

    encoder: Encoder
    file: WeightFile
    how: Inflation
    depth_axis: int
    turns: bool
    turned: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)
    taken: dict[str, list[Taken]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)

    def fit_all(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Fits what it can, and names what is only in the file and only in the encoder."""
        sources: dict[str, str] = {}
        for source in self.file.tensors:
            name = published_name(source)
            if name in sources:
                self.wrong.append(f"{sources[name]} and {source} are the same weight")
            sources[name] = source
        self.fold_biases(sources)
        missing = []
        first = next(iter(self.encoder.state_dict()))
        for name, ours in self.encoder.state_dict().items():
            source = sources.pop(published_name(name), "")
            if source:
                self.fit(name, source, ours, first=name == first)
            else:
                missing.append(name)
        return tuple(sources.values()), tuple(missing)

    def fold_biases(self, sources: dict[str, str]) -> None:
        """Takes biases before a batch norm, as MONAI's ResNets have, off the means of that norm."""
        own = {published_name(name) for name in self.encoder.state_dict()}
        for name in [n for n in sources if n.endswith(BIAS) and n not in own]:
            mean = name.removesuffix(BIAS) + MEAN
            if mean in own and mean in sources:
                bias = self.file.tensors[source := sources.pop(name)]
                self.biases[mean] = bias
                shape = tuple(bias.shape)
                self.taken["adapted"].append(Taken(mean, source, shape, shape))

    def fit(self, name: str, source: str, ours: Tensor, *, first: bool) -> None:
        """Gives a tensor of the encoder the numbers of one in the file."""
        given = self.file.tensors[source]
        kind, value = "loaded", given.to(ours.dtype)
        if (bias := self.biases.get(published_name(name))) is not None and bias.shape == ours.shape:
            value = value - bias
        if given.ndim == 4 and self.turns:
            value, self.turned = turn_kernel(value), self.turned + 1
        if given.ndim == 4 and ours.ndim == 5:
            depth = ours.shape[2 + self.depth_axis]
            kind = "inflated"
            value = inflate_kernel(value, depth, how=self.how, axis=self.depth_axis)
        if first and value.ndim == ours.ndim and value.shape[1] != ours.shape[1]:
            kind, value = "adapted", adapt_kernel(value, ours.shape[1])
        if value.shape != ours.shape:
            self.wrong.append(f"{source} is {tuple(given.shape)}, {name} {tuple(ours.shape)}")
        self.weights[name] = value
        self.taken[kind].append(Taken(name, source, tuple(ours.shape), tuple(given.shape)))

    def check(self, left_out: tuple[str, ...]) -> None:
        """Nothing, where file and encoder are of the same network.

        Raises:
            ModelError: they are not.
        """
        name, whose = self.encoder.name, f"{self.file.name} does not fit {self.encoder.name}"
        if self.wrong:
            raise ModelError(
                f"{whose} in {self.encoder.spatial_dims} dimensions: {'; '.join(self.wrong[:6])}. "
                f"Take the encoder that the file was made from; weights go from two dimensions to "
                f"three, and not back."
            )
        refuse_nonfinite(self.weights, self.file.name)
        ours = self.encoder.state_dict()
        layers = {published_name(key).split(".")[0] for key in ours}
        over = tuple(key for key in left_out if published_name(key).split(".")[0] in layers)
        share = sum(w.numel() for w in self.weights.values()) / sum(
            w.numel() for w in ours.values()
        )
        if share and over:
            raise ModelError(
                f"{whose}: it has layers that {name} lacks: {some(over)}. It was made from a "
                f"deeper network, or from one with other shortcuts; take that encoder."
            )
        if share < ENOUGH:
            raise ModelError(
                f"{whose}: it has {share:.0%} of its weights, where {ENOUGH:.0%} are needed. It "
                f"holds such as {some(left_out) or 'nothing else'}; {name} looks for such as "
                f"{', '.join(published_name(key) for key in list(ours)[:3])}."
            )

    def check_missing(self, missing: tuple[str, ...], *, whole: bool) -> None:
        """Nothing, where the encoder can do without what the file does not have.

        Raises:
            ModelError: it cannot.
        """
        lost = tuple(key for key in missing if not key.endswith(COUNTER))
        shortcuts = {key for key in self.weights if SHORTCUT in key}
        if not shortcuts and any(SHORTCUT in key for key in lost):
            raise ModelError(
                f"{self.file.name} was made with shortcuts without weights, and "
                f"{self.encoder.name} has {some(lost)}, which would stay random. Take "
                f'"{self.encoder.name}-padded", which has none.'
            )
        if lost and whole:
            raise ModelError(
                f"{self.file.name} has no {some(lost)}, and a frozen encoder would keep the random "
                f"numbers that stand there. Take the encoder that the file was made from, or "
                f"training.optimisation.freeze_encoder out."
            )
