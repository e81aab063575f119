"""Fashion-MNIST as Debian packages it: 60,000 + 10,000 gray images of 28x28 px in ten classes.

Source: Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747. File format: http://yann.lecun.com/exdb/mnist (IDX).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.raw import Found, Raw
from striate.errors import DataError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FILES = {"train": "train", "test": "t10k"}


def read_fashion_mnist(folder: Path = FOLDER) -> Found:
    """The complete set. Raises: DataError if it is not installed or damaged."""
    parts = {}
    for part, prefix in _FILES.items():
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", axes=3)[:, None]
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", axes=1)
        if len(images) != len(labels) or labels.max() >= len(CLASSES):
            raise DataError(f"{folder}: {part} labels do not fit the images; reinstall dataset-fashion-mnist")
        names = np.array([f"{part}/{i}" for i in range(len(labels))], np.str_)
        parts[part] = Raw(images, np.array(CLASSES, np.str_)[labels], names)
    return Found("fashion-mnist", parts, CLASSES)


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """One gzipped IDX file of uint8: bytes 0 0 8 ``axes``, then each length as big-endian uint32, then data.

    Raises: DataError if the file is absent, truncated or of another kind.
    """
    if not path.is_file():
        raise DataError(f"{path}: not found; install the data with: apt-get install dataset-fashion-mnist")
    start = 4 + 4 * axes
    try:
        content = gzip.decompress(path.read_bytes())
        magic, *shape = struct.unpack(f">4s{axes}I", content[:start])
    except (OSError, EOFError, zlib.error, struct.error) as fault:
        raise DataError(f"{path}: damaged ({fault}); reinstall dataset-fashion-mnist") from fault
    if magic != bytes((0, 0, 8, axes)) or len(content) - start != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: not a complete IDX file of {axes} axes; reinstall dataset-fashion-mnist")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
