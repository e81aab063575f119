"""What tests of prediction share: a small shipped model, and pictures of several sizes in every container."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from striate.artifact import About, write
from striate.data.preprocess import Preprocessing
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.ops import Activation, Conv, GlobalAvgPool, Linear

if TYPE_CHECKING:
    from pathlib import Path

PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CLASSES = ("ant", "bee", "cow")


def ship(path: Path, seed: int = 2, preprocessing: Preprocessing = PREPROCESSING, **facts: object) -> Path:
    """A model of a few weights, for images of 11x7 px by itself, without golden cases."""
    builder = Builder("small", preprocessing.shape)
    at = builder.add(Conv(3, 8, (Window(3, 2, 1, 1, 0), Window(2)), bias=False), INPUT, name="conv")
    at = builder.add(Activation("relu"), at, name="relu")
    at = builder.add(GlobalAvgPool(), at, name="gap")
    builder.add(Linear(8, 3), at, name="fc")
    about = {"network": "small", "classes": CLASSES, "preprocessing": preprocessing.to_json()}
    write(path, initialise(builder.build(), seed=seed), About(**about, created="2026-01-31T12:00:00+00:00", **facts))
    return path


def picture(number: int) -> bytes:
    """A JPEG or PNG file of random pixels, of another size for another number, always the same for one."""
    rng = np.random.default_rng(number)
    size = (int(rng.integers(9, 120)), int(rng.integers(9, 120)), 3)  # some are decoded at a part of their size
    return encoded(rng.integers(0, 256, size, np.uint8), "JPEG" if number % 2 else "PNG")


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Pictures 0 to ``count`` in two class folders, in natural order."""
    paths = [folder / ("cat" if i < count // 2 else "dog") / f"{i}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return paths


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_csv(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path
