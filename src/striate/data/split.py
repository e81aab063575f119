"""Hold out a share of each class: a pure function of the labels, the groups and a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.data import random
from striate.errors import DataError

MIN_GAIN = 1e-12  # below it a change of J is rounding, and a group could move back and forth for ever


def stratified(
    labels: NDArray[np.int64], classes: tuple[str, ...], share: float, seed: int, part: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices into (kept, held out), each ascending, with ``share`` of every class held out.

    A class of n images gives round(share n), at least 1 and at most n - 1. ``part`` names what is held out;
    it belongs to the random stream, so that two splits with one seed are independent.

    Shapes: labels (N,), values 0 .. len(classes) - 1; results (N - M,) and (M,).
    Raises: DataError if share is not between 0 and 1 or a class has fewer than 2 images.
    """
    _check_share(share, part)
    keys = random.bits(seed, f"split/{part}", np.arange(len(labels)))
    is_held = np.zeros(len(labels), bool)
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(f"class {name!r} has {len(members)} image(s) to split into training and {part}; add images")
        count = min(max(1, round(share * len(members))), len(members) - 1)
        is_held[members[np.argsort(keys[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def grouped(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    classes: tuple[str, ...],
    share: float,
    seed: int,
    part: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``stratified``, with every group whole on one side; shares are met as far as the groups allow.

    With h_c of n_c images of class c held out, J = sum over c of ((h_c - share n_c) / n_c)^2.
    First each class gets the smallest group that leaves it some training images; then groups change sides, in a
    random order and as long as one of them lowers J.

    Shapes: labels and groups (N,); results (N - M,) and (M,).
    Raises: DataError as ``stratified``, and if a class lies in one group or cannot be on both sides.
    """
    _check_share(share, part)
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)  # (G, K)
    np.add.at(counts, (group_of, labels), 1)
    order = np.argsort(random.bits(seed, f"split/{part}/groups", np.arange(len(names))), kind="stable")
    sides = _Sides(counts)
    _hold_every_class(sides, order, classes, part)
    _improve(sides, order, share)
    rows = sides.is_held[group_of]
    return np.flatnonzero(~rows), np.flatnonzero(rows)


class _Sides:
    """Which groups are held out, and how many groups of each class lie on either side.

    Shapes: counts (G, K) images; is_held (G,); groups_of (2, K), kept and held.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.counts = counts
        self.has = counts > 0
        self.is_held = np.zeros(len(counts), bool)
        self.groups_of = np.stack([self.has.sum(axis=0), np.zeros(counts.shape[1], np.int64)])

    def may_move(self, group: int) -> bool:
        """Whether each class of the group stays where the group leaves."""
        return bool((self.groups_of[int(self.is_held[group])][self.has[group]] > 1).all())

    def move(self, group: int) -> None:
        """Move the group to the other side."""
        side = int(self.is_held[group])
        self.groups_of[side] -= self.has[group]
        self.groups_of[1 - side] += self.has[group]
        self.is_held[group] = not side


def _hold_every_class(sides: _Sides, order: NDArray[np.int64], classes: tuple[str, ...], part: str) -> None:
    """Hold the smallest fitting group of each class that has none held, classes of few groups first."""
    for label in np.argsort(sides.groups_of[0], kind="stable"):
        having = order[sides.has[order, label]]
        if len(having) < 2:
            raise DataError(
                f"class {classes[label]!r} lies in {len(having)} group(s) and cannot be in both training and {part}; "
                "add images of other groups"
            )
        if sides.groups_of[1, label]:
            continue
        fitting = [int(group) for group in having if sides.may_move(int(group))]
        if not fitting:
            raise DataError(
                f"class {classes[label]!r} cannot be in both training and {part} without tearing a group; "
                "add images of other groups"
            )
        sides.move(min(fitting, key=lambda group: int(sides.counts[group].sum())))


def _improve(sides: _Sides, order: NDArray[np.int64], share: float) -> None:
    """Move single groups between the sides while J falls; J has finitely many values, so this ends."""
    totals = sides.counts.sum(axis=0)
    excess = sides.counts[sides.is_held].sum(axis=0) / totals - share  # (K,)
    is_moving = True
    while is_moving:
        is_moving = False
        for group in order.tolist():
            step = sides.counts[group] / totals * (-1 if sides.is_held[group] else 1)
            gain = float((step * (2 * excess + step)).sum())
            if gain < -MIN_GAIN and sides.may_move(group):
                sides.move(group)
                excess = excess + step
                is_moving = True


def _check_share(share: float, part: str) -> None:
    if not 0 < share < 1:
        raise DataError(f"{part} share is {share}; give a number between 0 and 1, such as 0.1")
