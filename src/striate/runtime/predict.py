"""From image files to classes: decoding ahead in threads, batches through the engine, bad files named."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.data.decode import decode
from striate.data.folders import SUFFIXES
from striate.data.names import natural_key
from striate.data.preprocess import Preprocessing
from striate.errors import DataError, UsageError
from striate.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Prediction:
    """The class of one image: the most probable label, its probability, and those of all classes in their order."""

    path: Path
    label: str
    probability: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be decoded, and why. It has no label: nothing is put in its place."""

    path: Path
    reason: str


def predict(
    model: Engine | Artifact | Path, paths: Iterable[Path], batch_images: int = 32, threads: int | None = None
) -> Iterator[Prediction | Unreadable]:
    """Classify image files, and the images in folders and below, in order; one result a file.

    Decoding is the one that training used. `threads` decode ahead and compute (all cores by default). At most
    `batch_images` + 2 `threads` images are in memory.
    Raises: ArtifactError on the model; DataError on a path that is not there or a folder without images.
    """
    if batch_images < 1:
        raise UsageError(f"predict: batch_images is {batch_images}; use at least 1")
    engine = model if isinstance(model, Engine) else Engine(model, threads)
    files = list(image_files(paths))
    return _results(engine, files, batch_images, engine.threads if threads is None else threads)


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among `paths`, and the images below its folders in natural order; hidden entries are left out.

    Raises: DataError.
    """
    for path in paths:
        if path.is_dir():
            found = [
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_hidden(file.relative_to(path))
            ]
            if not found:
                raise DataError(f"{path}: holds no images ({', '.join(SUFFIXES)}); check the path")
            yield from sorted(found, key=lambda file: natural_key(file.as_posix()))
        elif path.exists():
            yield path
        else:
            raise DataError(f"{path}: no such file or folder; check the path")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _results(engine: Engine, files: list[Path], batch_images: int, threads: int) -> Iterator[Prediction | Unreadable]:
    classes = engine.manifest.classes
    for group in _batches(_decoded(files, engine.preprocessing, threads), batch_images):
        images = [pixels for _, pixels in group if not isinstance(pixels, DataError)]
        rows = iter(engine.classify(np.stack(images)).tolist() if images else [])
        for path, pixels in group:
            if isinstance(pixels, DataError):
                yield Unreadable(path, str(pixels))
                continue
            row: list[float] = next(rows)
            best = row.index(max(row))
            yield Prediction(path, classes[best], row[best], tuple(row))


Decoded = tuple[Path, NDArray[np.uint8] | DataError]


def _decoded(files: Iterable[Path], preprocessing: Preprocessing, threads: int) -> Iterator[Decoded]:
    """Each file with its pixels or its fault, decoded up to 2 `threads` ahead."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Decoded]] = deque()
        try:
            for path in files:
                ahead.append(pool.submit(_one, path, preprocessing))
                if len(ahead) == 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one(path: Path, preprocessing: Preprocessing) -> Decoded:
    try:
        return path, decode(path, preprocessing)
    except DataError as fault:
        return path, fault


def _batches(decoded: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    batch: list[Decoded] = []
    for one in decoded:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
