from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from striate.data import random  # noqa: E402 - only where torch is installed
from striate.data.augment import augment  # noqa: E402
from striate.data.augmentation import Augmentation  # noqa: E402


def erased(pixels, index, epoch, seed, share):
    """The definition, image by image."""
    result = pixels.copy()
    _, channels, height, width = pixels.shape
    for k, i in enumerate(index):
        if random.uniform(seed, "erase", epoch, i)[0] >= share:
            continue
        a, r, y, x = (float(random.uniform(seed, "erase where", epoch, i, draw)[0]) for draw in range(4))
        a, r = 0.02 + 0.31 * a, math.exp(math.log(0.3) + math.log(11) * r)
        rows = min(max(1, round(math.sqrt(a * r) * height)), height)
        columns = min(max(1, round(math.sqrt(a / r) * width)), width)
        top, left = int(y * (height - rows + 1)), int(x * (width - columns + 1))
        words = (int(random.bits(seed, "erase noise", epoch, i, word)[0]) for word in range(-(-pixels[k].size // 8)))
        noise = np.frombuffer(b"".join(word.to_bytes(8, "little") for word in words), np.uint8)
        noise = noise[: pixels[k].size].reshape(channels, height, width)
        place = (slice(None), slice(top, top + rows), slice(left, left + columns))
        result[k][place] = noise[place]
    return result


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_erasing_is_its_definition(share, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (40, channels, 9, 13), np.uint8)
    index, before = torch.arange(40) * 3 + 1, pixels.copy()
    ours = augment(torch.from_numpy(pixels), index, 4, 6, Augmentation(erase_share=share)).numpy()
    np.testing.assert_array_equal(ours, erased(pixels, index.tolist(), 4, 6, share))
    np.testing.assert_array_equal(pixels, before)
    touched = (ours != pixels).any(axis=(1, 2, 3)).mean()
    assert touched == 1.0 if share == 1.0 else 0.2 < touched < 0.8


def test_the_area_stays_within_its_bounds():
    pixels = np.zeros((300, 1, 60, 80), np.uint8)
    ours = augment(torch.from_numpy(pixels), torch.arange(300), 0, 0, Augmentation(erase_share=1.0)).numpy()
    rows, columns = ours.any(axis=(1, 3)).sum(axis=1), ours.any(axis=(1, 2)).sum(axis=1)
    areas = rows * columns / 4800
    assert 0.01 < areas.min() < 0.05
    assert 0.3 < areas.max() < 0.34
