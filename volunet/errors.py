"""What volunet raises: one root, and one name for each thing a caller can mend.

VolunetError
    ConfigError         a recipe, plan or option that says something volunet does not know
    DatasetError        a folder or table of cases that cannot be used as it is
    GeometryError       an affine, spacing or orientation that cannot be used
    LabelError          a label value or name that nobody declared
    ModelError          a model file that is damaged, foreign, or unfit for this input
    ShapeError          voxels, patches or windows that do not fit each other
    TrainingDiverged    the loss is no longer a finite number
    OutOfMemory         a training step that fits no memory here
    Stopped             the work was asked to stop, and can go on later
    OutOfTime           a deadline that is too near for any answer
    WriteError          a file that could not be written whole and read back
    MissingExtra        a part of volunet whose packages are not installed
    Refused             a scan or label file refused with its findings (in `volunet.findings`)
"""

from __future__ import annotations


class VolunetError(Exception):
    """Anything volunet refuses to do."""


class ConfigError(VolunetError, ValueError):
    """A recipe, plan or option that says something volunet does not know."""


class DatasetError(VolunetError, ValueError):
    """A folder or table of cases that cannot be used as it is."""


class GeometryError(VolunetError, ValueError):
    """An affine, spacing or orientation that cannot be used."""


class LabelError(VolunetError, ValueError):
    """A label value or name that nobody declared."""


class ModelError(VolunetError, ValueError):
    """A model file that is damaged, foreign, or unfit for this input."""


class ShapeError(VolunetError, ValueError):
    """Voxels, patches or windows that do not fit each other."""


class TrainingDiverged(VolunetError, ArithmeticError):  # noqa: N818 - the house's name
    """The loss is no longer a finite number."""


class OutOfMemory(VolunetError, MemoryError):  # noqa: N818 - the house's name
    """A training step that fits no memory here, however it is cut."""


class Stopped(VolunetError, InterruptedError):  # noqa: N818 - the house's name
    """The work was asked to stop; what is done is kept and the same call goes on."""


class FirstFailed(VolunetError, RuntimeError):  # noqa: N818 - the house's name
    """Of several processes the first one could not begin, and tells why."""


class OutOfTime(VolunetError, TimeoutError):  # noqa: N818 - the house's name
    """A deadline that is too near for any answer."""


class InUseError(ConfigError):
    """Another process works in the folder.

    Attributes:
        who: says which, and where, and no more.
    """

    def __init__(self, who: str, advice: str) -> None:
        super().__init__(f"{who}. {advice}")
        self.who = who


class TakenOver(Stopped):
    """Another process works in the folder now; nothing more may be written there."""


class WriteError(VolunetError, OSError):
    """A file that could not be written whole and read back, or not brought to the disk."""


class MissingExtra(VolunetError, ImportError):  # noqa: N818 - the house's name
    """A part of volunet whose packages are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}'. Install it with: pip install 'volunet[{extra}]'"
        )
