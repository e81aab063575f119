"""What the peers' scripts share: the images, the clock of training, and how a result is told.

Each of them is called with a folder that holds fashion.npz and the same images as PNG files below images/train and
images/test, one folder a class, and with a seed. It prints one JSON line when training starts, and one a look.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LOOK_IMAGES = 15_000  # training images between two looks at the test part: four an epoch


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn. Shapes: train, test (N, 28, 28) uint8; labels (N,) int64, 0 to 9."""

    folder: Path
    seed: int
    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


def task() -> Task:
    """The task on the command line; Python's and NumPy's global generators are seeded."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the peers draw from it
    with np.load(folder / "fashion.npz") as held:
        parts = [held[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    return Task(folder, seed, *parts)


class Clock:
    """Seconds of training, without those of validation and of looks at the test part.

    Looks come after each LOOK_IMAGES images and at the end of each epoch.
    """

    def __init__(self, images_per_epoch: int, accuracy: Callable[[], float]) -> None:
        self._epoch, self._accuracy = images_per_epoch, accuracy
        self._images = self._looked = 0
        self._seconds = self._since = 0.0
        # What libraries print goes to stderr; only this clock speaks to the parent.
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def start(self) -> None:
        """Before the first batch."""
        self._tell({"started": True})
        self.resume()

    def pause(self) -> None:
        """Before what is no training."""
        self._seconds += time.perf_counter() - self._since

    def resume(self) -> None:
        """After what is no training."""
        self._since = time.perf_counter()

    def trained(self, images: int) -> None:
        """After each update of the weights; looks at the test part where it is time to."""
        self._images += images
        epochs_end = self._images // self._epoch > self._looked // self._epoch
        if self._images - self._looked >= LOOK_IMAGES or epochs_end:
            self.pause()
            self._looked = self._images
            accuracy = self._accuracy()
            self._tell({"images": self._images, "seconds": round(self._seconds, 2), "accuracy": round(accuracy, 4)})
            self.resume()

    def _tell(self, row: dict[str, object]) -> None:
        print(json.dumps(row), file=self._answers, flush=True)
