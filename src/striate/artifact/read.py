"""Loading an artifact: every check on the file's bytes first, then a library may parse it.

What the digest proves is that the file is whole and as it was written, not who wrote it: a file made to deceive
carries a right digest. So all that follows holds for such a file too: it can be wrong, but not dangerous.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from striate.artifact.int8 import remove_quantization
from striate.artifact.manifest import DIGEST_CHARS, DIGEST_KEY, MANIFEST_KEY, Manifest, parse
from striate.artifact.pixels import Dtype, remove_cast
from striate.artifact.wire import scan
from striate.errors import ArtifactError, StriateError
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.from_onnx import from_onnx
from striate.graph.to_onnx import BATCH, IR_VERSION, LOGITS, OPSET
from striate.measure.memory import schedule

MAX_BYTES = 2**30
MAX_MANIFEST_CHARS = 2**25  # room for one golden image of 2,048 px a side
MAX_ATTRIBUTE = 2**12  # kernels, strides, pads, groups: beyond it, even the arithmetic of shapes takes its time
MAX_ALIVE_BYTES = 2**29  # of feature maps at once for one image: 18 times VGG-16's at 224 px
MAX_MACS = 2**38  # of one image, 18 times VGG-16's at 224 px: ten seconds of two cores
OP_TYPES = frozenset(
    {
        "Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv",
        "ConvTranspose", "Div", "Elu", "Erf", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "HardSigmoid",
        "HardSwish", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "LogSoftmax",
        "MatMul", "MaxPool", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "ReduceL2", "ReduceMax", "ReduceMean",
        "ReduceSum", "Relu", "Reshape", "Resize", "Selu", "Sigmoid", "Slice", "Softmax", "Softplus", "Softsign",
        "Sub", "Sum", "Tanh", "Transpose",
    }
)  # fmt: skip
"""What our writer writes; a test compares it with the layers."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A loaded artifact: the network with its weights, what the file says about it, and the file's bytes."""

    network: Network
    manifest: Manifest
    model_bytes: bytes


def load(path: Path) -> Artifact:
    """Load and check an artifact.

    In this order: a regular file of at most `MAX_BYTES` (no symbolic link); digest; a bounded walk over its bytes
    (`wire.scan`); interface, opset and operators; manifest and graph digest; the network with its shapes; weights
    finite and variances not negative. Nothing outside the file is read.
    Raises: ArtifactError in one line that names the file.
    """
    try:
        return checked(_read(path))
    except StriateError as fault:
        raise ArtifactError(f"{path}: {fault}") from None
    except RecursionError:
        raise ArtifactError(f"{path}: the manifest is nested too deeply; ship the network again") from None


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        reason = "is a symbolic link" if path.is_symlink() else fault.strerror
        raise ArtifactError(f"cannot be opened ({reason}); give the path of the model file itself") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise ArtifactError("is no regular file; give the path of the model file itself")
    with os.fdopen(handle, "rb") as file:
        _require_size(status.st_size)
        return file.read(status.st_size)


def _require_size(count: int) -> None:
    if count > MAX_BYTES:
        raise ArtifactError(f"has {count:,} bytes, more than {MAX_BYTES:,}; this is no artifact of striate")


