from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from striate.data import random  # noqa: E402 - only where torch is installed
from striate.data.augment import augment, colour, tone  # noqa: E402
from striate.data.augment.place import warp  # noqa: E402
from striate.data.augment.randaugment import COLOUR_ONLY, OPERATIONS, affine, rotate  # noqa: E402
from striate.data.augmentation import Augmentation  # noqa: E402

M = 12 / 30
PLUS = {  # what each operation is at level 12 with a positive sign, one image
    "identity": lambda x: x,
    "rotate": lambda x: rotate(x, np.radians([12.0])),
    "shear_x": lambda x: warp(x, affine(xy=np.array([0.3 * M]))),
    "shear_y": lambda x: warp(x, affine(yx=np.array([0.3 * M]))),
    "translate_x": lambda x: warp(x, affine(x=np.array([2.0]))),  # 150 / 331 of 11 px, 0.4 of that
    "translate_y": lambda x: warp(x, affine(y=np.array([1.0]))),  # of 7 px
    "brightness": lambda x: colour.brightness(x, np.array([1.36])),
    "contrast": lambda x: colour.contrast(x, np.array([1.36])),
    "saturation": lambda x: colour.saturation(x, np.array([1.36])),
    "sharpness": lambda x: colour.sharpness(x, np.array([1.36])),
    "posterize": lambda x: tone.posterize(x, 6),
    "solarize": lambda x: tone.solarize(x, 154),
    "autocontrast": tone.autocontrast,
    "equalize": tone.equalize,
}


def test_every_operation_has_its_magnitude(colour):
    image = torch.from_numpy(colour[:1])
    assert PLUS.keys() == OPERATIONS.keys()
    for name, expected in PLUS.items():
        assert torch.equal(OPERATIONS[name](image, np.array([M])), expected(image)), name


def test_level_0_leaves_all_but_the_spreading_ones_as_they_are(colour):
    images = torch.from_numpy(colour)
    changed = {n for n, o in OPERATIONS.items() if not torch.equal(o(images, np.zeros(len(colour))), images)}
    assert changed == {"autocontrast"}  # equalize needs 256 pixels to do something


@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_drawn_by_image_and_turn(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (17, channels, 7, 11), np.uint8)
    index = torch.arange(17) * 7 + 3
    names = [name for name in OPERATIONS if channels == 3 or name not in COLOUR_ONLY]
    ours = augment(torch.from_numpy(pixels), index, 2, 5, Augmentation(randaugment_ops=3, randaugment_level=12))
    for k, i in enumerate(index.tolist()):
        image = torch.from_numpy(pixels[k : k + 1])
        for turn in range(3):
            name = names[random.integers(len(names), 5, "randaugment", 2, i, turn)[0]]
            sign = -1.0 if random.integers(2, 5, "randaugment sign", 2, i, turn)[0] else 1.0
            image = OPERATIONS[name](image, np.array([sign * M]))
        assert torch.equal(ours[k], image[0])


def test_all_operations_occur_equally_often():
    drawn = random.integers(14, 0, "randaugment", 0, np.arange(14_000), 0)
    assert np.abs(np.bincount(drawn, minlength=14) - 1000).max() < 5 * 1000**0.5
