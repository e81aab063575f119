"""OpenVINO on the CPU, with every setting that decides its speed or its numbers stated."""

from __future__ import annotations

import os
import threading

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.errors import ArtifactError
from striate.runtime.engines.setting import Batch, Runner, Setting


def open_openvino(artifact: Artifact, setting: Setting) -> Runner:
    """The artifact compiled for as many calls at a time as this process's cores allow.  Raises: ArtifactError.

    Each caller's thread has a request of its own. Computed in float32: on a processor with bfloat16 units OpenVINO
    would round to that if it were not told.
    """
    import openvino

    calls = max(setting.calls_at_once, len(os.sched_getaffinity(0)) // setting.threads_a_call, 1)
    options = {
        "INFERENCE_NUM_THREADS": calls * setting.threads_a_call,
        "NUM_STREAMS": calls,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(artifact.model_bytes), "CPU", options)
    except RuntimeError as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ArtifactError(f"OpenVINO cannot run the model ({reason}); use the engine onnxruntime") from fault
    own = threading.local()

    def run(x: Batch) -> NDArray[np.float32]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        results = own.request.infer({0: np.ascontiguousarray(x)}, share_inputs=True, share_outputs=True)
        logits: NDArray[np.float32] = results[0].copy()  # the next call writes where this one did
        return logits

    return run
