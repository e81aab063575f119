"""Reading ONNX files into a `Network`: our own, and other exporters' as far as their operators are layers here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types

from striate.errors import CaptureError, GeometryError, ShapeError
from striate.graph.network import Network
from striate.graph.onnx_constants import FOLDS, array, fold
from striate.graph.onnx_layers import LAYERS
from striate.graph.onnx_reading import Reading
from striate.ops import Array, Shape


def from_onnx(model: onnx.ModelProto | Path, input_shape: Shape | None = None) -> Network:
    """The network in `model`, with its weights.

    Layers are named after the tensors they write; the layer behind the graph's output, whose tensor bears an
    interface name such as "logits", after its node. Weights keep their initialisers' names. The batch size is
    free whatever the file says. What several ONNX nodes spell becomes one layer where a layer says it: a dense
    layer and its bias, silu, hard_swish, a global pool and its flattening. A factor and a shift for each channel
    become a batch normalisation of mean 0 and variance 1 with eps 0.
    input_shape: (C, H, W) of one image, needed where the file leaves a size open.
    Raises: CaptureError that names the node, its operator, and what is supported.
    """
    if isinstance(model, Path):
        model = _load(model)
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise CaptureError("onnx: the model holds functions, training graphs or sparse weights; export it without them")
    graph = model.graph
    _check_text(graph)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    constants = {t.name: array(t) for t in graph.initializer}
    entry, shape = _entry(graph, constants, input_shape)
    if len(graph.output) != 1:
        names = ", ".join(o.name for o in graph.output)
        raise CaptureError(f"onnx: the model has {len(graph.output)} outputs ({names}); export it with one")
    reading = Reading(graph, opset, constants, entry, shape)
    for node in graph.node:
        _read(reading, node)
    return reading.network(graph.output[0].name)


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as fault:
        raise CaptureError(f"{path}: cannot be read ({fault.strerror}); check the path") from None
    except DecodeError:
        raise CaptureError(f"{path}: not an ONNX file, or a damaged one; export or copy it again") from None


def _entry(
    graph: onnx.GraphProto, constants: dict[str, Array], given: Shape | None
) -> tuple[onnx.ValueInfoProto, Shape]:
    """The one input that is no weight, and the shape of one image in it."""
    entries = [i for i in graph.input if i.name not in constants]
    if len(entries) != 1:
        names = ", ".join(i.name for i in entries) or "none"
        raise CaptureError(f"onnx: the model has {len(entries)} inputs ({names}); a network has one, the images")
    (entry,) = entries
    dims = [d.dim_value for d in entry.type.tensor_type.shape.dim][1:]
    if given is None and (not dims or min(dims) < 1):
        raise CaptureError(
            f"onnx: input {entry.name!r} leaves its size open ({', '.join(map(str, _dims(entry)))}); "
            "pass input_shape=(channels, height, width)"
        )
    shape = tuple(given or dims)
    if dims and (len(shape) != len(dims) or any(d > 0 and d != s for d, s in zip(dims, shape, strict=True))):
        raise CaptureError(
            f"onnx: input {entry.name!r} is {tuple(_dims(entry))}, which input_shape={shape} contradicts"
        )
    return entry, shape


def _dims(entry: onnx.ValueInfoProto) -> Sequence[int | str]:
    return [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in entry.type.tensor_type.shape.dim]


def _read(reading: Reading, node: onnx.NodeProto) -> None:
    if reading.is_done(node):
        return
    if node.op_type in FOLDS and reading.is_constant(node):
        reading.constants[node.output[0]] = fold(reading, node)
        return
    reader = LAYERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if reader is None:
        domain = f"{node.domain}." if node.domain else ""
        raise reading.refusal(node, f"{domain}{node.op_type} is no layer here; supported are {', '.join(LAYERS)}")
    try:
        reader(reading, node)
    except (ShapeError, GeometryError) as fault:
        raise reading.refusal(node, str(fault)) from None
    except (ValueError, TypeError, IndexError, OverflowError) as fault:  # NumPy's, on weights that do not fit
        reason = " ".join(str(fault).split())
        raise reading.refusal(node, f"its weights and attributes do not fit each other ({reason})") from fault


def _check_text(graph: onnx.GraphProto) -> None:
    """Names are text: where the bytes are not UTF-8, protobuf hands out bytes instead."""
    names = [graph.name, *(v.name for v in (*graph.input, *graph.output, *graph.initializer))]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    if not all(isinstance(name, str) for name in names):
        raise CaptureError("onnx: a name in the file is not UTF-8 text: it is damaged; export or copy it again")
