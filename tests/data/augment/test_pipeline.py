from __future__ import annotations

import re

import numpy as np
import pytest

from striate.data import Augmentation, random
from striate.errors import DataError

torch = pytest.importorskip("torch")

from striate.data.augment import augment  # noqa: E402 - only where torch is installed

N, C, H, W = 23, 3, 7, 11
SPECS = [
    Augmentation(),
    Augmentation(flip=True),
    Augmentation(shift_px=2),
    Augmentation(cutout_px=3),
    Augmentation(shift_px=3, shift_fill="reflect"),
    Augmentation(flip=True, shift_px=16, shift_fill="reflect", cutout_px=2),
    Augmentation(flip=True, shift_px=8, cutout_px=4),
]


def batch(n=N, c=C):
    pixels = np.random.default_rng(0).integers(1, 256, (n, c, H, W)).astype(np.uint8)
    return torch.from_numpy(pixels), torch.arange(n) * 17 + 5


def bounced(i, n):
    """The pixel of n that stands at i when both borders are mirrors."""
    while not 0 <= i < n:
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


def one_by_one(images, index, epoch, seed, spec):
    """The definition, image by image and pixel by pixel."""
    result = np.zeros(images.shape, np.uint8)
    for k, (pixels, i) in enumerate(zip(images.numpy(), index.tolist(), strict=True)):
        is_mirrored = spec.flip and (random.integers(2, seed, "flip", i)[0] + epoch) % 2
        image = pixels[:, :, ::-1] if is_mirrored else pixels
        down, right = 0, 0
        if spec.shift_px:
            reach = spec.shift_px
            down, right = reach - random.integers(2 * reach + 1, seed, "shift", epoch, i, np.arange(2))
        for y in range(H):
            for x in range(W):
                if spec.shift_fill == "reflect":
                    result[k, :, y, x] = image[:, bounced(y - down, H), bounced(x - right, W)]
                elif 0 <= y - down < H and 0 <= x - right < W:
                    result[k, :, y, x] = image[:, y - down, x - right]
        if spec.cutout_px:
            cy, cx = random.integers(np.array([H, W]), seed, "cutout", epoch, i, np.arange(2))
            top, left = cy - spec.cutout_px // 2, cx - spec.cutout_px // 2
            rows, columns = (slice(max(0, a), max(0, a + spec.cutout_px)) for a in (top, left))
            result[k, :, rows, columns] = 0
    return result


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize(("epoch", "seed", "c"), [(0, 0, 3), (1, 4, 1)])
def test_augment_is_its_definition(spec, epoch, seed, c):
    images, index = batch(c=c)
    before = images.clone()
    ours = augment(images, index, epoch, seed, spec)
    np.testing.assert_array_equal(ours.numpy(), one_by_one(images, index, epoch, seed, spec))
    assert ours.dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_an_images_augmentation_does_not_depend_on_its_batch(spec):
    images, index = batch()
    together = augment(images, index, 3, 1, spec)
    order = torch.from_numpy(random.epoch_order(0, 0, N))
    assert torch.equal(augment(images[order], index[order], 3, 1, spec), together[order])
    for k in (0, 9, N - 1):
        assert torch.equal(augment(images[k : k + 1], index[k : k + 1], 3, 1, spec)[0], together[k])


def test_channels_last_input_gives_the_same_pixels():
    images, index = batch()
    strided = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment(strided, index, 3, 1, SPECS[-1]), augment(images, index, 3, 1, SPECS[-1]))


def test_flips_alternate_from_epoch_to_epoch():
    images, index = batch()
    epochs = [augment(images, index, epoch, 0, Augmentation(flip=True)) for epoch in range(3)]
    assert torch.equal(epochs[1], epochs[0].flip(-1))
    assert torch.equal(epochs[2], epochs[0])
    is_flipped = (epochs[0] != images).flatten(1).any(1)
    assert 0 < is_flipped.sum() < N


@pytest.mark.parametrize("spec", [Augmentation(shift_px=2), Augmentation(cutout_px=3)], ids=str)
def test_epochs_and_seeds_change_what_happens(spec):
    images, index = batch()
    first = augment(images, index, 0, 0, spec)
    assert not torch.equal(augment(images, index, 1, 0, spec), first)
    assert not torch.equal(augment(images, index, 0, 1, spec), first)
    assert torch.equal(augment(images, index, 0, 0, spec), first)


def test_all_shifts_occur_and_are_equally_likely():
    images = torch.zeros(9000, 1, 5, 7, dtype=torch.uint8)
    images[:, :, 2, 3] = 1
    shifted = augment(images, torch.arange(9000), 0, 0, Augmentation(shift_px=1))
    places = shifted.flatten(1).argmax(1).bincount(minlength=35).view(5, 7)
    assert int(places.sum()) == int(places[1:4, 2:5].sum())
    assert (places[1:4, 2:5] - 1000).abs().max() < 5 * (9000 * 8 / 81) ** 0.5


def test_no_augmentation_returns_the_images():
    images, index = batch()
    assert torch.equal(augment(images, index, 0, 0, Augmentation()), images)


def test_tensors_that_do_not_fit_are_refused():
    images, index = batch()
    message = (
        r"^augment: images torch\.uint8 \(23, 3, 7, 11\), index \(22,\); "
        r"expected torch\.uint8 \(N, C, H, W\) and \(N,\)$"
    )
    with pytest.raises(DataError, match=message):
        augment(images, index[1:], 0, 0, SPECS[1])
    with pytest.raises(DataError, match=r"^augment: images torch\.float32 "):
        augment(images.float(), index, 0, 0, SPECS[1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shift_fill": "wrap"}, "augmentation: shift_fill is 'wrap'; use zeros or reflect"),
        ({"shift_px": -1}, "augmentation: shift_px is -1; use 0 or more"),
        ({"hue": 0.6}, "augmentation: hue is 0.6; use 0 to 0.5"),
        ({"mixup": 2.5}, "augmentation: mixup is 2.5; use 0 to 2"),
        ({"erase_share": 1.5}, "augmentation: erase_share is 1.5; use 0 to 1"),
        ({"crop_area": 0.0}, "augmentation: crop_area is 0.0; use a share above 0, 1 for no crop"),
        ({"crop_ratio": 0.5}, "augmentation: crop_ratio is 0.5; use 1 (no change of shape) or more"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Augmentation(**values)


def test_gray_has_no_colour_to_change():
    images, index = batch(c=1)
    with pytest.raises(DataError, match=r"^augment: hue changes colours, the images are gray; set it to 0$"):
        augment(images, index, 0, 0, Augmentation(hue=0.1))
