"""Make the built-in sample from Debian's dataset-fashion-mnist: python dev/make_sample.py [FILE].

500 training images a class from the original training set and 100 test images a class from the original test
set, chosen by counter-based draws and stored in the original order: the same input gives the same file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from striate.data import random
from striate.data.fashion import CLASSES, read_fashion_mnist

SEED = 0
IMAGES_PER_CLASS = {"train": 500, "test": 100}
TARGET = Path(__file__).parents[1] / "src/striate/data/sample/images.npz"


def main(target: Path) -> None:
    """Write the sample to ``target``."""
    arrays = {}
    for part, raw in read_fashion_mnist().parts.items():
        labels = np.array([CLASSES.index(name) for name in raw.class_names], np.uint8)
        keys = random.bits(SEED, f"sample/{part}", np.arange(len(labels)))
        chosen = []
        for label in range(len(CLASSES)):
            members = np.flatnonzero(labels == label)
            chosen.append(members[np.argsort(keys[members])[: IMAGES_PER_CLASS[part]]])
        positions = np.sort(np.concatenate(chosen))
        arrays[f"{part}_images"] = np.asarray(raw.pixels)[positions, 0]
        arrays[f"{part}_labels"] = labels[positions]
        arrays[f"{part}_positions"] = positions.astype(np.uint16)
    np.savez_compressed(target, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
