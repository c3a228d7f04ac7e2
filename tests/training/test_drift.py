"""A warning comes when held-out Dice falls while the loss goes on falling, and not otherwise."""

from volunet.training.drift import find_drift


def history(*validations: float, loss_from: float = 1.0, loss_to: float = 0.1):
    """A hundred steps of an even loss, with validations spread over them."""
    steps = 100
    rows = []
    for step in range(1, steps + 1):
        loss = loss_from + (loss_to - loss_from) * step / steps
        rows.append({"step": str(step), "loss": f"{loss:.6g}", "val_dice": ""})
    for place, dice in enumerate(validations, start=1):
        at = steps * place // len(validations)
        rows.insert(at + place - 1, {"step": str(at), "loss": "", "val_dice": f"{dice:.6g}"})
    return rows


def test_a_fall_beside_a_falling_loss_is_told_with_figures_and_advice():
    told = find_drift(history(0.6, 0.8, 0.75))
    assert told.startswith(
        "Held-out cases got worse: Dice went from 0.800 at step 66 to 0.750 at step 100"
    )
    assert "augmentation" in told


def test_noise_is_not_told():
    assert find_drift(history(0.6, 0.8, 0.79)) is None


def test_a_rising_dice_is_not_told():
    assert find_drift(history(0.6, 0.7, 0.8)) is None


def test_a_loss_that_rises_too_is_another_matter():
    assert find_drift(history(0.8, 0.6, loss_from=0.1, loss_to=1.0)) is None


def test_one_validation_or_none_tells_nothing():
    assert find_drift(history(0.8)) is None
    assert find_drift([]) is None
    assert find_drift(history(float("nan"), float("nan"))) is None
