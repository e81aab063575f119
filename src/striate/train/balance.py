"""Classes of unequal size: weights for their losses, or a draw that shows each class equally often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.data.random import bits, epoch_order

Indices = NDArray[np.int64]


def class_weights(labels: Indices, classes: int) -> NDArray[np.float64]:
    """n / (K n_c) for each class c: each class weighs alike in the sum over an epoch, and the mean weight is 1.

    Shapes: labels (N,) in 0 .. classes - 1, every class present; result (classes,).
    """
    counts = np.bincount(labels, minlength=classes)
    weights: NDArray[np.float64] = len(labels) / (classes * counts)
    return weights


def balanced_order(seed: int, epoch: int, labels: Indices) -> tuple[Indices, Indices]:
    """An epoch of N draws in which the classes come equally often: images, and how often each was drawn before.

    A class of n_c images is shown in whole random permutations, the last cut off at N / K draws (one more for the
    first classes where that is no integer): small classes repeat, of large ones each epoch sees a part. A function
    of (seed, epoch) and the labels.
    Shapes: labels (N,), every class present; both results (N,) int64.
    """
    n, present = len(labels), np.unique(labels)
    rows, repeats = [], []
    for rank, label in enumerate(present):
        own = np.flatnonzero(labels == label)
        wanted = n // len(present) + (rank < n % len(present))
        rounds = np.arange(-(-wanted // len(own)))
        keys = bits(seed, "balanced order", epoch, rounds[:, None], own[None, :])  # (rounds, n_c)
        rows.append(own[np.argsort(keys, axis=1, kind="stable")].reshape(-1)[:wanted])
        repeats.append(np.repeat(rounds, len(own))[:wanted])
    order = epoch_order(seed, epoch, n)
    return np.concatenate(rows)[order], np.concatenate(repeats)[order]
