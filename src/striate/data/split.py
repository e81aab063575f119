"""Hold out a share of each class: a pure function of the labels and a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.data import random
from striate.errors import DataError


def stratified(
    labels: NDArray[np.int64], classes: tuple[str, ...], share: float, seed: int, part: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices into (kept, held out), each ascending, with ``share`` of every class held out.

    A class of n images gives round(share n), at least 1 and at most n - 1. ``part`` names what is held out;
    it belongs to the random stream, so that two splits with one seed are independent.

    Shapes: labels (N,), values 0 .. len(classes) - 1; results (N - M,) and (M,).
    Raises: DataError if share is not between 0 and 1 or a class has fewer than 2 images.
    """
    if not 0 < share < 1:
        raise DataError(f"{part} share is {share}; give a number between 0 and 1, such as 0.1")
    keys = random.bits(seed, f"split/{part}", np.arange(len(labels)))
    is_held = np.zeros(len(labels), bool)
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(f"class {name!r} has {len(members)} image(s) to split into training and {part}; add images")
        count = min(max(1, round(share * len(members))), len(members) - 1)
        is_held[members[np.argsort(keys[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
