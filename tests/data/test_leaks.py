from __future__ import annotations

import shutil

import numpy as np

from striate.data import load
from striate.data.dataset import Part
from striate.data.leaks import leaks


def part_of(*levels):
    images = np.stack([np.full((1, 2, 3), level, np.uint8) for level in levels])
    return Part(images, np.zeros(len(levels), np.int64), np.array([f"{k}.png" for k in range(len(levels))]))


def test_each_pair_of_parts_is_counted_by_its_later_images():
    parts = {"train": part_of(1, 2, 3, 3), "validation": part_of(4, 3), "test": part_of(3, 3, 4, 9, 1)}
    assert leaks(parts) == {("train", "validation"): 1, ("train", "test"): 3, ("validation", "test"): 3}
    assert leaks({"train": part_of(5, 5), "test": part_of(6)}) == {}


def test_loading_tells_of_copies_and_keeps_them(folder, tmp_path):
    for part in ("train", "test"):
        shutil.copytree(folder, tmp_path / part)
    for path in (tmp_path / "test").glob("*/[1-4].png"):
        path.unlink()  # the two left are both in the training part, which keeps one of each class for validation
    dataset, choices = load(tmp_path, validation_share=0.2)
    told = {str(choice) for choice in choices if choice.name == "leaks"}
    train = {image.tobytes() for image in dataset.train.images}
    inside = sum(image.tobytes() in train for image in dataset.test.images)
    assert len(dataset.test) == 2
    reason = "{} of the test images have the pixels of a {} image; `striate audit` names them"
    counts = {"train": inside, "validation": 2 - inside}
    assert told == {f"leaks = kept ({reason.format(n, part)})" for part, n in counts.items() if n}
