"""Large JPEGs are decoded at a part of their size: where, by how much, and how near to the whole image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from striate.data import Preprocessing, decode
from striate.data.decode import EXIF_ORIENTATION

H, W = 11, 7


def preprocessing(fit, channels=3):
    return Preprocessing(channels, H, W, fit, (0.0,) * channels, (1.0,) * channels)


def photo(height, width, kind="JPEG", orientation=1):
    """A smooth scene without any symmetry, with some noise, as a file."""
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    waves = [128 + 90 * np.sin(9 * x + 4 * y * y + c) + 25 * np.cos(17 * y + c * x) for c in range(3)]
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3))
    pixels = (np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=92, exif=exif)
    return file.getvalue()


@pytest.fixture
def drafts(monkeypatch):
    """The sizes (width, height) at which the decoder was asked to decode."""
    asked = []
    real = JpegImageFile.draft
    monkeypatch.setattr(JpegImageFile, "draft", lambda self, mode, size: asked.append(size) or real(self, mode, size))
    return asked


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_pixel_keeps_its_place(drafts, monkeypatch, fit, orientation):
    file = photo(160, 272, orientation=orientation)
    part = decode(file, preprocessing(fit)).astype(int)
    assert len(drafts) == 1
    monkeypatch.setattr(JpegImageFile, "draft", lambda self, mode, size: None)
    whole = decode(file, preprocessing(fit)).astype(int)
    assert part.shape == whole.shape == (3, H, W)
    assert np.abs(part - whole).max() <= 4
    assert np.abs(part - whole).mean() < 0.6
    moved = np.abs(part[:, :, 1:] - whole[:, :, :-1]).mean(), np.abs(part[:, 1:] - whole[:, :-1]).mean()
    assert min(moved) > 3  # a shift of one pixel would be seen


@pytest.mark.parametrize(
    ("height", "width", "fit", "size"),
    [
        (264, 168, "crop", (21, 33)),  # 24 times as large: an eighth leaves three times
        (264 - 8, 168 - 8, "crop", (40, 64)),
        (132, 84, "crop", (21, 33)),
        (66, 42, "crop", (21, 33)),
        (66, 42 * 9, "crop", (42 * 9 // 2, 33)),  # the shorter side decides
        (66 * 9, 42, "pad", (21, 297)),  # a quarter does not divide 42
        (66, 42 * 4, "stretch", (84, 33)),
    ],
)
def test_the_smallest_part_that_leaves_three_times_the_size(drafts, height, width, fit, size):
    decode(photo(height, width), preprocessing(fit))
    assert drafts == [size]


@pytest.mark.parametrize(
    ("height", "width", "kind"),
    [(264, 167, "JPEG"), (265, 168, "JPEG"), (64, 42, "JPEG"), (66, 40, "JPEG"), (264, 168, "PNG"), (5, 3, "JPEG")],
)
def test_whole_where_sides_do_not_divide_or_little_is_left_or_it_is_no_jpeg(drafts, height, width, kind):
    decode(photo(height, width, kind), preprocessing("crop"))
    assert drafts == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_part_is_chosen_for_the_image_as_it_stands_upright(drafts, orientation):
    is_turned = orientation >= 5
    decode(photo(*((168, 264) if is_turned else (264, 168)), orientation=orientation), preprocessing("crop"))
    assert drafts == [(33, 21) if is_turned else (21, 33)]


def test_gray_comes_from_the_same_part(drafts):
    file = photo(264, 168)
    gray = decode(file, preprocessing("crop", channels=1))[0].astype(float)
    colour = decode(file, preprocessing("crop")).astype(float)
    assert drafts == [(21, 33)] * 2
    luma = (colour * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(axis=0)
    assert np.abs(gray - luma).max() <= 1.5
