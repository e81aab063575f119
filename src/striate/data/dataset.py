"""Images in memory: what training and evaluation work on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate.data.preprocess import Preprocessing
from striate.errors import DataError


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that was asked for and could not be read: its name, class, and the reason in one line."""

    name: str
    class_name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images with their labels and names, and what could not be read and is not among them.

    An image that cannot be read is never replaced by another: ``len(part) + len(part.skipped)`` were asked for.
    Shapes: images (N, C, H, W) uint8, contiguous; labels (N,) int64, indices into the classes;
    names (N,) str, where each image came from.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training, validation and, where there is one, test part under one preprocessing and list of classes.

    fingerprint is the SHA-256 of classes, images and labels; it names the data of a run.
    """

    classes: tuple[str, ...]
    train: Part
    validation: Part
    test: Part | None
    preprocessing: Preprocessing
    source: str
    fingerprint: str

    @property
    def parts(self) -> dict[str, Part]:
        """The parts there are, by name, in order."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read, over all parts."""
        return tuple(image for part in self.parts.values() for image in part.skipped)


def check(dataset: Dataset) -> None:
    """Raises: DataError if shapes, types or labels contradict each other, or a part misses a class."""
    check_classes(dataset.classes)
    for name, part in dataset.parts.items():
        check_part(part, dataset.classes, dataset.preprocessing, name)
        check_every_class(part.labels, dataset.classes, name, dataset.source)


def check_every_class(labels: NDArray[np.int64], classes: tuple[str, ...], name: str, source: str) -> None:
    """Raises: DataError if a class has no image in the part ``name``."""
    counts = np.bincount(labels, minlength=len(classes))
    missing = [class_name for class_name, count in zip(classes, counts, strict=True) if count == 0]
    if missing:
        raise DataError(
            f"{source}: no image of class {missing[0]!r} in the {name} part; add some or drop it everywhere"
        )


def check_classes(classes: tuple[str, ...]) -> None:
    """Raises: DataError unless there are two classes or more, of distinct names that are not empty."""
    if len(classes) < 2:
        raise DataError(f"found {len(classes)} class(es) {classes}; a classifier needs at least 2")
    if len(set(classes)) != len(classes) or "" in classes:
        raise DataError(f"class names {classes} repeat or are empty; give each class its own name")


def check_part(part: Part, classes: tuple[str, ...], preprocessing: Preprocessing, name: str) -> None:
    """Raises: DataError if the part's arrays do not fit each other, the classes or the preprocessing."""
    n = len(part.labels)
    if n == 0:
        raise DataError(f"the {name} part has no images; add some or leave the part out")
    expected = (n, *preprocessing.shape)
    if part.images.dtype != np.uint8 or part.images.shape != expected or not part.images.flags.c_contiguous:
        raise DataError(
            f"the {name} part's images are {part.images.dtype} {part.images.shape}; "
            f"expected contiguous uint8 {expected}"
        )
    if part.labels.dtype != np.int64 or part.labels.shape != (n,) or part.names.shape != (n,):
        raise DataError(
            f"the {name} part has labels {part.labels.dtype} {part.labels.shape} "
            f"and names {part.names.shape}; expected int64 ({n},) and ({n},)"
        )
    low, high = int(part.labels.min()), int(part.labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(f"the {name} part has labels {low} to {high}; allowed are 0 to {len(classes) - 1}")


def fingerprint(classes: tuple[str, ...], parts: dict[str, Part]) -> str:
    """SHA-256, in hexadecimal, over class names, part names, shapes, images and labels, not file names."""
    digest = hashlib.sha256(repr(classes).encode())
    for name, part in parts.items():
        digest.update(f"{name} {part.images.shape}".encode())
        digest.update(np.ascontiguousarray(part.images).data)
        digest.update(part.labels.astype("<i8").data)
    return digest.hexdigest()
