from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from striate.data import Dataset, Part, Preprocessing, check
from striate.data.dataset import fingerprint
from striate.errors import DataError

SHAPE = (1, 7, 11)


def part(labels=(0, 1, 0)):
    n = len(labels)
    return Part(np.zeros((n, *SHAPE), np.uint8), np.array(labels, np.int64), np.array(["x"] * n, np.str_))


def dataset(**changes):
    parts = {"train": part(), "validation": part(), "test": part()}
    fixed = Dataset(("cat", "dog"), **parts, preprocessing=Preprocessing(*SHAPE, "crop", (0.5,), (0.2,)),
                    source="zoo", fingerprint=fingerprint(("cat", "dog"), parts))  # fmt: skip
    return replace(fixed, **changes)


def test_a_sound_data_set_passes_with_and_without_test_part():
    check(dataset())
    without = dataset(test=None)
    check(without)
    assert list(without.parts) == ["train", "validation"]
    assert len(without.train) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("cat",)}, r"^found 1 class\(es\) \('cat',\); a classifier needs at least 2$"),
        ({"classes": ("cat", "cat")}, r"^class names \('cat', 'cat'\) repeat or are empty; give each class its"),
        ({"train": part([0, 0])}, r"^zoo: no image of class 'dog' in the train part; add some or drop it every"),
        ({"test": part([])}, r"^the test part has no images; add some or leave the part out$"),
        ({"test": part([0, 2])}, r"^the test part has labels 0 to 2; allowed are 0 to 1$"),
        ({"test": part([-1, 1])}, r"^the test part has labels -1 to 1; allowed are 0 to 1$"),
        (
            {"train": replace(part(), images=np.zeros((3, 1, 11, 7), np.uint8))},
            r"^the train part's images are uint8 \(3, 1, 11, 7\); expected contiguous uint8 \(3, 1, 7, 11\)$",
        ),
        (
            {"train": replace(part(), images=np.zeros((3, *SHAPE), np.float32))},
            r"^the train part's images are float32 \(3, 1, 7, 11\); expected contiguous uint8 \(3, 1, 7, 11\)$",
        ),
        (
            {"train": replace(part(), names=np.array(["x"]))},
            r"^the train part has labels int64 \(3,\) and names \(1,\); expected int64 \(3,\) and \(3,\)$",
        ),
        (
            {"train": replace(part(), labels=np.array([0, 1, 0], np.int32))},
            r"^the train part has labels int32 \(3,\) and names \(3,\); expected int64 \(3,\) and \(3,\)$",
        ),
    ],
)
def test_contradictions_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        check(dataset(**changes))


def test_the_fingerprint_sees_every_change_of_content_and_no_file_name():
    base = {"train": part(), "validation": part()}
    brighter = replace(part(), images=part().images + np.uint8(1))
    renamed = replace(part(), names=np.array(["y"] * 3))
    classes = ("cat", "dog")
    prints = [
        fingerprint(classes, base),
        fingerprint(("dog", "cat"), base),
        fingerprint(classes, base | {"test": part()}),
        fingerprint(classes, base | {"train": part([0, 1, 1])}),
        fingerprint(classes, base | {"train": brighter}),
        fingerprint(classes, {"train": part(), "test": part()}),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(classes, base | {"train": renamed}) == prints[0]
    assert len(prints[0]) == 64
