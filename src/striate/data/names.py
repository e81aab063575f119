"""Class names: their order, their labels, and the folders they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from striate.errors import DataError


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key under which "9" stands before "10" and "b" between "A" and "C"."""
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def natural_sorted(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names in natural order."""
    return tuple(sorted(set(names), key=natural_key))


def folder_name(class_name: str) -> str:
    """The class's name as a folder: "/" cannot stand in one and becomes "-"."""
    return class_name.replace("/", "-")


def encode(class_names: NDArray[np.str_], classes: tuple[str, ...], where: str) -> NDArray[np.int64]:
    """Labels (N,): the index in ``classes`` of each name, or of the name whose folder it is.

    Matching is by name, never by order. Raises: DataError at a name that is not among the classes.
    """
    index = {folder_name(name): i for i, name in enumerate(classes)} | {name: i for i, name in enumerate(classes)}
    present, inverse = np.unique(class_names, return_inverse=True)
    unknown = [str(name) for name in present if str(name) not in index]
    if unknown:
        raise DataError(f"{where}: class {unknown[0]!r} is unknown; the classes are {', '.join(classes)}")
    return np.array([index[str(name)] for name in present], np.int64)[inverse]
