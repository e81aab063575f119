"""A small problem of odd sizes for every test of the training room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch import nn

from striate.data.sources import from_arrays
from striate.train.recipe import Recipe
from striate.train.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from striate.data.dataset import Dataset

CLASSES = ("left", "middle", "right")


def striped(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright stripe whose place is the class: (N, 3, 9, 11) uint8 and class numbers (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % len(CLASSES)
    pixels = rng.integers(0, 120, (images, 3, 9, 11), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[:, :, 1 + 4 * label] += 100
    return pixels, labels


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    train, validation, test = striped(61, 1), striped(20, 2), striped(23, 3)
    return from_arrays(*train, validation=validation, test=test, classes=CLASSES, layout="NCHW")[0]


@pytest.fixture(scope="session")
def recipe(dataset) -> Recipe:
    wanted = Recipe(
        epochs=3,
        batch_images=8,
        peak_lr=0.05,
        shift_px=1,
        flip=False,
        threads=1,
        seed=7,
        checkpoint_seconds=0.0,
    )
    return resolve(wanted, images=len(dataset.train), channels=3, size=(9, 11), classes=CLASSES, cores=1)[0]


@pytest.fixture(scope="session")
def builder() -> Callable[[Recipe, tuple[str, ...]], nn.Module]:
    def build(recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 5, (3, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.MaxPool2d(3),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(45, len(classes)),
        )

    return build
