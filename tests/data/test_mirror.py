from __future__ import annotations

import pytest

from striate.data.mirror import is_mirror_safe
from striate.data.sample import CLASSES as FASHION

THINGS = ("plate", "three-toed sloth", "street sign", "West Highland white terrier", "bright", "zeroed", "siphon")


@pytest.mark.parametrize(
    "classes",
    [FASHION, ("airplane", "automobile", "bird"), ("cardboard", "glass", "trash"), ("T-shirt/top", "x ray"), THINGS],
)
def test_things_may_be_mirrored(classes):
    reason = f"the classes name no digits, letters or sides, so a mirrored {classes[0]!r} stays one"
    assert is_mirror_safe(classes) == (True, reason)


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (("0", "1"), "class '0' looks like a digit or letter: its mirror image may be another or none"),
        (("cat", "b"), "class 'b' looks like a digit or letter: its mirror image may be another or none"),
        (("cat", "12"), "class '12' looks like a digit or letter: its mirror image may be another or none"),
        (("go", "stay", "Turn_Left"), "class 'Turn_Left' tells sides: its mirror image may be another class"),
        (
            ("7 - seven", "cat"),
            "1 of 2 classes, such as '7 - seven', are read: mirrored they read otherwise",
        ),
        (
            ("Delta", "Sigma", "other"),
            "2 of 3 classes, such as 'Delta', are read: mirrored they read otherwise",
        ),
        (
            ("class3", "class4"),
            "2 of 2 classes, such as 'class3', are read: mirrored they read otherwise",
        ),
        (
            ("stop sign", "yield sign", "speed limit (30 km/h)"),
            "3 of 3 classes, such as 'stop sign', are read: mirrored they read otherwise",
        ),
    ],
)
def test_what_is_read_or_has_sides_may_not(classes, reason):
    assert is_mirror_safe(classes) == (False, reason)
