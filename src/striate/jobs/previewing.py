"""The preview job: what a network will see of a data set under a recipe, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate.choice import Choice
from striate.data import epoch_order
from striate.data.audit.pictures import Preview, previews
from striate.errors import UsageError
from striate.train.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One training image: as stored and under each fit, and as each of the first epochs shows it to the network.

    epochs: pixels (C, H, W) uint8 each, with what the target says of them: ("cat",) or ("71 % cat", "29 % dog")
    """

    preview: Preview
    epochs: tuple[tuple[NDArray[np.uint8], tuple[str, ...]], ...]


def preview(recipe: Recipe, count: int, epochs: int) -> tuple[tuple[Seen, ...], Recipe, tuple[Choice, ...]]:
    """``count`` training images, drawn by the recipe's seed, through everything that training does to them.

    Returns the images, the resolved recipe, and each automatic decision.
    Raises: DataError, RecipeError as training would; UsageError for a count below 1.
    """
    from striate.jobs.training import prepare
    from striate.train.showing import shown_epochs

    if count < 1 or epochs < 0:
        raise UsageError(f"preview: {count} images in {epochs} epochs; use 1 image or more and 0 epochs or more")
    prepared = prepare(recipe)
    dataset = prepared.dataset
    rows = epoch_order(recipe.seed, 0, len(dataset.train))[:count]
    names = [str(name) for name in dataset.train.names[rows]]
    stored = {one.image.name: one for one in previews(recipe.data, dataset.preprocessing, names)}
    shown = list(shown_epochs(dataset, prepared.recipe, rows, epochs))
    seen = (Seen(stored[name], tuple(epoch[k] for epoch in shown)) for k, name in enumerate(names) if name in stored)
    return tuple(seen), prepared.recipe, prepared.choices
