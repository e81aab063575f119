"""What each epoch shows of chosen images, as pixels a person can look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate.data.dataset import Dataset
from striate.data.preprocess import Preprocessing
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
from striate.train.recipe import Recipe

LEAST_SAID = 0.005

Shown = tuple[NDArray[np.uint8], tuple[str, ...]]  # pixels (C, H, W), and what the target says of them


def shown_epochs(dataset: Dataset, recipe: Recipe, rows: NDArray[np.int64], epochs: int) -> Iterator[list[Shown]]:
    """For each of the first epochs, the training images of these rows, augmented and mixed as in that epoch.

    recipe: resolved. A target says ("cat",), or of a mixed image ("71 % cat", "29 % dog").
    """
    preprocessing = dataset.preprocessing
    feed = Feed(
        Pixels.of(dataset.train),
        Normaliser.of(preprocessing, channels_last=False),
        augmentation_of(recipe, preprocessing.channels),
        recipe.seed,
        steps_per_epoch(len(dataset.train), int(recipe.batch_images)),
    )
    chosen = torch.from_numpy(rows)
    for epoch in range(epochs):
        images, targets = feed.shown(chosen, chosen, epoch)
        pixels = _pixels(images.numpy(), preprocessing)
        yield [(one, _said(target, dataset.classes)) for one, target in zip(pixels, targets, strict=True)]


def _pixels(images: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Normalised images (N, C, H, W) back to levels: exactly those they were made from, unless two are blended."""
    levels = (images - preprocessing.shift[:, None, None]) / preprocessing.scale[:, None, None]
    pixels: NDArray[np.uint8] = np.rint(levels).clip(0, 255).astype(np.uint8)
    return pixels


def _said(target: Tensor, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The label, or of a mixed image the classes that have at least half a percent of it."""
    if target.ndim == 0:
        return (classes[int(target)],)
    shares = sorted(((float(share), name) for share, name in zip(target, classes, strict=True)), reverse=True)
    return tuple(f"{100 * share:.0f} % {name}" for share, name in shares if share >= LEAST_SAID)
