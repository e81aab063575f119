"""Whether a mirrored image still shows its class, judged by the names of the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
)  # fmt: skip
SIDES = ("left", "right", "clockwise", "counterclockwise", "anticlockwise", "east", "west", "arrow", "turn")
WRITING = ("digit", "letter", "number", "character", "text", "script", "word", "sign", "limit", "plate")


def is_mirror_safe(classes: Sequence[str]) -> tuple[bool, str]:
    """Whether images may be mirrored left to right in training, and the reason.

    Unsafe as soon as one name is a digit, a letter, a side or a piece of writing: a mirrored 2 is no 2, and a mirrored
    "turn left" shows another class. Names say only so much; a recipe that says flip = true or false is obeyed.
    """
    for name in classes:
        for words, kind in ((NUMBERS, "a number"), (GREEK, "a letter"), (SIDES, "a side"), (WRITING, "writing")):
            if _words(name).intersection(words):
                return False, f"class {name!r} names {kind}: its mirror image may be another class"
        if any(word.isdecimal() for word in _words(name)):
            return False, f"class {name!r} holds a number: if it is a digit, its mirror image is none"
        if len(name) == 1:
            return False, f"class {name!r} is a single letter: its mirror image may be another or none"
    return True, f"no class is named like a digit, letter, side or sign, so a mirrored {classes[0]!r} stays one"


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+|\d+", name.casefold()))
