"""Small images in every container the data room reads."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

W, H = 11, 7


def noise(number, size=(W, H), mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(number, **options):
    file = io.BytesIO()
    noise(number, **options).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(name="noise")
def noise_fixture():
    """number -> an image of 7x11 random pixels, always the same for a number."""
    return noise


@pytest.fixture(name="png")
def png_fixture():
    """number -> that image's PNG file."""
    return png


@pytest.fixture
def folder(tmp_path):
    """Class folders cat and dog of five images each, and their root."""
    root = tmp_path / "photos"
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(5):
            (root / name / f"{i}.png").write_bytes(png(10 * label + i))
    return root
