"""The two kinds of plan: volunet's own, and that of an imported nnU-Net model.

Both offer what inference needs: channels, labels, patch, overlap, the grid for a scan, the prepared
scan, the rules for the way back, and the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from volunet.planning.nnunet_plan import NnunetPlan
from volunet.planning.plan import Plan


def _kind(values: Any) -> str:
    kind = values.get("kind") if isinstance(values, Mapping) else getattr(values, "kind", None)
    return "nnunet" if kind == "nnunet" else "volunet"


AnyPlan = Plan | NnunetPlan

StoredPlan = Annotated[
    Annotated[Plan, Tag("volunet")] | Annotated[NnunetPlan, Tag("nnunet")], Discriminator(_kind)
]
"""A plan in a file: one that says it is of kind "nnunet", or volunet's own, which says nothing."""
