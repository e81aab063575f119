"""Shipping jobs: from a trained network, a run's or a stranger's file's, to one proved .onnx file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import About, Dtype, golden_case, model_of, write
from striate.choice import Choice
from striate.data import Preprocessing
from striate.errors import DataError, UsageError
from striate.graph import Network
from striate.graph.reference import output
from striate.graph.to_onnx import to_bytes
from striate.jobs import proving
from striate.jobs.strangers import Described, logits_of, read_stranger
from striate.ops import BatchNorm
from striate.rewrite import CONSTANT, DEFAULT, Rewritten, rewrite
from striate.verify import Proof, Tell, prove, require, silent
from striate.verify.tally import scale_of
from striate.verify.tolerance import result_allowed

GOLDEN_CASES = 4
GOLDEN_BYTES = 2**22  # of pixels, with one image at least: they travel as text in the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a network is shipped.

    dtype: what the file's input takes, uint8 pixels or normalised float32
    constant_channel: fold norms through zero padding with a constant channel, which is exact and slower
    proof_images: how many images a proof takes; as many as the network's cost suggests if None
    """

    dtype: Dtype = "uint8"
    constant_channel: bool = False
    proof_images: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("uint8", "float32"):
            raise UsageError(f"ship: the file cannot take {self.dtype}; use uint8 or float32")

    @property
    def passes(self) -> tuple[str, ...]:
        """The rewrites to run."""
        return (*DEFAULT, *CONSTANT) if self.constant_channel else DEFAULT


_AS_USUAL = How()


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was written, on what evidence, and what was decided for the caller."""

    path: Path
    proof: Proof
    rewritten: Rewritten
    bytes: int
    batch_norms_before: int
    batch_norms_after: int
    dtype: Dtype
    choices: tuple[Choice, ...]


def ship(
    network: Network,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    path: Path,
    images: NDArray[np.uint8],
    tell: Tell = silent,
    fitted: tuple[float, float | None] = (1.0, None),
    how: How = _AS_USUAL,
) -> Shipped:
    """Rewrite `network`, prove the result equal, and write it to `path`.

    fitted: the temperature, and the probability below which to abstain, as the manifest is to hold them
    images: uint8 (N, C, H, W), real ones as `data.decode` gives them; the first ones become golden cases.
    Raises: ProofError, naming the layer, where the proof fails: nothing is written then. ArtifactError; DataError
    without images.
    """
    if not len(images):
        raise DataError(f"{network.name}: there are no images to prove it on; name some with --images")
    original, choices = logits_of(proving.as_read(network, preprocessing, how.dtype))
    count, counted = proving.image_count(original, how.proof_images)
    rewritten = rewrite(original, how.passes)
    small = rewritten.network.astype(np.float32)
    proof = prove(
        original,
        rewritten.network,
        proving.engine(small),
        proving.engine(original.astype(np.float32)),
        proving.cases_of(preprocessing, images[:count], how.dtype),
        proving.batch_sizes(original),
        tell,
        proving.serving(to_bytes(model_of(small, how.dtype)), how.dtype),
    )
    about = _about(original, classes, preprocessing, images[: golden_count(preprocessing)], require(proof), how.dtype)
    about = about.model_copy(update={"temperature": fitted[0], "abstain_below": fitted[1]})
    write(path, small, about, how.dtype)
    norms = _batch_norms(network), _batch_norms(small)
    return Shipped(path, proof, rewritten, path.stat().st_size, *norms, how.dtype, (*choices, *counted))


def ship_named(
    net: str, path: Path, described: Described, source: str | None, tell: Tell = silent, how: How = _AS_USUAL
) -> Shipped:
    """Ship what `net` names: a run folder, which knows all about itself, or a network that was not trained here.

    Raises: UsageError for descriptions of a run; else as `ship_run` and `ship_stranger`.
    """
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: a shipped model is an .onnx file; name it so")
    if not Path(net).is_dir():
        return ship_stranger(net, path, described, source, tell, how)
    if described != Described():
        raise UsageError(f"{net}: a run knows its classes, its input and its preprocessing; leave these options out")
    return ship_run(Path(net), path, source, tell, how)


def ship_run(
    run: Path,
    path: Path,
    source: str | None = None,
    tell: Tell = silent,
    how: How = _AS_USUAL,
) -> Shipped:
    """Ship a finished run, proved on images of `source`, or else on the data it was trained with.

    Raises: RunError, DataError, ProofError, ArtifactError.
    """
    from striate.jobs.training import prepare, trained_network
    from striate.train.run.state import Run

    folder = Run(run)
    network, classes, preprocessing = trained_network(run), folder.classes(), folder.preprocessing()
    if source is None:
        images = prepare(folder.recipe()).dataset.validation.images
    else:
        images = _images(source, network, classes, preprocessing, how)
    return ship(network, classes, preprocessing, path, images, tell, folder.fitted(), how)


def ship_stranger(
    net: str,
    path: Path,
    described: Described,
    source: str | None,
    tell: Tell = silent,
    how: How = _AS_USUAL,
) -> Shipped:
    """Ship a network that was not trained here: an .onnx file, or what "package.module:callable" returns.

    described: what such a network does not say about itself; source: images to prove it on
    Raises: UsageError that lists all that is missing; CaptureError, DataError, ProofError, ArtifactError.
    """
    read = read_stranger(net, described, has_images=source is not None)
    images = _images(str(source), read.network, read.classes, read.preprocessing, how)
    shipped = ship(read.network, read.classes, read.preprocessing, path, images, tell, how=how)
    return replace(shipped, choices=(*read.choices, *shipped.choices))


def golden_count(preprocessing: Preprocessing) -> int:
    """How many images become golden cases: fewer of large ones."""
    return max(1, min(GOLDEN_CASES, GOLDEN_BYTES // prod(preprocessing.shape)))


def _images(
    source: str, network: Network, classes: tuple[str, ...], preprocessing: Preprocessing, how: How
) -> NDArray[np.uint8]:
    count, _ = proving.image_count(network, how.proof_images)
    return proving.images_of(source, classes, preprocessing, count)


def _about(
    original: Network,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    pixels: NDArray[np.uint8],
    proof: Proof,
    dtype: Dtype,
) -> About:
    logits = output(original, proving.inputs_of(pixels, preprocessing, dtype).astype(np.float64))
    return About(
        network=original.name,
        classes=classes,
        preprocessing=preprocessing.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        proof=proof.model_dump(mode="json"),
        golden=tuple(golden_case(p, preprocessing, y) for p, y in zip(pixels, logits, strict=True)),
        golden_bound=result_allowed(proof.layers[-1].error_after) * float(scale_of(logits).max()),
    )


def _batch_norms(network: Network) -> int:
    return sum(isinstance(node.op, BatchNorm) for node in network)
