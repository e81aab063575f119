"""The preview job: what a network will see of a data set under a recipe, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from striate.choice import Choice
from striate.data import Dataset, Preprocessing, epoch_order
from striate.data.audit.pictures import Preview, previews
from striate.errors import UsageError
from striate.jobs.training import prepare
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
from striate.train.recipe import Recipe

LEAST_SAID = 0.005

Shown = tuple[NDArray[np.uint8], tuple[str, ...]]  # pixels (C, H, W), and what the target says of them


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One training image: as stored and under each fit, and as each of the first epochs shows it to the network.

    epochs: an image each, with ("cat",) or ("71 % cat", "29 % dog")
    """

    preview: Preview
    epochs: tuple[Shown, ...]


def preview(recipe: Recipe, count: int, epochs: int) -> tuple[tuple[Seen, ...], Recipe, tuple[Choice, ...]]:
    """``count`` training images, drawn by the recipe's seed, through everything that training does to them.

    Returns the images, the resolved recipe, and each automatic decision.
    Raises: DataError, RecipeError as training would; UsageError for a count below 1.
    """
    if count < 1 or epochs < 0:
        raise UsageError(f"preview: {count} images in {epochs} epochs; use 1 image or more and 0 epochs or more")
    prepared = prepare(recipe)
    dataset = prepared.dataset
    rows = epoch_order(recipe.seed, 0, len(dataset.train))[:count]
    names = [str(name) for name in dataset.train.names[rows]]
    stored = {one.image.name: one for one in previews(recipe.data, dataset.preprocessing, names)}
    shown = list(_epochs(dataset, prepared.recipe, rows, epochs))
    seen = (Seen(stored[name], tuple(epoch[k] for epoch in shown)) for k, name in enumerate(names) if name in stored)
    return tuple(seen), prepared.recipe, prepared.choices


def _epochs(dataset: Dataset, recipe: Recipe, rows: NDArray[np.int64], epochs: int) -> Iterator[list[Shown]]:
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
