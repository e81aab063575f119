"""Evaluating jobs: a run or a shipped model on labelled images, with the same scores for both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from striate.data import Part, Preprocessing, load_part, normalise
from striate.errors import UsageError
from striate.runtime import Engine
from striate.train import metrics
from striate.train.metrics import Evaluation

BATCH_IMAGES = 256


def evaluate(target: Path, data: str, on_bad: str = "fail") -> tuple[Evaluation, Part, tuple[str, ...]]:
    """Scores of a run folder or an .onnx artifact on the test part of `data`, that part, and the class names.

    on_bad: "skip" leaves unreadable images out and lists them in `Part.skipped`; none is ever replaced.

    Raises: RunError, ArtifactError, DataError; UsageError where `target` is neither.
    """
    if target.is_dir():
        return _evaluate_run(target, data, on_bad)
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: is neither a run folder nor an .onnx file; give one of them")
    engine = Engine(target)
    classes = engine.manifest.classes
    part = load_part(data, classes, engine.preprocessing, on_bad)
    return evaluate_engine(engine, part, engine.preprocessing), part, classes


def evaluate_engine(engine: Engine, part: Part, preprocessing: Preprocessing) -> Evaluation:
    """Scores of a shipped model, computed by the engine that serves it."""
    starts = range(0, len(part), BATCH_IMAGES)
    batches = (normalise(part.images[i : i + BATCH_IMAGES], preprocessing) for i in starts)
    logits = np.concatenate([engine.logits(x) for x in batches]).astype(np.float64)
    log_sums = np.logaddexp.reduce(logits, axis=1)
    loss = float((log_sums - logits[np.arange(len(part)), part.labels]).mean())
    counts = metrics.confusion_matrix(part.labels, logits.argmax(axis=1), logits.shape[1])
    return Evaluation(counts, loss)


def _evaluate_run(folder: Path, data: str, on_bad: str) -> tuple[Evaluation, Part, tuple[str, ...]]:
    from striate.jobs.training import trained
    from striate.train.evaluate import evaluate as evaluate_module
    from striate.train.state import Run

    run = Run(folder)
    module = trained(folder)
    part = load_part(data, run.classes(), run.preprocessing(), on_bad)
    return evaluate_module(module, part, run.preprocessing()), part, run.classes()
