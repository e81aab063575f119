"""Reading ONNX files into a `Network`: our own, and other exporters' as far as their operators are layers here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx

from striate.errors import CaptureError, GeometryError, ShapeError
from striate.graph.network import Network
from striate.graph.onnx.constants import FOLDS, array, fold
from striate.graph.onnx.file import check_text, check_written_once, load
from striate.graph.onnx.layers import read_layer
from striate.graph.onnx.reading import ASK_SHAPES, MAX_SIDE, Reading
from striate.graph.onnx.unknown import Unread, readable_weights
from striate.ops import Array, Shape


def from_onnx(model: onnx.ModelProto | Path, input_shape: Shape | None = None, *, strict: bool = True) -> Network:
    """The network in `model`, with its weights.

    Layers are named after the tensors they write; the layer behind the graph's output, whose tensor bears an
    interface name such as "logits", after its node. Weights keep their initialisers' names. The batch size is
    free whatever the file says. What several ONNX nodes spell becomes one layer where a layer says it: a dense
    layer and its bias, group norm, an activation. Slices, reshapes and permutations become layers where something
    else reads them; two that cancel become nothing.
    input_shape: (C, H, W) of one image, needed where the file leaves a size open.
    strict: refuse what striate does not know; else it becomes `Unknown` layers, and the network has no weights: it can
        be inspected, also where the weights lie outside the file.
    Raises: CaptureError that names the node, its operator, and what is supported.
    """
    if isinstance(model, Path):
        model = load(model)
    if model.training_info or model.graph.sparse_initializer:
        raise CaptureError("onnx: the model holds training graphs or sparse weights; export it without them")
    graph = model.graph
    check_text(graph)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    constants = {t.name: array(t) for t in graph.initializer} if strict else readable_weights(graph)
    entry, shape = _entry(graph, constants, input_shape)
    check_written_once(graph, {entry.name, *constants})
    reading = Reading(graph, opset, constants, entry, shape, is_ours=model.producer_name == "striate")
    _fold_ahead(reading, graph)
    if not strict:
        return Unread(model, reading).network(_read)
    if len(graph.output) != 1:
        names = ", ".join(o.name for o in graph.output)
        raise CaptureError(f"onnx: the model has {len(graph.output)} outputs ({names}); export it with one")
    for node in graph.node:
        _read(reading, node)
    return reading.network(graph.output[0].name)


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
            "pass input_shape=(channels, height, width), or --input CxHxW"
        )
    shape = tuple(given or dims)
    if dims and (len(shape) != len(dims) or any(d > 0 and d != s for d, s in zip(dims, shape, strict=True))):
        raise CaptureError(
            f"onnx: input {entry.name!r} is {tuple(_dims(entry))}, which input_shape={shape} contradicts"
        )
    if max(shape[1:], default=1) > MAX_SIDE:
        raise CaptureError(f"onnx: input {entry.name!r} is {shape}; striate reads images up to {MAX_SIDE:,} px a side")
    return entry, shape


def _dims(entry: onnx.ValueInfoProto) -> Sequence[int | str]:
    return [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in entry.type.tensor_type.shape.dim]


def _fold_ahead(reading: Reading, graph: onnx.GraphProto) -> None:
    """Compute the constants that need no layer, so that whoever looks ahead in the graph sees them."""
    for node in graph.node:
        if node.op_type not in ASK_SHAPES and _is_fold(reading, node):
            with suppress(CaptureError):  # it is raised again when its turn comes
                fold(reading, node)


def _is_fold(reading: Reading, node: onnx.NodeProto) -> bool:
    return node.op_type in FOLDS and node.domain in ("", "ai.onnx") and reading.is_constant(node)


def _read(reading: Reading, node: onnx.NodeProto) -> None:
    if reading.is_done(node):
        return
    if _is_fold(reading, node):
        fold(reading, node)
        return
    try:
        with np.errstate(all="ignore"):  # constants may be anything; what comes of them is the file's
            read_layer(reading, node)
    except (ShapeError, GeometryError) as fault:
        raise reading.refusal(node, str(fault)) from None
    except (ValueError, TypeError, IndexError, ArithmeticError, MemoryError) as fault:
        # NumPy's and Python's, on weights and attributes that do not fit
        reason = " ".join(str(fault).split())
        raise reading.refusal(node, f"its weights and attributes do not fit each other ({reason})") from fault
