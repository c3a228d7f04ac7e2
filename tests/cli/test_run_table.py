"""On a terminal a run is a table that replaces itself; elsewhere it is a line now and then."""

import io
import re

import pytest
from rich.console import Console

from volunet.cli.speaker import Speaker
from volunet.cli.train import watch_for
from volunet.training.budget import Budget
from volunet.training.handlers import Progress
from volunet.training.history import Row
from volunet.training.validate import Score


def line(step, *, loss=0.5, **more):
    return Progress(Row(step, 12.0, loss, 0.01, 2.0), Budget(seconds=60), step / 100, **more)


def drawn(*lines, terminal=True, then="", **how):
    """What a person sees of these lines, controls left out."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=60, height=40, soft_wrap=True)
    speaker = Speaker(err=console, **how)
    watch = watch_for(speaker, lambda: False)
    for one in lines:
        watch.report(one)
    if then:
        watch.say(then)
    speaker.end_bar()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())


def test_the_table_has_the_newest_line_and_the_last_validation_and_the_notes():
    seen = drawn(
        line(10, notes=("Batches are worked [through] in 2 pieces.",)),
        line(20, loss=None, score=Score({"liver": 0.9, "tumour": 0.5}, 3)),
        line(30, loss=0.25),
    )
    last = seen[seen.rindex("step  ") :]
    words = " ".join(last.split())
    assert words.startswith("step 30 time 12 s; the budget is 60 s")
    assert "loss 0.250 rate 0.01" in words
    assert "Dice at step 20 mean 0.700: liver 0.900, tumour 0.500" in words
    assert "note Batches are worked [through] in 2 pieces." in words


def test_a_hundred_structures_are_folded_not_cut():
    dice = {f"structure_{n}": n / 100 for n in range(100)}
    seen = drawn(line(10, score=Score(dice, 1)), then="Done.")
    last = "".join(seen[seen.rindex("step  ") :].split())
    assert all(f"structure_{n}{n / 100:.3f}" in last for n in range(100))


def test_a_table_stays_once_something_is_said_and_the_next_run_begins_its_own():
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=60, height=40)
    watch = watch_for(speaker := Speaker(err=console), lambda: False)
    watch.report(line(10, notes=("A note of the first.",)))
    watch.say("Fold 1 of 2.")
    before = len(shown.getvalue())
    watch.report(line(10))
    speaker.end_bar()
    assert "A note of the first." not in shown.getvalue()[before:]


def test_a_score_of_some_of_the_held_out_cases_says_of_how_many():
    some = line(20, loss=None, score=Score({"liver": 0.9}, 3, held_out=40))
    assert "mean 0.900 (3 of 40 cases): liver 0.900" in " ".join(drawn(some).split())
    assert "validation Dice (3 of 40 cases) liver 0.900" in " ".join(
        drawn(some, terminal=False).split()
    )
    assert "cases" not in drawn(line(20, loss=None, score=Score({"liver": 0.9}, 40, held_out=40)))


@pytest.mark.parametrize("how", [{"terminal": False}, {"as_json": True}])
def test_without_a_terminal_or_with_json_it_is_a_line(how):
    seen = drawn(line(10, notes=("A note.",)), **how)
    assert "A note." in seen
    assert "step 10, 12 s of 60 s: loss 0.500, rate 0.01" in " ".join(seen.split())
    assert "the budget is" not in seen


def test_quiet_is_quiet():
    assert drawn(line(10, notes=("A note.",)), line(20), quiet=True) == ""
