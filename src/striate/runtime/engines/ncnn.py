"""ncnn on the CPU: image by image, with Winograd convolutions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.artifact import Artifact
from striate.errors import ArtifactError, UsageError
from striate.graph import INPUT
from striate.graph.to_onnx import LOGITS
from striate.runtime.engines.ncnn_form import to_ncnn
from striate.runtime.engines.setting import Batch, Runner, Setting


def open_ncnn(artifact: Artifact, setting: Setting) -> Runner:
    """The artifact's network, written for ncnn and loaded; nothing below float32 is allowed.

    Raises: ArtifactError; UsageError on a layer that is not written for ncnn.
    """
    import ncnn

    if artifact.manifest.int8 is not None:
        raise UsageError("ncnn: computes this model's 8-bit integers as float32; use onnxruntime or openvino")
    text, weights = to_ncnn(artifact.network, LOGITS)
    net = ncnn.Net()
    net.opt.num_threads = setting.threads_a_call
    net.opt.use_vulkan_compute = False
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    with tempfile.TemporaryDirectory() as folder:  # from memory, ncnn would keep a pointer and not the weights
        path = Path(folder) / "weights"
        path.write_bytes(weights)
        if net.load_param_mem(text) or net.load_model(str(path)):
            raise ArtifactError("ncnn cannot run the model; use the engine onnxruntime")

    def one(image: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input(INPUT, ncnn.Mat(image))
        fault, result = extractor.extract(LOGITS)
        if fault:
            raise ArtifactError(f"ncnn cannot run the model (code {fault}); use the engine onnxruntime")
        return np.array(result)

    def run(x: Batch) -> NDArray[np.float32]:
        return np.stack([one(image) for image in np.ascontiguousarray(x, np.float32)])

    return run
