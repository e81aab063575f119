from __future__ import annotations

import numpy as np
from PIL import Image

from striate.data.dataset import Part
from striate.report.contact_sheet import GAP_PX, MARGIN_PX, SIDE_PX
from striate.report.mistakes import draw_mistakes
from striate.train.evaluation.mistakes import Confusion, Mistake


def test_each_mistake_is_drawn_under_its_confusion_and_among_the_worst(tmp_path):
    images = np.zeros((3, 1, 11, 9), np.uint8)
    images[0], images[2] = 90, 201
    part = Part(images, np.array([0, 1, 1]), np.array(["a.png", "b.png", "c.png"]))
    found = (Mistake(2, 1, 0, 0.99), Mistake(0, 0, 1, 0.7))
    pairs = (Confusion(0, 1, 1), Confusion(1, 0, 1))
    draw_mistakes(part, ("cat", "dog"), found, pairs, "2 of 3 wrong", tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as page:
        seen = np.asarray(page.convert("L"))
    first, second = (_pictures(seen[:, MARGIN_PX + k * (SIDE_PX + GAP_PX) + SIDE_PX // 2]) for k in (0, 1))
    assert first == [90, 201, 201]  # cat as dog, dog as cat, then the surest of all
    assert second == [90]


def _pictures(line):
    """Levels of the two images along a line downwards, each run of 100 px or more once."""
    starts = np.flatnonzero(np.diff(line.astype(int), prepend=-1))
    lengths = np.diff(starts, append=len(line))
    return [int(line[s]) for s, n in zip(starts, lengths, strict=True) if n >= 100 and line[s] in (90, 201)]


def test_without_mistakes_the_sheet_is_a_title(tmp_path):
    part = Part(np.zeros((2, 1, 9, 11), np.uint8), np.array([0, 1]), np.array(["a", "b"]))
    draw_mistakes(part, ("cat", "dog"), (), (), "0 of 2 wrong", tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as page:
        assert page.height < SIDE_PX
