"""Probing jobs: a run or a shipped model with real images, through the probes that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from striate.artifact import load as load_artifact
from striate.data import Preprocessing, load, load_part, normalise
from striate.errors import UsageError
from striate.graph import Network
from striate.ops import Array
from striate.probe import activations, batch_norm, consistency, equivariance, evidence, recalibrate, receptive_field

MOST_IMAGES = 64
RECALIBRATION_IMAGES = 2048


class Probe(Protocol):
    """What every probe returns."""

    @property
    def images(self) -> int:
        """How many images it rests on."""

    def lines(self) -> list[str]:
        """A short table and its reading."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""


PROBES: Mapping[str, Callable[[Network, Array], Probe]] = MappingProxyType({
    "equivariance": equivariance,
    "consistency": consistency,
    "receptive-field": receptive_field,
    "batch-norm": batch_norm,
    "activations": activations,
    "evidence": evidence,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A trained network with what it expects of images; data: what it was trained on, empty where not known."""

    network: Network
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    data: str


def read_target(target: Path) -> Target:
    """A run folder or a shipped .onnx file.  Raises: RunError, ArtifactError; UsageError where it is neither."""
    if target.is_dir():
        from striate.jobs.training import trained_network
        from striate.train.state import Run

        run = Run(target)
        return Target(trained_network(target), run.classes(), run.preprocessing(), run.recipe().data)
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: is neither a run folder nor an .onnx file; give one of them")
    found = load_artifact(target)
    return Target(found.network, found.manifest.classes, found.manifest.prepared(), "")


def probe(target: Path, data: str = "", names: Sequence[str] = (), images: int = MOST_IMAGES) -> dict[str, Probe]:
    """Run the named probes, all by default, on the first test images, the classes in turn.

    data: by default what a run was trained on.  Raises: UsageError on an unknown name, or where data is not known.
    """
    if unknown := [name for name in names if name not in PROBES]:
        raise UsageError(f"probe {unknown[0]!r} is not known; use {', '.join(PROBES)}")
    read = read_target(target)
    source = _source(target, read, data)
    part = load_part(source, read.classes, read.preprocessing)
    x = normalise(part.images[in_turn(part.labels)[:images]], read.preprocessing)
    return {name: run(read.network, x) for name, run in PROBES.items() if not names or name in names}


def recalibrated(target: Path, data: str = "", images: int = RECALIBRATION_IMAGES) -> tuple[Network, Network, Array]:
    """The network before and after, and the training images that were used, normalised (N, C, H, W)."""
    read = read_target(target)
    prepared = read.preprocessing
    dataset, _ = load(
        _source(target, read, data), image_size=(prepared.height, prepared.width), channels=prepared.channels,
        fit=prepared.fit,
    )  # fmt: skip
    order = in_turn(dataset.train.labels)[:images]
    x = normalise(dataset.train.images[order], prepared)
    return read.network, recalibrate(read.network, x), x


def in_turn(labels: Array) -> Array:
    """An order of the images in which the classes take turns."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, turn))


def _source(target: Path, read: Target, data: str) -> str:
    if not (data or read.data):
        raise UsageError(f"{target}: does not say what it was trained on; name the images, as in {target} photos/test")
    return data or read.data
