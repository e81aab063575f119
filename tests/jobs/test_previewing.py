from __future__ import annotations

import numpy as np
import pytest

from striate.errors import UsageError

torch = pytest.importorskip("torch")

from striate.data.augment import augment  # noqa: E402 - only where torch is installed
from striate.data.augmentation import Augmentation  # noqa: E402
from striate.jobs.previewing import preview  # noqa: E402
from striate.jobs.training import prepare  # noqa: E402
from striate.train.recipe import Recipe  # noqa: E402


def test_it_shows_the_pixels_that_training_takes(tmp_path):
    recipe = Recipe(data="sample", net="F-10", seed=3, flip=True, shift_px=2, cutout_px=5)
    seen, resolved, choices = preview(recipe, 4, 3)
    assert (len(seen), resolved.shift_px) == (4, 2)
    assert {choice.name for choice in choices} >= {"mean", "std"}
    part = prepare(recipe).dataset.train
    for one in seen:
        row = int(np.flatnonzero(part.names == one.preview.image.name)[0])
        image, index = torch.from_numpy(part.images[row : row + 1].copy()), torch.tensor([row])
        np.testing.assert_array_equal(one.preview.seen["crop"], part.images[row])
        for epoch, (pixels, said) in enumerate(one.epochs):
            expected = augment(image, index, epoch, 3, Augmentation(flip=True, shift_px=2, cutout_px=5))
            np.testing.assert_array_equal(pixels, expected[0].numpy())
            assert said == (one.preview.image.class_name,)


def test_a_mixed_image_names_both_classes():
    recipe = Recipe(data="sample", net="F-10", flip=False, shift_px=0, mixup=2.0)
    seen, _, _ = preview(recipe, 12, 1)
    said = [one.epochs[0][1] for one in seen]
    assert max(map(len, said)) == 2
    for one, words in zip(seen, said, strict=True):
        shares = [int(word.split(" % ")[0]) for word in words]
        assert 99 <= sum(shares) <= 101
        assert words[0].endswith(one.preview.image.class_name)


def test_no_images_are_no_preview():
    message = "^preview: 0 images in 2 epochs; use 1 image or more and 0 epochs or more$"
    with pytest.raises(UsageError, match=message):
        preview(Recipe(data="sample"), 0, 2)
