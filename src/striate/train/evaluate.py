"""Measure a network on a part: one pass, one table of counts, every score from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from striate.data.dataset import Part
from striate.data.preprocess import Preprocessing
from striate.errors import RunError, ShapeError
from striate.train import metrics
from striate.train.feed import Normaliser, Pixels
from striate.train.metrics import Counts
from striate.train.step import flags_kept


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
        return metrics.accuracy(self.confusion)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes."""
        return metrics.balanced_accuracy(self.confusion)

    @property
    def interval_95(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return metrics.wilson_interval(self.right, self.images)

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values; a score that does not exist (0 / 0) is null."""
        return {
            "images": self.images,
            "right": self.right,
            "accuracy": self.accuracy,
            "interval_95": list(self.interval_95),
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "precision": _nulls(metrics.precision(self.confusion)),
            "recall": _nulls(metrics.recall(self.confusion)),
            "f1": _nulls(metrics.f1(self.confusion)),
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    module: nn.Module,
    part: Part,
    preprocessing: Preprocessing,
    batch_images: int = 256,
    *,
    channels_last: bool = True,
) -> Evaluation:
    """Run the network in eval mode over a part; its training flags are as before afterwards.

    Shapes: the module maps (N, C, H, W) float32 to logits (N, K), K at least the number of labels.
    Raises: ShapeError if it does not; RunError if the loss is not finite.
    """
    pixels, normaliser = Pixels.of(part), Normaliser.of(preprocessing, channels_last)
    loss_sum, predicted, classes = 0.0, [], 0
    with flags_kept(module), torch.inference_mode():
        module.eval()
        for start in range(0, len(part), batch_images):
            rows = slice(start, start + batch_images)
            labels = pixels.labels[rows]
            logits = module(normaliser(pixels.images[rows]))  # (B, K)
            classes = _classes(tuple(logits.shape), len(labels), int(labels.max()) + 1)
            loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
            predicted.append(logits.argmax(dim=1).numpy())
    loss = loss_sum / len(part)
    if not np.isfinite(loss):
        raise RunError(f"evaluation: the loss is {loss} on {len(part):,} images; the network has diverged")
    return Evaluation(metrics.confusion_matrix(part.labels, np.concatenate(predicted), classes), loss)


def _classes(shape: tuple[int, ...], images: int, least: int) -> int:
    if len(shape) != 2 or shape[0] != images or shape[1] < least:
        raise ShapeError(
            f"network: output {shape} for {images} images; expected ({images}, K) with K at least {least} "
            "(the labels go that far); end the network in one number for each class"
        )
    return shape[1]


def _nulls(scores: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(score) else float(score) for score in scores]
