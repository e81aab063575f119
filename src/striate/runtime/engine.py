"""An artifact in an engine: logits and probabilities, with every setting that decides speed stated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact, Manifest, load
from striate.errors import DataError
from striate.runtime.engines import Setting, open_runner


class Engine:
    """Computes logits on the CPU; may be called from several threads at once.

    threads: for one batch; the cores that this process may use by default
    spinning, engine, part_images: as in `Setting`; ONNX Runtime, all threads in each layer, by default
    Raises: ArtifactError on a model file that is refused; UsageError on a setting that cannot be.
    """

    def __init__(
        self,
        model: Artifact | Path,
        threads: int | None = None,
        *,
        spinning: bool = False,
        engine: str = "onnxruntime",
        part_images: int | None = None,
    ) -> None:
        self.artifact = load(model) if isinstance(model, Path) else model
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        self.preprocessing = self.artifact.manifest.prepared()
        self.setting = Setting(engine, self.threads, spinning, part_images)
        self._run = open_runner(self.artifact, self.setting)

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself."""
        return self.artifact.manifest

    def logits(self, x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits (N, classes), float32, of what the file's input takes for images (N, C, H, W).

        x: as `Manifest.input_of` gives it: uint8 pixels, or normalised float32.
        Raises: DataError on another type or shape.
        """
        wanted = self.manifest.input.dtype
        if x.dtype != wanted or x.ndim != 4 or x.shape[1:] != self.preprocessing.shape:
            how = "pixels" if wanted == "uint8" else "normalised"
            raise DataError(
                f"engine: got {x.dtype} {x.shape}; expected {wanted} (N, {str(self.preprocessing.shape)[1:]}, {how}"
            )
        if not len(x):
            return np.empty((0, len(self.manifest.classes)), np.float32)
        return self._run(x)

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (N, classes) of uint8 images (N, C, H, W), at the temperature that the manifest states."""
        return probabilities(self.logits(self.manifest.input_of(images)), self.manifest.temperature)


def probabilities(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of each row of z = logits / temperature, in float64: exp(z_k - max) / sum of exp(z_j - max).

    Shapes: (N, classes). Source of the temperature: Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    """
    shifted = logits.astype(np.float64) / temperature
    shifted -= shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return result