def checked(data: bytes) -> Artifact:
    """The artifact in a file's bytes.  Raises: StriateError in one line, without the file's name."""
    _require_size(len(data))
    body, digest = data[:-DIGEST_CHARS], data[-DIGEST_CHARS:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ArtifactError(
            "truncated, altered, or no artifact of striate (the digest at its end does not match); copy it again from "
            "where it was shipped, or ship the network again"
        )
    graph_sha256 = hashlib.sha256(scan(data)).hexdigest()
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # noqa: BLE001 - protobuf's errors differ between its implementations
        raise ArtifactError("not an ONNX model; ship the network again") from None
    dtype, has_integers = _check_model(model)
    manifest = _manifest(model)
    if has_integers != (manifest.int8 is not None):
        raise ArtifactError("graph and manifest differ on whether it computes with integers; ship the network again")
    if manifest.graph_sha256 != graph_sha256:
        raise ArtifactError("the graph is not the one that the manifest describes; ship the network again")
    network = from_onnx(model)
    _check_network(network, manifest, dtype)
    return Artifact(network, manifest, data)


def _check_model(model: onnx.ModelProto) -> tuple[Dtype, bool]:
    """Versions, interface and operators are those our writer pins.

    Takes out the input's Cast and the rounding to integers; returns the input's type and whether there was rounding.
    """
    opsets = [(o.domain, o.version) for o in model.opset_import]
    if (model.ir_version, opsets) != (IR_VERSION, [("", OPSET)]):
        raise ArtifactError(
            f"IR version {model.ir_version} with operators {opsets}; this version of striate loads IR {IR_VERSION}, "
            f"opset {OPSET}: ship the network again"
        )
    graph = model.graph
    ends = [v.name for v in graph.input], [v.name for v in graph.output]
    if ends != ([INPUT], [LOGITS]):
        raise ArtifactError(f"inputs and outputs are {ends}; an artifact has {INPUT!r} and {LOGITS!r}")
    dtype = remove_cast(model)
    has_integers = remove_quantization(model)
    if foreign := sorted({str(node.op_type) for node in graph.node} - OP_TYPES):
        raise ArtifactError(f"operators {foreign} are not allowed; an artifact uses {', '.join(sorted(OP_TYPES))}")
    numbers = [i for n in graph.node for a in n.attribute for i in (a.i, *a.ints)]
    if max(map(abs, numbers), default=0) > MAX_ATTRIBUTE:
        raise ArtifactError(f"a kernel, stride, pad or group is beyond {MAX_ATTRIBUTE:,}; ship the network again")
    written = [INPUT, *(name for n in graph.node for name in n.output), *(t.name for t in graph.initializer)]
    if len(written) != len(set(written)):
        raise ArtifactError("two tensors have the same name; ship the network again")
    if any(t.data_type != onnx.TensorProto.FLOAT for t in graph.initializer):
        raise ArtifactError("a weight is not float32; ship the network again")
    return dtype, has_integers


def _manifest(model: onnx.ModelProto) -> Manifest:
    keys = [entry.key for entry in model.metadata_props]
    if keys != [MANIFEST_KEY, DIGEST_KEY]:
        raise ArtifactError(f"metadata keys are {keys}; an artifact has {MANIFEST_KEY} and {DIGEST_KEY}")
    text = model.metadata_props[0].value
    if len(text) > MAX_MANIFEST_CHARS:
        raise ArtifactError(f"the manifest has {len(text):,} characters, more than {MAX_MANIFEST_CHARS:,}")
    return parse(text)


def _check_network(network: Network, manifest: Manifest, dtype: Dtype) -> None:
    shapes = infer_shapes(network)
    told = tuple((end.name, end.dtype, end.shape) for end in (manifest.input, manifest.output))
    result = (BATCH, *shapes[network.output])
    got = ((INPUT, dtype, (BATCH, *network.input_shape)), (LOGITS, "float32", result))
    if told != got or network.input_shape != manifest.prepared().shape or result != (BATCH, len(manifest.classes)):
        raise ArtifactError(f"the manifest describes {told}, the graph is {got}; ship the network again")
    most = max(schedule(network), key=lambda moment: moment.bytes)
    if most.bytes > MAX_ALIVE_BYTES:
        raise ArtifactError(
            f"{most.layer}: {most.bytes:,} bytes of maps are alive for one image, more than {MAX_ALIVE_BYTES:,}"
        )
    macs = sum(node.op.macs(*(shapes[name] for name in node.inputs)) for node in network)
    if macs > MAX_MACS:
        raise ArtifactError(f"takes {macs:,} MACs an image, more than {MAX_MACS:,}; ship a smaller network or input")
    for name, array in network.weights.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"weight {name!r} holds NaN or infinity; train the network again")
    for node in network:
        if "running_var" in node.weights and (network.weights[node.weights["running_var"]] < 0).any():
            raise ArtifactError(f"{node.name}: a variance is negative; train the network again")
