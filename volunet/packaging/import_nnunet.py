"""A trained model of nnU-Net v2 as a model of volunet's: data, with no pickle in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volunet.errors import ModelError
from volunet.models.nnunet_keys import translate
from volunet.models.weight_files import refuse_nonfinite
from volunet.packaging.model_file import Training, save_model
from volunet.packaging.nnunet_folder import NnunetFolder, Which, read_nnunet_folder
from volunet.packaging.nnunet_plans import convert_plans
from volunet.planning.fingerprint import CaseFacts, Fingerprint
from volunet.space.labels import Labels


def import_nnunet(
    folder: Path, output: Path, *, folds: Sequence[str] = (), which: Which = "final"
) -> Path:
    """Writes a model that makes the masks of a trained nnU-Net; returns its `model.json`.

    Args:
        folder: such as `nnUNetTrainer__nnUNetPlans__3d_fullres`.
        folds: "0" to "4" or "all"; by default all numbered ones that are there, as an ensemble.
        which: the checkpoint of each fold.

    Raises:
        ModelError: a file is missing or damaged, could run code, holds weights that are not finite,
            or asks for what volunet does not do as nnU-Net does.
        WriteError: the model could not be written.
    """
    found = read_nnunet_folder(folder, folds=folds, which=which)
    first = found.checkpoints[0]
    plan = convert_plans(found.plans, found.dataset, first.configuration, first.mirror)
    network = plan.build_network()
    weights = [translate(checkpoint.weights, network) for checkpoint in found.checkpoints]
    for checkpoint, of_fold in zip(found.checkpoints, weights, strict=True):
        refuse_nonfinite(of_fold, f"The checkpoint of fold {checkpoint.fold}")
    folds_told = ", ".join(checkpoint.fold for checkpoint in found.checkpoints)
    epochs = max(checkpoint.epochs for checkpoint in found.checkpoints)
    cases, fingerprint = _what_was_kept(found)
    training = Training(
        cases=cases,
        validation_dice=_mean_dice(found, plan.labels),
        elsewhere=f"{epochs} epochs of {first.trainer}, fold {folds_told}",
    )
    return save_model(
        output,
        weights[0],
        name=f"{found.plans.get('dataset_name', folder.name)} {first.configuration}",
        plan=plan,
        fingerprint=fingerprint,
        training=training,
        others=weights[1:],
    )


def _what_was_kept(found: NnunetFolder) -> tuple[int, Fingerprint]:
    """How many cases were trained on, and what is known of them."""
    try:
        cases = int(found.dataset.get("numTraining", 0))
        return cases, convert_fingerprint(found.fingerprint)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"dataset.json or dataset_fingerprint.json is not as nnU-Net v2 writes it: {error}."
        ) from error


def convert_fingerprint(facts: Mapping[str, Any]) -> Fingerprint:
    """What nnU-Net kept of its training set: spacings, and shapes once cropped.

    Axes are the files' own (i, j, k). There are no intensities of images, nor volumes. Empty where
    nothing was kept.
    """
    rows = zip(facts.get("shapes_after_crop", ()), facts.get("spacings", ()), strict=True)
    cases = {}
    for index, (shape, spacing) in enumerate(rows):
        k, j, i = map(int, shape)
        z, y, x = map(float, spacing)
        cases[str(index)] = CaseFacts(
            shape=(i, j, k), spacing=(x, y, z), channels=(), volumes_ml={}
        )
    return Fingerprint(cases=cases)


def _mean_dice(found: NnunetFolder, labels: Labels) -> dict[str, float | None]:
    """nnU-Net's own scores of the cases held out, averaged over the folds that have them."""
    keys = {str(value): name for name, value in labels.structures.items()}
    keys |= {str(values): name for name, values in labels.regions.items()}
    dice: dict[str, float | None] = {}
    for key, name in keys.items():
        known = [c.dice[key] for c in found.checkpoints if key in c.dice]
        if known:
            dice[name] = sum(known) / len(known)
    return dice
