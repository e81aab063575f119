"""An artifact on ONNX Runtime, with every setting that decides speed stated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from striate.artifact import Artifact, Manifest, load
from striate.data.preprocess import normalise
from striate.errors import ArtifactError, DataError, UsageError
from striate.graph import INPUT
from striate.graph.to_onnx import LOGITS

FATAL_ONLY = 4  # ONNX Runtime's log level: what goes wrong arrives as an exception


class Engine:
    """Computes logits with ONNX Runtime on the CPU; may be called from several threads at once.

    threads: for one batch; the cores that this process may use by default
    spinning: waiting threads keep their cores busy. Fastest for one caller at a time; off where others, such as
        decoding threads, need the cores.
    All graph optimisations are on. Layers run one after the other.
    Raises: ArtifactError on a model file that is refused; UsageError on a number of threads below 1.
    """

    def __init__(self, model: Artifact | Path, threads: int | None = None, *, spinning: bool = False) -> None:
        self.artifact = load(model) if isinstance(model, Path) else model
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        self.preprocessing = self.artifact.manifest.prepared()
        if self.threads < 1:
            raise UsageError(f"engine: threads is {threads}; use at least 1")
        self._session = open_session(self.artifact.model_bytes, self.threads, spinning)

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself."""
        return self.artifact.manifest

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits (N, classes) of normalised images (N, C, H, W), both float32.

        Raises: DataError on another type or shape.
        """
        if x.dtype != np.float32 or x.ndim != 4 or x.shape[1:] != self.preprocessing.shape:
            raise DataError(
                f"engine: got {x.dtype} {x.shape}; expected float32 (N, {str(self.preprocessing.shape)[1:]}, normalised"
            )
        if not len(x):
            return np.empty((0, len(self.manifest.classes)), np.float32)
        (result,) = self._session.run([LOGITS], {INPUT: x})
        logits: NDArray[np.float32] = result
        return logits

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (N, classes) of uint8 images (N, C, H, W), at the temperature that the manifest states."""
        return probabilities(self.logits(normalise(images, self.preprocessing)), self.manifest.temperature)


def probabilities(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of each row of z = logits / temperature, in float64: exp(z_k - max) / sum of exp(z_j - max).

    Shapes: (N, classes). Source of the temperature: Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    """
    shifted = logits.astype(np.float64) / temperature
    shifted -= shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    result: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return result


def open_session(model_bytes: bytes, threads: int, spinning: bool) -> ort.InferenceSession:
    """ONNX Runtime on a model's bytes, with every setting that decides speed stated.  Raises: ArtifactError."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    try:
        return ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # ONNX Runtime's exceptions share no base but Exception
        reason = " ".join(str(fault).split())[:200]
        raise ArtifactError(f"ONNX Runtime cannot run the model ({reason}); ship the network again") from fault
