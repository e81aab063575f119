"""ONNX Runtime on the CPU, with every setting that decides its speed stated."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.errors import ArtifactError
from striate.graph import INPUT
from striate.graph.to_onnx import LOGITS
from striate.runtime.engines.setting import Batch, Runner, Setting

FATAL_ONLY = 4  # ONNX Runtime's log level: what goes wrong arrives as an exception


def open_onnx_runtime(artifact: Artifact, setting: Setting) -> Runner:
    """The artifact in a session of its own.  Raises: ArtifactError."""
    session = open_session(artifact.model_bytes, setting.threads_a_call, setting.spinning)

    def run(x: Batch) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([LOGITS], {INPUT: x})[0]
        return logits

    return run


def open_session(model_bytes: bytes, threads: int, spinning: bool) -> ort.InferenceSession:
    """ONNX Runtime on a model's bytes: all graph optimisations on, one layer after the other.

    Raises: ArtifactError.
    """
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
