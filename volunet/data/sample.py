"""Where the sample scans lie: inside an installed package, or beside the package in a checkout.

The scans are synthetic; `sample_data/generate.py` in the repository makes them from a seed.
"""

from __future__ import annotations

from pathlib import Path

from volunet.errors import DatasetError

PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "_sample_data", PACKAGE.parent / "sample_data")


def sample_folder() -> Path:
    """The sample dataset: images/, labels/ and labels.json, and test/ with unseen scans.

    The folder may be read-only.

    Raises:
        DatasetError: the package was installed without its sample scans.
    """
    for place in PLACES:
        if (place / "ct" / "labels.json").is_file():
            return place / "ct"
    raise DatasetError(
        "The sample scans are missing from this installation. Install volunet again, or give the "
        "folder of a dataset of your own."
    )
