"""Measure a network on a part: one pass, one table of counts, every score from it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from striate.data.dataset import Part
from striate.data.preprocess import Preprocessing
from striate.errors import RunError, ShapeError
from striate.train import metrics
from striate.train.feed import Normaliser, Pixels
from striate.train.machine import flags_kept
from striate.train.metrics import Evaluation


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
