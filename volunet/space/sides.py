"""Which names of structures tell left from right, and which of these are partners."""

from __future__ import annotations

import re
from collections.abc import Iterable

SIDE = re.compile(
    r"(?i:left|right)|(?i:(?<![a-z0-9])(?:lt|rt|lh|rh|l|r)(?![a-z0-9]))"  # leftKidney, lh-cuneus
    r"|(?:Lt|Rt)(?![a-z])|(?<=[a-z])[LR](?![A-Za-z0-9])"  # KidneyLt, kidneyL
    r"|(?<![A-Za-z0-9])[LlRr](?=[A-Z][a-z])|(?<=[A-Z]{3})[LR](?![A-Za-z0-9])"  # LEye, EYEL
    r"|^[LR](?=[a-z]{3})"  # Lkidney
)
"""What may stand for a side; a letter is one only where the partner's name has the other."""
WORD = re.compile(
    r"(?<![A-Za-z])(?i:left|right)(?![A-Za-z])|(?i:(?<![a-z0-9])(?:lh|rh)(?![a-z0-9]))"
    r"|(?<![A-Za-z])(?:[Ll]eft|[Rr]ight)(?=[A-Z])|(?<=[a-z])(?:Left|Right)(?![a-z])"
)
"""What stands for a side without doubt: left_atrium, lh.cuneus, LeftParotid, kidneyLeft."""
OTHER = str.maketrans("lr", "rl")


def pair_by_names(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Names that differ by left and right alone, the earlier one first, each in one pair."""
    pairs, waiting = list[tuple[str, str]](), dict[tuple[str, str], str]()
    for name in names:
        rest, sides = SIDE.sub("*", name).casefold(), _letters(SIDE, name)
        if not sides:
            continue
        if first := waiting.pop((rest, sides.translate(OTHER)), None):
            pairs.append((first, name))
        else:
            waiting.setdefault((rest, sides), name)
    return tuple(pairs)


def says_side(name: str) -> bool:
    """Whether a name says in a word that it is of one side, as "left_atrium" does."""
    return len(set(_letters(WORD, name))) == 1  # "left and right lung" is of both


def _letters(pattern: re.Pattern[str], name: str) -> str:
    """The sides in a name, as "l" and "r"."""
    return "".join(found[0][0] for found in pattern.finditer(name)).lower()
