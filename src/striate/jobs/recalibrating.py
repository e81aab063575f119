"""Recalibrating jobs: precise statistics for batch normalisation, as a run or a file that every command takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from striate.data import load, normalise
from striate.errors import RunError, UsageError
from striate.graph import Network
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.jobs.probing import Target, in_turn, source_of
from striate.ops import Array, BatchNorm
from striate.probe import batch_norm, recalibrate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from striate.data import Dataset
    from striate.train.result import Result
    from striate.train.run.state import Run

IMAGES = 2048
COPIED = ("environment.json", "dataset.json", "recipe.json", "metrics.jsonl", "timing.jsonl", "shift.jsonl")


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """What was written: a run folder or an .onnx file; on how many images, of how many layers, and which were stale."""

    out: Path
    images: int
    layers: int
    stale: tuple[str, ...]


def recalibrate_file(target: Target, out: Path, data: str = "", images: int = IMAGES) -> Recalibrated:
    """Write the network of an .onnx file with precise statistics as another .onnx file.

    Raises: NetworkError without batch normalisation; UsageError where `out` is none, exists or cannot be written.
    """
    if out.suffix != ".onnx" or out.exists():
        raise UsageError(f"{out}: {'exists' if out.exists() else 'is no .onnx file'}; name a new .onnx file with --out")
    x = _images(target, data, images)
    after = recalibrate(target.network, x)
    try:
        out.write_bytes(to_bytes(to_onnx(after)))
    except OSError as fault:
        raise UsageError(f"{out}: cannot be written ({fault.strerror}); choose a folder you may write to") from None
    return _report(target.network, x, out)


def recalibrate_run(folder: Path, target: Target, out: Path, data: str = "", images: int = IMAGES) -> Recalibrated:
    """Write a finished run anew into the folder `out`, with precise statistics and the scores that they give.

    Every other tensor keeps its bits.  Raises: RunError where `out` holds something; NetworkError as `recalibrate`.
    """
    from striate.jobs.training import draw, prepare, trained
    from striate.train.run.state import Run
    from striate.train.run.weights import restore

    run, new = Run(folder), Run(out)
    if out.suffix == ".onnx":
        raise UsageError(f"{out}: a run is recalibrated into a run folder; name one, and ship that")
    with new.locked():
        new.require_new()
        x = _images(target, data, images)
        weights = _renewed(run, recalibrate(target.network, x))
        module = trained(folder)
        restore(module, weights, str(out))
        result = _scored(run, module, prepare(run.recipe()).dataset)
        report = _report(target.network, x, out)
        _write(run, new, weights, result, f"recalibrated from {folder} on {len(x):,} training images")
        draw(result, run.classes(), out)
    return report


def _images(target: Target, data: str, count: int) -> Array:
    """Training images, the classes in turn, normalised (N, C, H, W)."""
    prepared = target.preprocessing
    dataset, _ = load(
        source_of(target, data), image_size=(prepared.height, prepared.width), channels=prepared.channels,
        fit=prepared.fit,
    )  # fmt: skip
    return normalise(dataset.train.images[in_turn(dataset.train.labels)[:count]], prepared)


def _report(before: Network, x: Array, out: Path) -> Recalibrated:
    health = batch_norm(before, x).layers
    return Recalibrated(out, len(x), len(health), tuple(layer.layer for layer in health if layer.stale))


def _renewed(run: Run, after: Network) -> dict[str, Tensor]:
    """The run's tensors, the running statistics replaced."""
    weights = run.weights()
    for node in after:
        for role in ("running_mean", "running_var") if isinstance(node.op, BatchNorm) else ():
            name = node.weights[role]
            if name not in weights:
                raise RunError(f"{run.path}: holds no {name}, the statistics of {node.name}; train it again")
            weights[name] = weights[name].new_tensor(after.weights[name].copy())
    return weights


def _scored(run: Run, module: nn.Module, dataset: Dataset) -> Result:
    """What the run's result is with the weights that `module` has now; times and epochs are those of the training."""
    from striate.train.evaluation import calibration
    from striate.train.evaluation.evaluate import answers
    from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
    from striate.train.norms import policy as norms
    from striate.train.result import Result
    from striate.train.session import GAP_IMAGES

    recipe, old, prepared = run.recipe(), run.read("result.json"), dataset.preprocessing
    scored = {
        name: answers(module, part, prepared, channels_last=bool(recipe.channels_last))
        for name, part in dataset.parts.items()
        if name != "train"
    }
    steps = steps_per_epoch(len(dataset.train), int(recipe.batch_images))
    normaliser = Normaliser.of(prepared, bool(recipe.channels_last))
    augmentation = augmentation_of(recipe, prepared.channels)
    feed = Feed(Pixels.of(dataset.train), normaliser, augmentation, recipe.seed, steps)
    rows = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    validation, test = scored["validation"], scored.get("test")
    return Result(
        validation=validation.evaluation(),
        test=test.evaluation() if test else None,
        kept_epoch=old["kept_epoch"],
        epochs=old["epochs"],
        train_seconds=old["train_seconds"],
        images_per_s=old["images_per_s"],
        history=tuple(json.loads(row) for row in rows),
        calibration=calibration.report(validation, test, recipe.target_accuracy),
        gap=norms.gap(module, feed.plain(GAP_IMAGES, int(recipe.batch_images))),
        recoveries=tuple(old["recoveries"]),
    )


def _write(run: Run, new: Run, weights: dict[str, Tensor], result: Result, reason: str) -> None:
    """The new folder: what the run was, what has been decided since, and last what it is now."""
    from striate.train.run.files import write_json

    choices = json.loads((run.path / "choices.json").read_text(encoding="utf-8"))
    choices.append({"name": "batch normalisation", "value": "precise statistics", "reason": reason})
    for name in COPIED:
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, new.path / name)
    write_json(new.path / "choices.json", choices)
    (new.path / "checkpoint").mkdir()  # as where training ends
    new.finish(weights, result)
