"""OpenVINO on the CPU, with every setting that decides its speed or its numbers stated."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.errors import ArtifactError
from striate.runtime.engines.setting import Batch, Runner, Setting

FIXED_SIZES = 2  # batch sizes with a compiled form of their own, 3 to 8 % faster; each holds the weights once more
ANY_SIZE = 0


def open_openvino(artifact: Artifact, setting: Setting) -> Runner:
    """The artifact compiled for as many calls at a time as this process's cores allow.  Raises: ArtifactError.

    Compiled for batches of 1 at once, for one more size when it first comes, and for all others together. Each
    caller's thread has requests of its own.
    """
    compiled = _Compiled(artifact.model_bytes, _options(setting))
    own = threading.local()

    def run(x: Batch) -> NDArray[np.float32]:
        size, model = compiled.for_size(len(x))
        requests = own.__dict__.setdefault("requests", {})
        if size not in requests:
            requests[size] = model.create_infer_request()
        results = requests[size].infer({0: np.ascontiguousarray(x)}, share_inputs=True, share_outputs=True)
        logits: NDArray[np.float32] = results[0].copy()  # the next call writes where this one did
        return logits

    return run


def _options(setting: Setting) -> dict[str, Any]:
    """Computed in float32: on a processor with bfloat16 units OpenVINO would round to that if it were not told."""
    calls = max(setting.calls_at_once, len(os.sched_getaffinity(0)) // setting.threads_a_call, 1)
    return {
        "INFERENCE_NUM_THREADS": calls * setting.threads_a_call,
        "NUM_STREAMS": calls,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }


class _Compiled:
    """A model's compiled forms by batch size, made when first asked for."""

    def __init__(self, model_bytes: bytes, options: dict[str, Any]) -> None:
        import openvino

        core = openvino.Core()
        self._read: Callable[[], Any] = lambda: core.read_model(model_bytes)
        self._compile: Callable[[Any], Any] = lambda model: core.compile_model(model, "CPU", options)
        self._forms: dict[int, Any] = {}
        self._lock = threading.Lock()
        try:
            self.for_size(1)
        except RuntimeError as fault:
            reason = " ".join(str(fault).split())[:200]
            raise ArtifactError(f"OpenVINO cannot run the model ({reason}); use the engine onnxruntime") from fault

    def for_size(self, size: int) -> tuple[int, Any]:
        """The form for a batch size, and which: the size itself, or `ANY_SIZE`."""
        with self._lock:
            fixed = len(self._forms.keys() - {ANY_SIZE})
            which = size if size in self._forms or fixed < FIXED_SIZES else ANY_SIZE
            if which not in self._forms:
                model = self._read()
                if which != ANY_SIZE:
                    model.reshape([size, *(int(str(n)) for n in model.input().partial_shape[1:])])
                self._forms[which] = self._compile(model)
            return which, self._forms[which]
