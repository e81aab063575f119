"""What a source holds before any decision: files or arrays, with a class name for each image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.dataset import Part
from striate.data.decode import decode_all, header
from striate.data.names import encode
from striate.data.preprocess import Preprocessing
from striate.data.resize import fit_images

WHOLE = "whole"  # the part of a source that does not say what is for training and what for testing


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Images not yet read, or in memory at their own size.

    pixels is a folder, under which ``names`` are the files, or an array (N, 1 or 3, H, W) uint8.
    Shapes: class_names (N,), names (N,).
    """

    pixels: Path | NDArray[np.uint8]
    class_names: NDArray[np.str_]
    names: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A source's parts by name: ``whole``, or some of ``train``, ``validation``, ``test``.

    classes is the order of the class names where the source states one; ignored counts what was left out.
    """

    source: str
    parts: dict[str, Raw]
    classes: tuple[str, ...] | None = None
    ignored: int = 0


def take(raw: Raw, indices: NDArray[np.int64]) -> Raw:
    """The images at ``indices``, in that order."""
    pixels = raw.pixels if isinstance(raw.pixels, Path) else raw.pixels[indices]
    return Raw(pixels, raw.class_names[indices], raw.names[indices])


def read(raw: Raw, classes: tuple[str, ...], preprocessing: Preprocessing, where: str) -> Part:
    """Decode, resize and label every image. Raises: DataError of the first bad file or unknown class."""
    labels = encode(raw.class_names, classes, where)
    if not isinstance(raw.pixels, Path):
        return Part(fit_images(raw.pixels, preprocessing), labels, raw.names)
    images = np.empty((len(raw), *preprocessing.shape), np.uint8)  # allocated once: no list of arrays
    for i, image in enumerate(decode_all(_paths(raw.pixels, raw.names), preprocessing)):
        images[i] = image
    return Part(images, labels, raw.names)


def measure(raw: Raw) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sizes (N, 2) as height, width, and whether each image is gray (N,); files are not decoded for it."""
    if not isinstance(raw.pixels, Path):
        n, channels, height, width = raw.pixels.shape
        return np.tile(np.array([height, width], np.int64), (n, 1)), np.full(n, channels == 1)
    headers = [header(path) for path in _paths(raw.pixels, raw.names)]
    sizes = np.array([(height, width) for height, width, _ in headers], np.int64).reshape(-1, 2)
    return sizes, np.array([is_gray for _, _, is_gray in headers], bool)


def _paths(folder: Path, names: NDArray[np.str_]) -> list[Path]:
    return [folder / str(name) for name in names]
