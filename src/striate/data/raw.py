"""What a source holds before any decision: encoded images or arrays, with a class name for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.dataset import Part, Skipped
from striate.data.decode import decode_each, header
from striate.data.encoded import Encoded, Store
from striate.data.names import encode
from striate.data.pixels import Decoded, key_of, on_disk
from striate.data.preprocess import Preprocessing
from striate.data.resize import fit_images
from striate.errors import DataError

WHOLE = "whole"  # the part of a source that does not say what is for training and what for testing
PARTS = ("train", "validation", "test")  # in this order everywhere
ON_BAD = ("fail", "skip")


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Images not yet decoded, or in memory at their own size.

    pixels is a store of encoded images or an array (N, 1 or 3, H, W) uint8. groups names, where known, what
    must not be torn apart by a split: the same object, person or video.
    Shapes: class_names (N,), names (N,), groups (N,).
    """

    pixels: Store | NDArray[np.uint8]
    class_names: NDArray[np.str_]
    names: NDArray[np.str_]
    groups: NDArray[np.str_] | None = None

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
    """The images at ``indices``, which ascend."""
    pixels = raw.pixels[indices] if isinstance(raw.pixels, np.ndarray) else raw.pixels.take(indices)
    groups = None if raw.groups is None else raw.groups[indices]
    return Raw(pixels, raw.class_names[indices], raw.names[indices], groups)


def encoded(raw: Raw) -> Iterator[Encoded]:
    """The images of a store, in order; a file goes by its whole path. An array has none."""
    if isinstance(raw.pixels, np.ndarray):
        return
    for name, content in zip(raw.names, raw.pixels.read(), strict=True):
        yield Encoded(str(content if isinstance(content, Path) else name), content)


def read(
    raw: Raw,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    where: str,
    on_bad: str = "fail",
    disk: Path | None = None,
) -> Part:
    """Decode, resize and label every image, in memory or into a file whose path begins with `disk`.

    on_bad: "fail" raises at the first bad image; "skip" leaves it out of the part and lists it there.
    Raises: DataError of the first bad image, or of an unknown class.
    """
    labels = encode(raw.class_names, classes, where)
    if isinstance(raw.pixels, np.ndarray):
        return Part(fit_images(raw.pixels, preprocessing), labels, raw.names)
    found = _in_memory(raw, preprocessing, on_bad) if disk is None else _on_disk(raw, preprocessing, on_bad, disk)
    is_kept = np.ones(len(raw), bool)
    is_kept[list(found.faults)] = False
    skipped = (Skipped(str(raw.names[i]), str(raw.class_names[i]), fault) for i, fault in found.faults.items())
    return Part(found.images, labels[is_kept], raw.names[is_kept], tuple(skipped))


def _in_memory(raw: Raw, preprocessing: Preprocessing, on_bad: str) -> Decoded:
    images = np.empty((len(raw), *preprocessing.shape), np.uint8)  # allocated once: no list of arrays
    faults: dict[int, str] = {}
    for kept, image in enumerate(_decoded(raw, preprocessing, on_bad, faults)):
        images[kept] = image
    return Decoded(images[: len(raw) - len(faults)], faults)


def _on_disk(raw: Raw, preprocessing: Preprocessing, on_bad: str, disk: Path) -> Decoded:
    assert not isinstance(raw.pixels, np.ndarray)  # noqa: S101
    path = disk.with_name(f"{disk.name}-{key_of(raw.pixels.places(), preprocessing)}.pixels")
    found = on_disk(path, len(raw), preprocessing.shape, lambda faults: _decoded(raw, preprocessing, on_bad, faults))
    if found.faults and on_bad == "fail":  # an earlier run had left them out
        raise DataError(next(iter(found.faults.values())))
    return found


def _decoded(
    raw: Raw, preprocessing: Preprocessing, on_bad: str, faults: dict[int, str]
) -> Iterator[NDArray[np.uint8]]:
    """The images that can be decoded, in order; what is wrong with the others is raised, or goes into `faults`."""
    for i, image in enumerate(decode_each(encoded(raw), preprocessing)):
        if not isinstance(image, DataError):
            yield image
        elif on_bad == "fail":
            raise image
        else:
            faults[i] = str(image)


def measure(raw: Raw, on_bad: str = "fail") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sizes (N, 2) as height, width, and whether each image is gray (N,); no pixel is decoded for it.

    With on_bad "skip", images whose header cannot be read are not counted.
    """
    if isinstance(raw.pixels, np.ndarray):
        n, channels, height, width = raw.pixels.shape
        return np.tile(np.array([height, width], np.int64), (n, 1)), np.full(n, channels == 1)
    headers = []
    for image in encoded(raw):
        try:
            headers.append(header(image))
        except DataError:
            if on_bad == "fail":
                raise
    sizes = np.array([(height, width) for height, width, _ in headers], np.int64).reshape(-1, 2)
    return sizes, np.array([is_gray for _, _, is_gray in headers], bool)
