"""Quantizing jobs: a shipped model computed with 8-bit integers, if images show that it loses little enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import About, Artifact, Int8, load, write
from striate.artifact.pixels import model_of
from striate.data import Part
from striate.data.find import find
from striate.data.raw import WHOLE, read
from striate.data.sources import load_part
from striate.errors import ArtifactError, DataError, UsageError
from striate.graph import INPUT
from striate.graph.to_onnx import LOGITS, tensor_names, to_bytes
from striate.runtime import every_tensor, open_session
from striate.verify import Tell, silent

CALIBRATION_IMAGES = 256
CALIBRATION_BATCH = 8  # all tensors of so many images are in memory at once
BATCH_IMAGES = 64
GOLDEN_SLACK = 2.0  # processors round a value that lies between two levels differently, and it travels on

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Quantized:
    """What was written, and what it cost.

    bytes_before, bytes_after: of the files; vnni: whether this processor multiplies 8-bit integers four at a time,
    None where it is not known
    """

    path: Path
    int8: Int8
    bytes_before: int
    bytes_after: int
    vnni: bool | None

    @property
    def lost_points(self) -> float:
        """Accuracy lost, in percentage points; negative where some was won."""
        return 100 * (self.int8.accuracy_before - self.int8.accuracy_after)


def quantize(model: Path, images: str, budget_points: float, out: Path | None = None, tell: Tell = silent) -> Quantized:
    """Write MODEL.int8.onnx, if it loses at most `budget_points` percentage points of accuracy on `images`.

    images: labelled ones. The ranges are set by the train part, accuracy is measured on the test part; of a source
    without parts, every second image serves for each.
    Raises: ArtifactError where more is lost: nothing is written then; DataError, UsageError.
    """
    artifact = load(model)
    manifest = artifact.manifest
    if manifest.int8 is not None:
        raise UsageError(f"{model}: is quantized already; give the float32 model")
    if not budget_points >= 0:
        raise UsageError(f"quantize: the budget is {budget_points:g} points; use 0 or more")
    out = model.with_suffix(".int8.onnx") if out is None else out
    calibration, test = _parts(images, artifact)
    ranges = _ranges(artifact, calibration, tell)
    before = _answers(artifact.model_bytes, artifact, test.images)
    bytes_of_int8 = to_bytes(model_of(artifact.network, manifest.input.dtype, ranges))
    after = _answers(bytes_of_int8, artifact, test.images)
    right = [logits.argmax(axis=1) == test.labels for logits in (before, after)]
    int8 = Int8(
        images=len(test),
        accuracy_before=float(right[0].mean()),
        accuracy_after=float(right[1].mean()),
        changed=int((before.argmax(axis=1) != after.argmax(axis=1)).sum()),
        calibration_images=len(calibration),
    )
    lost = 100 * (int8.accuracy_before - int8.accuracy_after)
    if lost > budget_points:
        raise ArtifactError(
            f"{model}: 8-bit integers get {100 * int8.accuracy_after:.2f} % of {int8.images:,} images right, float32 "
            f"{100 * int8.accuracy_before:.2f} %: {lost:.2f} points lost, budget {budget_points:g}; nothing is written"
        )
    facts = dict(manifest.model_copy(update={"int8": int8, "proof": None}))
    facts["golden_bound"] = _golden_bound(artifact, bytes_of_int8)
    about = About(**{name: facts[name] for name in About.model_fields})
    write(out, artifact.network, about, manifest.input.dtype, ranges)
    return Quantized(out, int8, model.stat().st_size, out.stat().st_size, has_vnni())


def _parts(source: str, artifact: Artifact) -> tuple[NDArray[np.uint8], Part]:
    """Images to set the ranges by, spread over all there are, and other, labelled ones to measure on."""
    classes, preprocessing = artifact.manifest.classes, artifact.manifest.prepared()
    found = find(source)
    test, _ = load_part(source, classes, preprocessing)
    if "train" in found.parts:
        train = read(found.parts["train"], classes, preprocessing, found.source).images
    elif WHOLE in found.parts:
        train = test.images[::2]
        test = Part(test.images[1::2], test.labels[1::2], test.names[1::2])
    else:
        raise DataError(f"{source}: has no train part to set the ranges by; give a source with train and test")
    if not len(test):
        raise DataError(f"{source}: has one image; at least 2 are needed")
    chosen = np.linspace(0, len(train) - 1, min(CALIBRATION_IMAGES, len(train))).round().astype(int)
    return train[chosen], test


def _ranges(artifact: Artifact, images: NDArray[np.uint8], tell: Tell) -> Ranges:
    """Smallest and largest value of every tensor over the images, by its name in the ONNX file."""
    network, x = artifact.network, artifact.manifest.input_of(images).astype(np.float32)
    names = tensor_names(network)
    run = every_tensor(network, _cores())
    ranges: Ranges = {INPUT: (float(x.min()), float(x.max()))}
    for start in range(0, len(x), CALIBRATION_BATCH):
        for layer, values in run(x[start : start + CALIBRATION_BATCH]).items():
            low, high = ranges.get(names[layer], (np.inf, -np.inf))
            ranges[names[layer]] = min(low, float(values.min())), max(high, float(values.max()))
        tell(min(start + CALIBRATION_BATCH, len(x)), len(x))
    del ranges[LOGITS]
    return ranges


def _answers(model_bytes: bytes, artifact: Artifact, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits of a model that takes what the artifact takes."""
    session = open_session(model_bytes, _cores(), spinning=False)

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(images), BATCH_IMAGES):
            yield session.run([LOGITS], {INPUT: artifact.manifest.input_of(images[start : start + BATCH_IMAGES])})[0]

    return np.concatenate(list(batches()))


def _golden_bound(artifact: Artifact, bytes_of_int8: bytes) -> float:
    """How far the golden cases' logits may lie from the original's: as far as here, with some slack."""
    manifest = artifact.manifest
    if not manifest.golden:
        return 0.0
    pixels = np.stack([case.image(manifest.prepared()) for case in manifest.golden])
    expected = np.stack([case.expected() for case in manifest.golden])
    return GOLDEN_SLACK * float(np.abs(_answers(bytes_of_int8, artifact, pixels) - expected).max())


def has_vnni() -> bool | None:
    """Whether the processor says that it has the instructions; None where there is no way to ask."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return None
    flags = {
        word
        for line in info.read_text(encoding="utf-8").splitlines()
        if line.startswith("flags")
        for word in line.split()
    }
    return bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"})


def _cores() -> int:
    return len(os.sched_getaffinity(0))
