from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from striate.data.audit.hashing import (
    MAX_HASH_DISTANCE,
    MIN_CORRELATION,
    correlation,
    near_pairs,
    perceptual_hash,
    thumbnail,
)


def scene(number, size=(120, 90)):
    """A smooth picture, as photographs are: few random pixels, enlarged."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def recompressed(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


COPIES = {
    "half size": lambda image: image.resize((60, 45), Image.Resampling.BILINEAR),
    "other shape": lambda image: image.resize((90, 90), Image.Resampling.BILINEAR),
    "JPEG 30": recompressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "2 % cut off": lambda image: image.crop((1, 1, 119, 89)),
}


def alike(first, second):
    distance = (perceptual_hash(first) ^ perceptual_hash(second)).bit_count()
    likeness = correlation(thumbnail(first)[None], thumbnail(second)[None])[0]
    return distance <= MAX_HASH_DISTANCE and likeness >= MIN_CORRELATION


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_alike(name):
    found = [alike(scene(i), COPIES[name](scene(i)).convert("RGB")) for i in range(40)]
    assert np.mean(found) >= 0.95


def test_different_pictures_are_not():
    scenes = [scene(i) for i in range(40)]
    assert not any(alike(a, b) for i, a in enumerate(scenes) for b in scenes[:i])


def test_the_print_is_the_sign_of_the_dct_by_its_definition():
    image = scene(3)
    gray = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=3.0), float)
    wave = [[np.cos(np.pi * (2 * x + 1) * u / 64) for x in range(32)] for u in range(8)]
    coefficients = [sum(wave[v][y] * wave[u][x] * gray[y, x] for y in range(32) for x in range(32))
                    for v in range(8) for u in range(8)][1:]  # fmt: skip
    bits = "".join("1" if value > np.median(coefficients) else "0" for value in coefficients)
    assert perceptual_hash(image) == int(bits, 2)


def test_correlation_is_pearsons_and_zero_for_flat_pictures():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 5, 12, 12, 3)).astype(np.uint8)
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(correlation(first, second), expected, rtol=1e-9)
    flat = np.full((1, 12, 12, 3), 9, np.uint8)
    assert correlation(flat, first[:1]).tolist() == [0]


@given(st.integers(0, 2**16), st.integers(0, 200), st.integers(0, 20))
def test_near_pairs_are_all_pairs_within_the_distance(seed, n, distance):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, 7, np.uint64)
    flips = np.left_shift(np.uint64(1), rng.integers(0, 63, (n, 6)).astype(np.uint64))
    hashes = base[rng.integers(0, 7, n)] ^ np.bitwise_xor.reduce(flips, axis=1)
    listed = hashes.tolist()
    expected = {(i, j) for j in range(n) for i in range(j) if (listed[i] ^ listed[j]).bit_count() <= distance}
    found = [tuple(pair) for block in near_pairs(hashes, distance) for pair in block.tolist()]
    assert len(found) == len(expected)
    assert set(found) == expected
