"""Every score of a classifier from one table of counts, in plain NumPy.

A confusion matrix here is int64 (K, K): row = true class, column = predicted class. Counts add, so parts
measured apart give the same scores as the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Z_95 = 1.959963984540054  # 97.5 % point of the normal distribution: 95 % between minus and plus this


def confusion_matrix(true: Counts, predicted: Counts, classes: int) -> Counts:
    """Count pairs. true, predicted (N,) in 0..classes-1; returns (classes, classes)."""
    pairs = np.bincount(true * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)


def accuracy(confusion: Counts) -> float:
    """Share of images on the diagonal; NaN of an empty matrix."""
    return _ratio(int(np.trace(confusion)), int(confusion.sum()))


def recall(confusion: Counts) -> NDArray[np.float64]:
    """Share found of each true class (K,); NaN for a class without images."""
    return _ratios(np.diag(confusion), confusion.sum(axis=1))


def precision(confusion: Counts) -> NDArray[np.float64]:
    """Share right of each predicted class (K,); NaN for a class never predicted."""
    return _ratios(np.diag(confusion), confusion.sum(axis=0))


def f1(confusion: Counts) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) of each class (K,); NaN for a class neither present nor predicted."""
    return _ratios(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def balanced_accuracy(confusion: Counts) -> float:
    """Mean recall over the classes that have images: what accuracy would be if all were equally common."""
    present = confusion.sum(axis=1) > 0
    return float(recall(confusion)[present].mean()) if present.any() else float("nan")


def wilson_interval(right: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Confidence interval of a share, 95 % unless `z` says otherwise; within [0, 1] at any count.

    p = right / n;  (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    if images == 0:
        return 0.0, 1.0
    p, z2_n = right / images, z * z / images
    centre = p + z2_n / 2
    reach = z * sqrt(p * (1 - p) / images + z2_n / (4 * images))
    return max(0.0, (centre - reach) / (1 + z2_n)), min(1.0, (centre + reach) / (1 + z2_n))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _ratios(part: Counts, whole: Counts) -> NDArray[np.float64]:
    out = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """confusion int64 (K, K), row = true class; loss = mean cross-entropy without smoothing, in nats."""

    confusion: Counts
    loss: float

    @property
    def images(self) -> int:
        """How many were looked at."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """How many were given their own class."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share right."""
        return accuracy(self.confusion)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes."""
        return balanced_accuracy(self.confusion)

    @property
    def interval_95(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.right, self.images)

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values; a score that does not exist (0 / 0) is null."""
        return {
            "images": self.images,
            "right": self.right,
            "accuracy": self.accuracy,
            "interval_95": list(self.interval_95),
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "precision": _nulls(precision(self.confusion)),
            "recall": _nulls(recall(self.confusion)),
            "f1": _nulls(f1(self.confusion)),
            "confusion": self.confusion.tolist(),
        }


def _nulls(scores: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(score) else float(score) for score in scores]
