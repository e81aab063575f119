"""Shipping jobs: from a trained network to one proved .onnx file, and looking at such a file again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import About, Artifact, golden_case, load, write
from striate.data import Preprocessing, load_part, normalise
from striate.errors import ArtifactError, ProofError, UsageError
from striate.graph import INPUT, Network
from striate.graph.reference import output
from striate.graph.to_onnx import LOGITS, to_bytes, to_onnx
from striate.ops import Array, BatchNorm
from striate.rewrite import Rewritten, rewrite
from striate.runtime import Engine, every_tensor, open_session, self_test
from striate.verify import Cases, Proof, Recheck, Tell, input_cases, prove, prove_shipped, require, silent
from striate.verify.tally import result_allowed, scale_of

GOLDEN_CASES = 4
PROOF_IMAGES = 32
PROOF_SEED = 0
SERVED_BATCH = 4  # as many as keep a network at 224 px within a gigabyte


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was written, and on what evidence."""

    path: Path
    proof: Proof
    rewritten: Rewritten
    bytes: int
    batch_norms_before: int
    batch_norms_after: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What a second look at an artifact found.

    golden_off: largest |logit - recorded float64 logit| of the golden cases; recheck: engine against float64
    proof: against the original network, where that was at hand; recorded: the proof made when it was shipped
    """

    artifact: Artifact
    golden_off: float
    recheck: Recheck
    proof: Proof | None
    recorded: Proof

    @property
    def fault(self) -> str:
        """The first fault found; empty if there is none."""
        return self.recheck.fault or (self.proof.fault if self.proof else "")


def ship(
    network: Network,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    path: Path,
    images: NDArray[np.uint8],
    tell: Tell = silent,
    fitted: tuple[float, float | None] = (1.0, None),
) -> Shipped:
    """Rewrite `network`, prove the result equal, and write it to `path`.

    fitted: the temperature, and the probability below which to abstain, as the manifest is to hold them
    images: uint8 (N, C, H, W), real ones as `data.decode` gives them; the first ones become golden cases.
    Raises: ProofError, naming the layer, where the proof fails: nothing is written then. ArtifactError.
    """
    exact = network.astype(np.float64)
    rewritten = rewrite(exact)
    small = rewritten.network.astype(np.float32)
    cases = cases_of(preprocessing, images[:PROOF_IMAGES])
    engines = _engine(small), _engine(network.astype(np.float32))
    proof = require(prove(exact, rewritten.network, *engines, cases, tell=tell))
    _require_as_served(exact, small, cases, proof)
    pixels = images[:GOLDEN_CASES]
    x = normalise(pixels, preprocessing)
    logits = output(exact, x.astype(np.float64))
    about = About(
        network=network.name,
        classes=classes,
        preprocessing=preprocessing.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        proof=proof.model_dump(mode="json"),
        golden=tuple(golden_case(p, preprocessing, y) for p, y in zip(pixels, logits, strict=True)),
        golden_bound=result_allowed(proof.layers[-1].error_after) * float(scale_of(logits).max()),
        temperature=fitted[0],
        abstain_below=fitted[1],
    )
    write(path, small, about)
    return Shipped(path, proof, rewritten, path.stat().st_size, _batch_norms(network), _batch_norms(small))


def ship_run(run: Path, path: Path, source: str | None = None, tell: Tell = silent) -> Shipped:
    """Ship a finished run, proved on images of `source`, or else on the data it was trained with.

    Raises: RunError, DataError, ProofError, ArtifactError; UsageError where `path` is no .onnx file.
    """
    from striate.jobs.training import prepare, trained_network
    from striate.train.state import Run

    if path.suffix != ".onnx":
        raise UsageError(f"{path}: a shipped model is an .onnx file; name it so")
    folder = Run(run)
    network, classes, preprocessing = trained_network(run), folder.classes(), folder.preprocessing()
    if source is None:
        images = prepare(folder.recipe()).dataset.validation.images
    else:
        images = load_part(source, classes, preprocessing).images
    return ship(network, classes, preprocessing, path, images, tell, folder.fitted())


def verify_file(path: Path, against: Path | None = None, source: str | None = None, tell: Tell = silent) -> Verified:
    """Verify an artifact, against the run it was made from if that is given, on images of `source` too.

    Raises: ArtifactError, RunError, DataError; UsageError for images without a run to compare with.
    """
    if against is None:
        if source is not None:
            raise UsageError("verify: images prove nothing without the network it was made from; add --against RUN")
        return verify(path)
    from striate.jobs.training import trained_network

    manifest = load(path).manifest
    images = None if source is None else load_part(source, manifest.classes, manifest.prepared()).images
    return verify(path, trained_network(against), images, tell)


def verify(
    path: Path, original: Network | None = None, images: NDArray[np.uint8] | None = None, tell: Tell = silent
) -> Verified:
    """Check an artifact again: its golden cases, and its engine against float64, layer by layer.

    original: the network it was made from, to make the whole proof again. images: uint8 (N, C, H, W), the caller's
    own, in addition to the golden ones.
    Raises: ArtifactError on a file that is refused or computes something else than when it was shipped.
    """
    artifact = load(path)
    manifest = artifact.manifest
    preprocessing = manifest.prepared()
    if not manifest.golden or manifest.proof is None:
        raise ArtifactError(f"{path}: holds no proof or no golden cases; ship it again with `striate ship`")
    golden_off = self_test(Engine(artifact), manifest)
    pixels = np.stack([case.image(preprocessing) for case in manifest.golden])
    recorded = np.stack([case.expected() for case in manifest.golden])
    engine = _engine(artifact.network)
    stored = Proof.model_validate(manifest.proof)
    error = stored.layers[-1].error_after
    recheck = prove_shipped(artifact.network, normalise(pixels, preprocessing), recorded, error, engine)
    proof = None
    if original is not None:
        real = pixels if images is None else np.concatenate([pixels, images[:PROOF_IMAGES]])
        proof = _proof_against(original, artifact, real, tell)
    return Verified(artifact, golden_off, recheck, proof, stored)


def _proof_against(original: Network, artifact: Artifact, images: NDArray[np.uint8], tell: Tell) -> Proof:
    """The whole proof again, of the shipped file against the network it was made from."""
    preprocessing = artifact.manifest.prepared()
    if original.input_shape != preprocessing.shape:
        raise UsageError(
            f"{original.name} reads {original.input_shape}, the model reads {preprocessing.shape}; name its own run"
        )
    exact = original.astype(np.float64)
    engines = _engine(artifact.network), _engine(original.astype(np.float32))
    return prove(exact, rewrite(exact).network, *engines, cases_of(preprocessing, images), tell=tell)


def cases_of(preprocessing: Preprocessing, images: NDArray[np.uint8]) -> Cases:
    """The inputs of a proof: the adversarial ones, then the images."""
    low = preprocessing.shift.astype(np.float64)
    high = 255 * preprocessing.scale.astype(np.float64) + low
    return input_cases(preprocessing.shape, low, high, PROOF_SEED, normalise(images, preprocessing))


def _require_as_served(original: Network, shipped: Network, cases: Cases, proof: Proof) -> None:
    """The results once more through the engine as it serves, with every fusion that giving out all tensors prevents.

    Raises: ProofError.
    """
    session = open_session(to_bytes(to_onnx(shipped)), len(os.sched_getaffinity(0)), spinning=False)
    error = proof.layers[-1].error_after

    def serve(x: Array) -> dict[str, Array]:
        return {shipped.output: session.run([LOGITS], {INPUT: x})[0]}

    for _, images in cases.batches((SERVED_BATCH,)):
        found = prove_shipped(shipped, images, output(original, images.astype(np.float64)), error, serve)
        if found.fault:
            raise ProofError(f"{shipped.name}: as the engine serves it, {found.fault}; nothing is shipped")


def _engine(network: Network) -> Callable[[Array], dict[str, Array]]:
    return every_tensor(network, len(os.sched_getaffinity(0)))


def _batch_norms(network: Network) -> int:
    return sum(isinstance(node.op, BatchNorm) for node in network)
