"""Evaluating jobs: a run or a shipped model on labelled images, with the same scores for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from striate.choice import Choice
from striate.data import Part, Preprocessing, load_part
from striate.data.sources import PIXELS_FOLDER
from striate.errors import UsageError
from striate.runtime import Engine
from striate.train.evaluation.answers import Answers
from striate.train.evaluation.calibration import Checked, check
from striate.train.evaluation.metrics import Evaluation

BATCH_IMAGES = 256
MIRRORED_IMAGES = 16 * BATCH_IMAGES  # at once: the images may be more than memory holds
TTA = ("none", "flip")
TRAINED_ON = "the run's own {} part, as it was split for training"

Ask = Callable[[Part], Answers]
Read = Callable[[tuple[str, ...], Preprocessing], tuple[Part, tuple[Choice, ...]]]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """What a network answered on labelled images, and what its makers fitted on others.

    measured_on: which images, in words; temperature, abstain_below: as fitted on validation when it was trained
    mirrored: scores where each image and its mirror image are asked and their logits averaged; None if not asked for
    choices: what "auto" decided about the images
    """

    answers: Answers
    part: Part
    classes: tuple[str, ...]
    measured_on: str
    temperature: float
    abstain_below: float | None
    mirrored: Evaluation | None
    choices: tuple[Choice, ...] = ()

    @property
    def scores(self) -> Evaluation:
        """Of the plain answers."""
        return self.answers.evaluation()

    @property
    def calibration(self) -> Checked:
        """Of the plain answers' probabilities."""
        return check(self.answers, self.temperature, self.abstain_below)


def evaluate(
    target: Path,
    data: str = "",
    *,
    on_bad: str = "fail",
    tta: str = "none",
    pixels: str = "auto",
    pixels_folder: Path = Path(PIXELS_FOLDER),
) -> Evaluated:
    """What a run folder or an .onnx artifact answers on the test part of `data`.

    data: may be left out for a run; then, or where it is what the run was trained on, the images are the run's own
    test part, for a source without parts holds the training images too
    on_bad: "skip" leaves unreadable images out and lists them in `Part.skipped`; none is ever replaced
    pixels, pixels_folder: as `striate.data.load` takes them; a run's own part is read as its recipe says
    tta: "flip" asks each image's mirror image too; its scores stand apart

    Raises: RunError, ArtifactError, DataError; UsageError where `target` is neither or an artifact has no data.
    """
    if tta not in TTA:
        raise UsageError(f"tta is {tta!r}; use {' or '.join(TTA)}")
    read = partial(load_part, data, on_bad=on_bad, pixels=pixels, pixels_folder=pixels_folder)
    if target.is_dir():
        return _evaluate_run(target, data, read, tta)
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: is neither a run folder nor an .onnx file; give one of them")
    if not data:
        raise UsageError(f"{target}: holds no images; name labelled ones, as in `striate evaluate {target} photos/`")
    engine = Engine(target)
    manifest = engine.manifest
    part, choices = read(manifest.classes, engine.preprocessing)
    fitted = manifest.temperature, manifest.abstain_below
    found = _evaluated(lambda some: answers_of(engine, some), part, manifest.classes, data, fitted, tta)
    return replace(found, choices=choices)


def answers_of(engine: Engine, part: Part) -> Answers:
    """What a shipped model answers, by the engine that serves it."""
    starts = range(0, len(part), BATCH_IMAGES)
    batches = [engine.logits(engine.manifest.input_of(part.images[i : i + BATCH_IMAGES])) for i in starts]
    return Answers(np.concatenate(batches).astype(np.float64), part.labels)


def _evaluate_run(folder: Path, data: str, read: Read, tta: str) -> Evaluated:
    from striate.jobs.training import prepare, trained
    from striate.train.evaluation.evaluate import answers
    from striate.train.run.state import Run

    run = Run(folder)
    module, recipe, preprocessing = trained(folder), run.recipe(), run.preprocessing()
    choices: tuple[Choice, ...] = ()
    if not data or _is_same(data, recipe.data):
        dataset = prepare(recipe).dataset
        name = "test" if dataset.test else "validation"
        part, where = dataset.parts[name], TRAINED_ON.format(name)
    else:
        (part, choices), where = read(run.classes(), preprocessing), data
    found = _evaluated(lambda some: answers(module, some, preprocessing), part, run.classes(), where, run.fitted(), tta)
    return replace(found, choices=choices)


def _evaluated(
    ask: Ask, part: Part, classes: tuple[str, ...], where: str, fitted: tuple[float, float | None], tta: str
) -> Evaluated:
    plain = ask(part)
    mirrored = None
    if tta == "flip":
        starts = range(0, len(part), MIRRORED_IMAGES)
        other = np.concatenate([ask(_mirrored(part, slice(i, i + MIRRORED_IMAGES))).logits for i in starts])
        mirrored = Answers((plain.logits + other) / 2, part.labels).evaluation()
    return Evaluated(plain, part, classes, where, *fitted, mirrored)


def _mirrored(part: Part, rows: slice) -> Part:
    images = np.ascontiguousarray(part.images[rows, :, :, ::-1])
    return Part(images, part.labels[rows], part.names[rows])


def _is_same(data: str, other: str) -> bool:
    return data == other or Path(data).absolute() == Path(other).absolute()
