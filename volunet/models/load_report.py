"""What became of every tensor when a network took over the weights of a file."""

from __future__ import annotations

from dataclasses import dataclass

TOLD = 8
"""Names that a line lists, at most."""


@dataclass(frozen=True)
class Taken:
    """A tensor of the network, and the one in the file that it was made from.

    Args:
        name: in the network.
        source: in the file.
        shape: in the network.
        given: shape in the file.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    given: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.shape} from {self.source} {self.given}"


@dataclass(frozen=True)
class LoadReport:
    """Every tensor of the network and of the file, each told of once.

    Args:
        encoder: name of the network.
        file: name of the file.
        sha256: of the file.
        how: how kernels went from two dimensions to three, such as "centre along axis 2".
        loaded: one by one, in their own shapes.
        inflated: from two dimensions to three.
        adapted: the first convolution, to another number of channels, and inflated where need be;
            biases before a batch norm, which went into its running means.
        left_out: in the file but not in the network, such as a classifier, by their names there.
        missing: in the network but not in the file, by their names here; they keep the numbers
            that they had.
        turned: kernels among them that went from the rows and columns of pictures to the axes of
            scans.
    """

    encoder: str
    file: str
    sha256: str
    how: str
    loaded: tuple[Taken, ...]
    inflated: tuple[Taken, ...]
    adapted: tuple[Taken, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    turned: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.encoder} from {self.file} (SHA-256 {self.sha256})",
            f"loaded: {len(self.loaded)}",
            f"inflated{f', {self.how}' if self.inflated else ''}: {len(self.inflated)}",
            f"adapted: {_listed(self.adapted)}",
            f"kernels of these turned from rows and columns to the axes of scans: {self.turned}",
            f"left out, in the file only: {_listed(self.left_out)}",
            f"missing, in the network only and not loaded: {_listed(self.missing)}",
        ]
        return "\n  ".join(lines)


def _listed(entries: tuple[Taken, ...] | tuple[str, ...]) -> str:
    return f"{len(entries)}{': ' if entries else ''}{some(entries)}"


def some(entries: tuple[Taken, ...] | tuple[str, ...]) -> str:
    """The first entries, and how many more there are."""
    more = f" and {len(entries) - TOLD} more" if len(entries) > TOLD else ""
    return ", ".join(map(str, entries[:TOLD])) + more
