"""Looking at a shipped file again: it is whole, the engine computes it, and it is what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact, load
from striate.errors import ArtifactError, UsageError
from striate.graph import Network
from striate.jobs import proving
from striate.jobs.networks import read_network
from striate.jobs.strangers import logits_of, reading_rgb
from striate.rewrite import DEFAULT, PASSES, rewrite
from striate.runtime import Engine, self_test
from striate.verify import Proof, Recheck, Tell, prove, prove_shipped, silent


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


def verify_file(
    path: Path,
    against: str | None = None,
    source: str | None = None,
    tell: Tell = silent,
    proof_images: int | None = None,
    order: str = "rgb",
) -> Verified:
    """Verify an artifact, also against the run or file it was made from if that is given, on images of `source` too.

    order: "bgr" where `against` reads its colours so
    Raises: ArtifactError, RunError, CaptureError, DataError.
    """
    artifact = load(path)
    manifest, images = artifact.manifest, None
    if source is not None:
        count, _ = proving.image_count(artifact.network, proof_images)
        images = proving.images_of(source, manifest.classes, manifest.prepared(), count)
    original = None if against is None else read_network(against, artifact.network.input_shape)
    if original is not None and order == "bgr":
        original = reading_rgb(original)
    return verify(artifact, path, original, images, tell)


def verify(
    artifact: Artifact,
    path: Path,
    original: Network | None = None,
    images: NDArray[np.uint8] | None = None,
    tell: Tell = silent,
) -> Verified:
    """Check an artifact again: its golden cases, and its engine against float64, layer by layer.

    original: the network it was made from, to make the whole proof again. images: uint8 (N, C, H, W), the caller's
    own, in addition to the golden ones.
    Raises: ArtifactError on a file that computes something else than when it was shipped.
    """
    manifest = artifact.manifest
    preprocessing = manifest.prepared()
    if manifest.int8 is not None:
        raise ArtifactError(f"{path}: computes with 8-bit integers, which is not exact; verify the float32 model")
    if not manifest.golden or manifest.proof is None:
        raise ArtifactError(f"{path}: holds no proof or no golden cases; ship it again with `striate ship`")
    golden_off = self_test(Engine(artifact), manifest)
    pixels = np.stack([case.image(preprocessing) for case in manifest.golden])
    real = pixels if images is None else np.concatenate([pixels, images])
    stored = Proof.model_validate(manifest.proof)
    recheck = prove_shipped(
        artifact.network,
        proving.inputs_of(real, preprocessing, manifest.input.dtype),
        np.stack([case.expected() for case in manifest.golden]),
        stored.layers[-1].error_after,
        proving.engine(artifact.network),
    )
    proof = None if original is None else _proof_against(original, artifact, real, tell)
    return Verified(artifact, golden_off, recheck, proof, stored)


def _proof_against(network: Network, artifact: Artifact, images: NDArray[np.uint8], tell: Tell) -> Proof:
    """The whole proof again, of the shipped file against the network it was made from."""
    manifest = artifact.manifest
    preprocessing, dtype = manifest.prepared(), manifest.input.dtype
    if network.input_shape != preprocessing.shape:
        raise UsageError(
            f"{network.name} reads {network.input_shape}, the model reads {preprocessing.shape}; name its own run"
        )
    original, _ = logits_of(proving.as_read(network, preprocessing, dtype))
    return prove(
        original,
        _rewritten_as(artifact.network, original),
        proving.engine(artifact.network),
        proving.engine(original.astype(np.float32)),
        proving.cases_of(preprocessing, images, dtype),
        proving.batch_sizes(original),
        tell,
        proving.serving(artifact.model_bytes, dtype),
    )


def _rewritten_as(shipped: Network, original: Network) -> Network:
    """`original`, rewritten by the passes that gave the layers of `shipped`."""
    by_default = rewrite(original, DEFAULT).network
    layers = [node.name for node in shipped]
    if [node.name for node in by_default] == layers:
        return by_default
    return rewrite(original, tuple(PASSES)).network
