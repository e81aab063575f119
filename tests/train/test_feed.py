from __future__ import annotations

from dataclasses import fields

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given

from striate.data.augment import mix
from striate.data.augmentation import Augmentation
from striate.data.dataset import Part
from striate.data.preprocess import normalise
from striate.data.random import epoch_order
from striate.errors import RecipeError
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, batch_bounds, steps_per_epoch
from striate.train.recipe import Recipe


@given(st.integers(2, 5000), st.integers(2, 300))
@example(3, 2)
@example(129, 128)
def test_an_epoch_shows_each_image_once_and_never_one_alone(images, batch_images):
    steps = steps_per_epoch(images, batch_images)
    sizes = [len(range(images)[batch_bounds(step, steps, images)]) for step in range(steps)]
    shown = [i for step in range(steps) for i in range(images)[batch_bounds(step, steps, images)]]
    assert shown == list(range(images))
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_images, 3)


def feed_of(dataset, **augmentation):
    pixels = Pixels.of(dataset.train)
    normaliser = Normaliser.of(dataset.preprocessing, channels_last=True)
    return Feed(pixels, normaliser, Augmentation(**augmentation), 5, steps_per_epoch(len(dataset.train), 8))


def test_a_batch_does_not_depend_on_what_was_asked_before(dataset):
    spec = {"flip": True, "shift_px": 2, "cutout_px": 3, "hue": 0.2, "mixup": 0.5, "cutmix": 1.0}
    used = feed_of(dataset, **spec)
    for epoch, step in [(0, 0), (1, 3), (0, 5)]:
        used.batch(epoch, step)
    images, labels = used.batch(1, 2)
    fresh_images, fresh_labels = feed_of(dataset, **spec).batch(1, 2)
    assert torch.equal(images, fresh_images)
    assert torch.equal(labels, fresh_labels)


def test_without_augmentation_an_epoch_is_the_part_in_another_order(dataset):
    feed = feed_of(dataset)
    batches = [feed.batch(3, step) for step in range(feed.steps)]
    images = torch.cat([images for images, _ in batches]).numpy()
    expected = normalise(dataset.train.images, dataset.preprocessing)
    order = [int(np.flatnonzero((expected == image).all(axis=(1, 2, 3)))[0]) for image in images]
    assert sorted(order) == list(range(61))
    assert order != sorted(order)
    assert torch.cat([labels for _, labels in batches]).tolist() == dataset.train.labels[order].tolist()


def test_a_mixed_batch_is_two_augmented_images_and_two_shares(dataset):
    plain, mixing = feed_of(dataset, shift_px=2), feed_of(dataset, shift_px=2, mixup=1.0)
    epoch = [plain.batch(1, step) for step in range(plain.steps)]
    images, labels = (torch.cat(tensors) for tensors in zip(*epoch, strict=True))
    place_of = {int(row): place for place, row in enumerate(epoch_order(5, 1, 61))}
    rows = epoch_order(5, 1, 61)[batch_bounds(2, mixing.steps, 61)]
    mixed, targets = mixing.batch(1, 2)
    drawn = mix(torch.from_numpy(rows), 1, 5, Augmentation(mixup=1.0), 61, (9, 11))
    assert targets.shape == (len(rows), 3)
    for k, (row, partner) in enumerate(zip(rows.tolist(), drawn.partner.tolist(), strict=True)):
        own, other, share = place_of[row], place_of[partner], float(drawn.share[k])
        torch.testing.assert_close(mixed[k], (1 - share) * images[own] + share * images[other])
        expected = np.zeros(3)
        expected[labels[own]] += 1 - share
        expected[labels[other]] += share
        np.testing.assert_allclose(targets[k].numpy(), expected, atol=1e-6)


def test_the_recipe_holds_every_augmentation_under_its_own_name():
    names = {field.name: getattr(Recipe(), field.name) for field in fields(Augmentation)}
    assert augmentation_of(Recipe(flip=True, shift_px=3, mixup=0.5), 3).mixup == 0.5
    assert {name: value for name, value in names.items() if value != "auto"} == {
        field.name: field.default for field in fields(Augmentation) if field.name not in {"flip", "shift_px"}
    }


def test_gray_images_have_no_colour_to_change():
    message = r"^recipe: saturation = 0\.4, and the images are gray; set it to 0$"
    with pytest.raises(RecipeError, match=message):
        augmentation_of(Recipe(flip=False, shift_px=0, saturation=0.4), 1)


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalising_has_the_bits_of_the_reference(dataset, channels_last):
    normaliser = Normaliser.of(dataset.preprocessing, channels_last)
    got = normaliser(torch.from_numpy(dataset.test.images.copy()))
    np.testing.assert_array_equal(got.numpy(), normalise(dataset.test.images, dataset.preprocessing))
    assert got.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_read_only_arrays_are_taken(dataset):
    part = dataset.train
    images = part.images.copy()
    images.flags.writeable = False
    pixels = Pixels.of(type(part)(images, part.labels, part.names))
    assert torch.equal(pixels.images, torch.from_numpy(part.images.copy()))


def test_balanced_sampling_varies_what_it_repeats(dataset):
    """Of one image, the second draw of an epoch is augmented otherwise than the first."""
    part = dataset.train
    few = Part(part.images[:8], np.array([0, 1, 0, 0, 0, 0, 0, 0]), part.names[:8])
    normaliser = Normaliser.of(dataset.preprocessing, channels_last=True)
    feed = Feed(Pixels.of(few), normaliser, Augmentation(shift_px=3), 5, 1, is_balanced=True)
    images, labels = feed.batch(0, 0)
    assert labels.tolist().count(1) == 4
    ones = images[labels == 1]
    assert len({image.numpy().tobytes() for image in ones}) > 1
    again, _ = Feed(Pixels.of(few), normaliser, Augmentation(shift_px=3), 5, 1, is_balanced=True).batch(0, 0)
    assert torch.equal(images, again)


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_an_epoch_has_its_own_image_size(dataset, mixup):
    whole, small = feed_of(dataset, mixup=mixup), feed_of(dataset, mixup=mixup)
    small.size_of = lambda epoch: (9, 11) if epoch else (5, 7)
    images, _ = whole.batch(0, 2)
    expected = torch.nn.functional.interpolate(images, (5, 7), mode="bilinear", antialias=True)
    torch.testing.assert_close(small.batch(0, 2)[0], expected)
    assert torch.equal(small.batch(1, 2)[0], whole.batch(1, 2)[0])


def test_the_plain_images_are_the_same_at_every_time_and_not_augmented(dataset):
    feed = feed_of(dataset, shift_px=3, flip=True)
    taken = [torch.cat([images for images, _ in feed.plain(17, 6)]) for _ in range(2)]
    assert torch.equal(*taken)
    known = {image.tobytes() for image in normalise(dataset.train.images, dataset.preprocessing)}
    assert len({image.numpy().tobytes() for image in taken[0].contiguous()} & known) == 17
