"""From images to classes: batches decoded and computed side by side in threads, bad images named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import PIL

from striate._version import __version__
from striate.artifact import Artifact
from striate.data import Encoded, batches, decoded_or_fault, find_units
from striate.data.ahead import map_ahead
from striate.data.unlabelled import Unit
from striate.errors import ArtifactError, DataError, UsageError
from striate.runtime.engine import Engine
from striate.runtime.engines import version
from striate.runtime.self_test import self_test

BATCH_IMAGES = 8  # as fast on a CPU as 32, with a fraction of the activations in memory (docs/predict.md)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The class of one image: the most probable label, its probability, and those of all classes in their order.

    path: the image file, or for a member of an archive the archive's path and the member's name
    abstains: the probability lies below the threshold that the model was shipped with; the label is then a guess
    """

    path: str
    label: str
    probability: float
    probabilities: tuple[float, ...]
    abstains: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be decoded, and why. It has no label: nothing is put in its place."""

    path: str
    reason: str


Result = Prediction | Unreadable
Work = tuple[Unit, int]  # a unit, and how many of its batches are done already


def predict(
    model: Engine | Artifact | str | Path,
    sources: Iterable[str | Path],
    batch_images: int = BATCH_IMAGES,
    threads: int | None = None,
) -> Iterator[Result]:
    """Classify images lazily, in order; one result an image.

    model: a shipped file, or what was made of it
    sources: image files, folders, patterns, tar and zip files, CSV and Parquet files; see `data.find_units`
    threads: batches computed side by side (one a core by default), each decoded and run by one thread, so that the
        answers are the same bits for any number of them. An Engine that is given keeps its own threads.

    Decoding is the one that training used. At most 2 `threads` batches wait in memory.
    Raises: ArtifactError on the model, whose self-test must pass before the first answer; DataError on a source that
    is absent or names no image, at once, and on a damaged container when it is reached; UsageError.
    """
    if isinstance(sources, str | Path):
        raise UsageError(f"predict: sources is one path, {str(sources)!r}; give a list of them")
    threads = threads_for(batch_images, threads)
    engine = model if isinstance(model, Engine) else Engine(Path(model) if isinstance(model, str) else model, 1)
    self_test(engine, engine.manifest)
    work = ((unit, 0) for unit in find_units(sources, batch_images))
    return (result for batch in run(engine, work, batch_images, threads) for result in batch)


def threads_for(batch_images: int, threads: int | None) -> int:
    """The threads asked for, or one a core.  Raises: UsageError where a number is below 1."""
    for name, value in (("batch_images", batch_images), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"predict: {name} is {value}; use at least 1")
    return len(os.sched_getaffinity(0)) if threads is None else threads


def versions(engine: str) -> dict[str, str]:
    """The version of each package that decides the bits of an answer: ours, the decoder's, the engine's."""
    named = {"striate": __version__, "numpy": np.__version__, "pillow": PIL.__version__, engine: version(engine)}
    return {f"{name}_version": number for name, number in named.items()}


def run(engine: Engine, work: Iterable[Work], batch_images: int, threads: int) -> Iterator[tuple[Result, ...]]:
    """The results of each batch that is left of the work, in order.

    A damaged container ends it with a DataError, after the results of all whole batches before the damage.
    """

    def todo() -> Iterator[tuple[Encoded, ...] | DataError]:
        try:
            for unit, done in work:
                yield from islice(batches(unit, batch_images), done, None)
        except DataError as fault:
            yield fault

    return map_ahead(partial(_raised_or_classified, engine), todo(), threads)


def _raised_or_classified(engine: Engine, batch: Sequence[Encoded] | DataError) -> tuple[Result, ...]:
    if isinstance(batch, DataError):
        raise batch
    return classify(engine, batch)


def classify(engine: Engine, batch: Sequence[Encoded]) -> tuple[Result, ...]:
    """Decode a batch and classify what could be decoded.  Raises: ArtifactError if an answer is not finite."""
    decoded = [decoded_or_fault(image, engine.preprocessing) for image in batch]
    pixels = [image for image in decoded if not isinstance(image, DataError)]
    rows = iter(engine.classify(np.stack(pixels)).tolist() if pixels else ())
    return tuple(
        Unreadable(readable(image.name), readable(str(found)))
        if isinstance(found, DataError)
        else _prediction(engine, readable(image.name), next(rows))
        for image, found in zip(batch, decoded, strict=True)
    )


def readable(name: str) -> str:
    """A name as valid text: the bytes of a file's name that are not UTF-8 stand as their escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _prediction(engine: Engine, path: str, probabilities: list[float]) -> Prediction:
    manifest = engine.manifest
    if not np.isfinite(probabilities).all():
        raise ArtifactError(f"{path}: the model's answer is not a number; ship the network again")
    probability = max(probabilities)
    label = manifest.classes[probabilities.index(probability)]
    abstains = manifest.abstain_below is not None and probability < manifest.abstain_below
    return Prediction(path, label, probability, tuple(probabilities), abstains)
