"""Prediction jobs: into a file, so that a kill costs nothing; and in this process or on a Ray cluster, all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.artifact import Artifact, load
from striate.data import find_units
from striate.runtime import Engine, self_test
from striate.runtime.journal import Counts, left, open_journal
from striate.runtime.predict import BATCH_IMAGES, Work, run, threads_for, versions
from striate.runtime.results import Batch, without_probabilities

Tell = Callable[[Batch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """In what way to predict. None of it but batch_images and the engine can change a bit of an answer.

    threads: batches computed side by side; None takes one a core, on a cluster one a CPU
    engine: its name in `striate.runtime.engines`; on a cluster it is ONNX Runtime
    on_cluster: Ray Data runs it, on the cluster that the environment's RAY_ADDRESS names or, without, on this machine
    """

    batch_images: int = BATCH_IMAGES
    threads: int | None = None
    engine: str = "onnxruntime"
    on_cluster: bool = False


def predict_each(model: Path, sources: Sequence[str], how: How) -> tuple[Iterator[Batch], tuple[str, ...]]:
    """The results batch by batch, lazily and in order, and the names of the classes.

    Raises: as `striate.runtime.predict`; UsageError where Ray is wanted and not installed.
    """
    threads_for(how.batch_images, how.threads)
    artifact = load(model)
    units = find_units(sources, how.batch_images)
    return _runner(artifact, how)((unit, 0) for unit in units), artifact.manifest.classes


def predict_into(
    out: Path,
    model: Path,
    sources: Sequence[str],
    how: How,
    tell: Tell,
    probabilities: bool = False,
) -> tuple[Counts, bool]:
    """Write the results to a .csv, .jsonl or .parquet file; what an earlier, killed call did is not done again.

    tell: is given each batch, those of an earlier call included
    probabilities: with a column for each class
    Returns: the counts, and whether the file was complete before, so that nothing was done.
    Raises: as `predict_each` and `open_journal`.
    """
    threads_for(how.batch_images, how.threads)
    artifact = load(model)
    units = find_units(sources, how.batch_images)
    settings = _settings(artifact, sources, how, probabilities)
    with open_journal(out, settings) as journal:
        if isinstance(journal, Counts):
            return journal, True
        for batch in journal.done():
            tell(batch)
        for batch in _runner(artifact, how)(left(units, journal, how.batch_images)):
            journal.append(batch if probabilities else without_probabilities(batch))
            tell(batch)
        return journal.finish(artifact.manifest.classes if probabilities else ()), False


def _settings(artifact: Artifact, sources: Sequence[str], how: How, probabilities: bool) -> dict[str, Any]:
    """Whatever may change a bit of the table."""
    return {
        "model_sha256": hashlib.sha256(artifact.model_bytes).hexdigest(),
        "sources": list(sources),
        "batch_images": how.batch_images,
        "probabilities": probabilities,
        "engine": how.engine,
        **versions(how.engine),
    }


def _runner(artifact: Artifact, how: How) -> Callable[[Iterable[Work]], Iterator[Batch]]:
    if how.on_cluster:
        from striate.runtime.cluster import run_on_cluster

        return lambda work: run_on_cluster(artifact, work, how.batch_images, how.threads)
    engine = Engine(artifact, 1, engine=how.engine)
    self_test(engine, engine.manifest)
    threads = threads_for(how.batch_images, how.threads)
    return lambda work: run(engine, work, how.batch_images, threads)
