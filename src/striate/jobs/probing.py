"""Probing jobs: a trained network, wherever it comes from, with real images, through the probes that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from striate.artifact import load as load_artifact
from striate.artifact.manifest import MANIFEST_KEY
from striate.choice import Choice
from striate.data import Preprocessing, normalise
from striate.data.find import find
from striate.data.names import encode, natural_sorted
from striate.data.raw import WHOLE, read, take
from striate.errors import UsageError
from striate.graph import Network
from striate.jobs.spelled import CALLABLE, call
from striate.ops import Array, Shape
from striate.probe import (
    EvidenceProbe,
    activations,
    batch_norm,
    consistency,
    covariate_shift,
    equivariance,
    evidence,
    receptive_field,
)
from striate.verify import Tell, silent

MOST_IMAGES = 64


class Probe(Protocol):
    """What every probe returns."""

    @property
    def images(self) -> int:
        """How many images it rests on."""

    def lines(self) -> list[str]:
        """A short table and its reading."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""


OF_IMAGES: Mapping[str, Callable[[Network, Array], Probe]] = MappingProxyType({
    "equivariance": equivariance,
    "consistency": consistency,
    "receptive-field": receptive_field,
    "batch-norm": batch_norm,
    "activations": activations,
    "evidence": evidence,
})  # fmt: skip
OF_THE_RUN = "covariate-shift"
"""The one that looks at no images, but at what training has recorded."""
PROBES = (*OF_IMAGES, OF_THE_RUN)


@dataclass(frozen=True, slots=True)
class Target:
    """A trained network with what it expects of images.

    classes, data: what it was trained on; empty where not known
    shift: the rows of covariate shift that its training recorded; choices: what had to be decided
    """

    network: Network
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    data: str = ""
    shift: tuple[Mapping[str, Any], ...] = ()
    choices: tuple[Choice, ...] = ()


def read_target(
    target: str, input_shape: Shape | None = None, mean: Sequence[float] = (), std: Sequence[float] = ()
) -> Target:
    """A run folder, a shipped .onnx file, anyone's .onnx file, or "package.module:callable" that returns a module.

    input_shape: (C, H, W), where the network leaves its size open. mean, std: of each channel, 1 being white; where
    nobody says them, 0 and 1.
    Raises: RunError, ArtifactError, CaptureError; UsageError where it is none of these, or says itself what was given.
    """
    path = Path(target)
    if path.is_dir() or (path.suffix == ".onnx" and _is_shipped(path)):
        if input_shape or mean or std:
            raise UsageError(f"{target}: says itself what it reads; leave out --input, --mean and --std")
        return _run(path) if path.is_dir() else _artifact(path)
    if path.suffix != ".onnx" and not CALLABLE.fullmatch(target):
        raise UsageError(f"{target}: is no run folder, no .onnx file and no package.module:callable; give one of them")
    return _foreign(_captured(target, input_shape), mean, std)


def probe(
    target: Target, data: str = "", names: Sequence[str] = (), images: int = MOST_IMAGES, tell: Tell = silent
) -> dict[str, Probe]:
    """Run the named probes, all by default, on the first test images, the classes in turn.

    data: by default what a run was trained on.  Raises: UsageError on an unknown name, or where data is not known.
    """
    if unknown := [name for name in names if name not in PROBES]:
        raise UsageError(f"probe {unknown[0]!r} is not known; use {', '.join(PROBES)}")
    wanted = [name for name in PROBES if not names or name in names]
    of_images = [name for name in wanted if name in OF_IMAGES]
    x = normalise(_test_images(target, data, images), target.preprocessing) if of_images else np.zeros(0)
    found: dict[str, Probe] = {}
    for done, name in enumerate(of_images):
        found[name] = _named(OF_IMAGES[name](target.network, x), target.classes)
        tell(done + 1, len(of_images))
    if OF_THE_RUN in wanted:
        found[OF_THE_RUN] = covariate_shift(target.network.name, target.shift)
    return found


def in_turn(labels: Array) -> Array:
    """An order of the images in which the classes take turns."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return np.lexsort((labels, turn))


def source_of(target: Target, data: str) -> str:
    """Where images come from: `data`, or else what the network was trained on.  Raises: UsageError."""
    if not (data or target.data):
        raise UsageError(f"{target.network.name}: does not say what it was trained on; name the images as DATA")
    return data or target.data


def _named(found: Probe, classes: tuple[str, ...]) -> Probe:
    """The probe, its answer called by the name of its class where that is known."""
    if isinstance(found, EvidenceProbe) and found.answer is not None and classes:
        return replace(found, label=classes[found.answer])
    return found


def _is_shipped(path: Path) -> bool:
    """Whether the file bears the key of our manifest; what is in it is checked when it is read."""
    try:
        return MANIFEST_KEY.encode() in path.read_bytes()
    except OSError as fault:
        raise UsageError(f"{path}: cannot be read ({fault.strerror}); check the path") from None


def _run(folder: Path) -> Target:
    from striate.jobs.training import trained_network
    from striate.train.norms.shift import recorded
    from striate.train.run.state import Run

    run = Run(folder)
    network = trained_network(folder)
    return Target(network, run.preprocessing(), run.classes(), run.recipe().data, recorded(folder))


def _artifact(path: Path) -> Target:
    found = load_artifact(path)
    return Target(found.network, found.manifest.prepared(), found.manifest.classes)


def _captured(target: str, input_shape: Shape | None) -> Network:
    """The network of a foreign file or of a torch module; of the module, also what striate does not know."""
    if not CALLABLE.fullmatch(target):
        from striate.graph.from_onnx import from_onnx

        return replace(from_onnx(Path(target), input_shape), name=Path(target).stem)
    if input_shape is None:
        raise UsageError(f"{target}: the size of the input is not known; give it, as in --input 3x224x224")
    from striate.graph.from_torch import capture

    return capture(call(target), input_shape, name=target, strict=False)


def _foreign(network: Network, mean: Sequence[float], std: Sequence[float]) -> Target:
    if len(network.input_shape) != 3:
        raise UsageError(f"{network.name}: reads {network.input_shape}, and images are (channels, height, width)")
    channels, height, width = network.input_shape
    values = {"mean": tuple(mean) or (0.0,) * channels, "std": tuple(std) or (1.0,) * channels}
    choices = tuple(
        Choice(name, value, f"nothing says what it was trained with; give --{name} for other pixels than 0 to 1")
        for name, value in values.items()
        if not (mean if name == "mean" else std)
    )
    return Target(network, Preprocessing(channels, height, width, "crop", **values), choices=choices)


def _test_images(target: Target, data: str, count: int) -> Array:
    """The first images of the test part, the classes in turn, uint8 (N, C, H, W); only these are decoded."""
    source = source_of(target, data)
    found = find(source)
    raw = found.parts.get("test") or found.parts.get(WHOLE)
    if raw is None:
        raise UsageError(f"{source}: has {', '.join(found.parts) or 'no part'} but no test part; name one")
    classes = target.classes or found.classes or natural_sorted(raw.class_names.tolist())
    order = in_turn(encode(raw.class_names, classes, found.source))[:count]
    part = read(take(raw, np.sort(order)), classes, target.preprocessing, found.source)
    return part.images[order.argsort().argsort()]
