"""The built-in sample: 5,000 + 1,000 balanced images of Fashion-MNIST (licence in NOTICE).

``images.npz`` is made by dev/make_sample.py. Positions in the original sets are kept as the images' names.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from striate.data.fashion import CLASSES
from striate.data.names import folder_name
from striate.data.raw import Found, Raw
from striate.errors import DataError

FILE = "images.npz"


def read_sample() -> Found:
    """The sample's parts: train, 500 images a class, and test, 100 a class."""
    parts = {}
    with (
        resources.files("striate.data.sample").joinpath(FILE).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        for part in ("train", "test"):
            labels, positions = arrays[f"{part}_labels"], arrays[f"{part}_positions"]
            names = np.array([f"{part}/{position}" for position in positions], np.str_)
            parts[part] = Raw(arrays[f"{part}_images"][:, None], np.array(CLASSES, np.str_)[labels], names)
    return Found("sample", parts, CLASSES)


def write_sample_images(folder: Path, count: int) -> tuple[Path, ...]:
    """Write the first ``count`` test images, the classes in turn, as PNG files into class folders.

    Test image 123 of class "T-shirt/top" goes to ``T-shirt-top/00123.png`` (see ``names.folder_name``).
    Raises: DataError if the sample does not hold that many.
    """
    test = read_sample().parts["test"]
    if not 0 < count <= len(test) or not isinstance(test.pixels, np.ndarray):
        raise DataError(f"the sample has {len(test):,} test images; asked for {count}")
    labels = np.array([CLASSES.index(name) for name in test.class_names])
    turn = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])  # 0 for a class's first
    paths = []
    for i in np.lexsort((labels, turn))[:count]:
        position = int(test.names[i].split("/")[1])
        path = folder / folder_name(test.class_names[i]) / f"{position:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.pixels[i, 0]).save(path)
        paths.append(path)
    return tuple(paths)
