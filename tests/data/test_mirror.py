from __future__ import annotations

import re

import pytest

from striate.data.mirror import is_mirror_safe
from striate.data.sample import CLASSES as FASHION


@pytest.mark.parametrize(
    "classes",
    [
        FASHION,
        ("airplane", "automobile", "bird"),
        ("cardboard", "glass", "trash"),
        ("Birne", "Äpfel"),
        ("T-shirt/top",),
    ],
)
def test_things_may_be_mirrored(classes):
    is_safe, reason = is_mirror_safe(classes)
    assert is_safe
    assert reason == f"no class is named like a digit, letter, side or sign, so a mirrored {classes[0]!r} stays one"


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (("0", "1"), "class '0' holds a number: if it is a digit, its mirror image is none"),
        (("cat", "7 - seven"), "class '7 - seven' names a number: its mirror image may be another class"),
        (("b", "d"), "class 'b' is a single letter: its mirror image may be another or none"),
        (("Delta", "Sigma"), "class 'Delta' names a letter: its mirror image may be another class"),
        (("go", "Turn_Left"), "class 'Turn_Left' names a side: its mirror image may be another class"),
        (("stop sign", "yield"), "class 'stop sign' names writing: its mirror image may be another class"),
        (("class3", "class4"), "class 'class3' holds a number: if it is a digit, its mirror image is none"),
    ],
)
def test_what_is_read_or_has_sides_may_not(classes, reason):
    assert is_mirror_safe(classes) == (False, reason)


def test_a_word_inside_another_is_not_that_word():
    assert is_mirror_safe(("bright", "zeroed", "phialine", re.escape("signal")))[0]
