"""Whether a mirrored image still shows its class, judged by the names of the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

SIDES = ("left", "right", "clockwise", "counterclockwise", "anticlockwise", "arrow")
READ = (  # what is read: numbers, letters, and the words for them
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "digit", "letter", "number", "character", "text", "script", "sign", "speed",
)  # fmt: skip


def is_mirror_safe(classes: Sequence[str]) -> tuple[bool, str]:
    """Whether images may be mirrored left to right in training, and the reason.

    Unsafe where one name is a digit or a letter or tells sides, or at least half of the names hold a number, a letter
    or a word of reading: a mirrored 2 is no 2, and a mirrored "turn left" shows another class. One "street sign" among
    a thousand things is no reason. Names say only so much; a recipe that says flip = true or false is obeyed.
    """
    for name in classes:
        if len(name) == 1 or name.isdecimal():
            return False, f"class {name!r} looks like a digit or letter: its mirror image may be another or none"
        if _words(name).intersection(SIDES):
            return False, f"class {name!r} tells sides: its mirror image may be another class"
    read = [name for name in classes if _is_read(name)]
    if 2 * len(read) >= len(classes):
        return (
            False,
            f"{len(read)} of {len(classes)} classes, such as {read[0]!r}, are read: mirrored they read otherwise",
        )
    return True, f"the classes name no digits, letters or sides, so a mirrored {classes[0]!r} stays one"


def _is_read(name: str) -> bool:
    words = _words(name)
    return bool(words.intersection(READ)) or any(word.isdecimal() for word in words)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+|\d+", name.casefold()))
