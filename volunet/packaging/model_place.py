"""Where the model of a folder lies, and what to say where there is none yet."""

from __future__ import annotations

from pathlib import Path

from volunet.errors import ModelError


def find_model(folder: Path) -> Path:
    """The folder that holds `model.json`: this one, or `model/` inside it.

    Raises:
        ModelError: neither does.
    """
    for place in (folder, folder / "model"):
        if (place / "model.json").is_file():
            return place
    if is_unfinished(folder):
        ended = sorted(path.parents[1].name for path in folder.glob("fold_*/model/model.json"))
        folds = f" Of its folds these have a model: {', '.join(ended)}." if ended else ""
        raise ModelError(
            f"{folder} is a run that has not ended. The same `volunet train` command goes on, and "
            f"writes its model.{folds}"
        )
    raise ModelError(
        f"There is no model in {folder}: it holds no model.json. Give the folder that "
        "`volunet train` wrote, or its model/ folder."
    )


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is that of a training run which has no model yet."""
    begun = (folder / "run.json").is_file() or (folder / "plan.json").is_file()
    ended = (folder / "model" / "model.json").is_file() or (folder / "cases.csv").is_file()
    return begun and not ended
