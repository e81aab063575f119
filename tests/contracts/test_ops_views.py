"""Contracts over every kind of layer: what its units read, what it costs, and its ONNX form against ONNX Runtime."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from contracts.op_examples import ALL, BATCH, NO_ONNX, as_torch
from striate.errors import ShapeError
from striate.geometry import Sight, Transposed, Whole, Window
from striate.graph.to_onnx import IR_VERSION, OPSET
from striate.ops import AdaptiveAvgPool, BlurPool, Conv, ConvTranspose, Linear

UNIT_FLOAT32 = 2.0**-24

every_layer = pytest.mark.parametrize("example", ALL, ids=lambda e: e.title)
with_maps = pytest.mark.parametrize("example", [e for e in ALL if len(e.shapes[0]) > 1], ids=lambda e: e.title)
of_pools_and_convolutions = pytest.mark.parametrize(
    "example", [e for e in ALL if e.op.kind in ("conv", "max_pool", "avg_pool")], ids=lambda e: e.title
)


def units_along(axis, shape, out_shape):
    """Number of units along `axis` of the output; one where the layer ends the spatial axes."""
    return out_shape[axis + 1] if len(out_shape) == len(shape) else 1


def reached_pixels(example, which, axis, unit):
    """Indices along `axis` of input `which` that reach output `unit` there, by a gradient with positive weights.

    A maximum passes its gradient to one pixel only, so for it a NaN is sent in at each index instead.
    """
    inputs = [torch.tensor(np.abs(x) % 2 + 0.1, requires_grad=True) for x in example.inputs(20)]
    weights = {role: torch.tensor(np.abs(w) + 0.1) for role, w in example.weights(21).items()}
    if example.op.kind in ("max_pool", "adaptive_max_pool") or getattr(example.op, "how", "") == "max":
        found = []
        for p in range(inputs[0].shape[axis + 2]):
            x = inputs[0].detach().clone()
            x.select(axis + 2, p).fill_(torch.nan)
            if along(as_torch(example.op, [x], weights), axis, unit, x.ndim).isnan().any():
                found.append(p)
        return found
    y = as_torch(example.op, inputs, weights)
    # Unequal positive shares, for the sum of a softmax over its channels is constant.
    shares = torch.tensor(np.random.default_rng(22).uniform(0.5, 1.5, y.shape))
    (grad,) = torch.autograd.grad(along(y * shares, axis, unit, inputs[which].ndim).sum(), inputs[which])
    other = [d for d in range(grad.ndim) if d != axis + 2]
    return grad.abs().sum(dim=other).nonzero().flatten().tolist()


def along(y, axis, unit, ndim):
    return y.select(axis + 2, unit) if y.ndim == ndim else y


@with_maps
def test_units_read_the_pixels_that_a_gradient_reaches(example):
    out_shape = example.op.out_shape(*example.shapes)
    for which, shape in enumerate(example.shapes):
        maps = example.op.axis_maps(shape)
        assert len(maps) == len(shape) - 1
        for axis, one in enumerate(maps):
            size, units = shape[axis + 1], units_along(axis, shape, out_shape)
            if size == 1 and units > 1:
                continue  # a gate of one value a channel, spread over the map by whoever merges views
            assert one.out_size(size) == units
            for unit in range(units):
                assert list(one.reads(unit, size)) == reached_pixels(example, which, axis, unit)


@of_pools_and_convolutions
def test_padding_contact_is_what_a_nan_in_the_padding_reaches(example):
    windows, shape = example.op.windows, example.shapes[0]
    for axis, (w, n) in enumerate(zip(windows, shape[1:], strict=True)):
        # One axis at a time, through a convolution of ones: only where the taps stand matters.
        x = torch.full((1, 1, n + 60), torch.nan, dtype=torch.float64)
        before, after = x.clone(), x.clone()
        before[..., 30:], after[..., : 30 + n] = 0.0, 0.0
        for i in range(example.op.out_shape(shape)[axis + 1]):
            taps = [30 + w.first(i) + m * w.dilation for m in range(w.kernel)]
            touched = tuple(bool(side[0, 0, taps].isnan().any()) for side in (before, after))
            assert w.reads_padding(i, n) == touched


def test_one_adaptive_cell_is_a_global_pool():
    assert AdaptiveAvgPool((1, 3)).axis_maps((6, 13, 10))[0] == Whole()
    assert len(Sight.of_image(13).through(Whole())) == 1


@every_layer
def test_macs_are_the_products_counted_by_a_layer_of_ones(example):
    op, shapes = example.op, example.shapes
    if isinstance(op, ConvTranspose):  # nothing is cut off where there is no padding
        weights = {"weight": torch.ones(op.weight_specs()[0].shape, dtype=torch.float64)}
        x = torch.ones(1, *shapes[0], dtype=torch.float64)
        whole = tuple(Transposed(w.kernel, w.stride, w.dilation) for w in op.windows)
        for windows, counted in ((op.windows, op.macs_on_pixels(*shapes)), (whole, op.macs(*shapes))):
            ones = ConvTranspose(op.in_channels, op.out_channels, windows, op.groups, bias=False)
            assert counted == as_torch(ones, [x], weights).sum().item()
        return
    if isinstance(op, BlurPool):
        assert op.macs(*shapes) == op.convolution(shapes[0][0]).macs(*shapes) > 0
        assert op.macs_on_pixels(*shapes) == op.convolution(shapes[0][0]).macs_on_pixels(*shapes)
        return
    if not isinstance(op, Conv | Linear):
        assert op.macs(*shapes) == op.macs_on_pixels(*shapes) == 0
        return
    # With inputs and weights of 1, no bias, and padding 0 or 1, the sum of the output is the number of products.
    weights = {"weight": torch.ones(op.weight_specs()[0].shape, dtype=torch.float64)}
    x = torch.ones(1, *shapes[0], dtype=torch.float64)
    assert op.macs_on_pixels(*shapes) == as_torch(op, [x], weights).sum().item()
    if isinstance(op, Conv):
        pads = [side for w in reversed(op.windows) for side in (w.pad_lo, w.pad_hi)]
        x = torch.nn.functional.pad(x, pads, value=1.0)
        bare = tuple(Window(w.kernel, w.stride, w.dilation) for w in op.windows)
        op = Conv(op.in_channels, op.out_channels, bare, op.groups, bias=False)
    assert example.op.macs(*shapes) == as_torch(op, [x], weights).sum().item()


def test_macs_of_a_hand_count():
    # 3x3 with padding 1 on 7x7: 19 of the 21 taps of each axis meet a pixel; 2 of 4 channels a kernel, 6 kernels.
    op = Conv(4, 6, (Window(3, pad_lo=1, pad_hi=1), Window(3, pad_lo=1, pad_hi=1)), groups=2)
    assert op.macs((4, 7, 7)) == 6 * 2 * 21 * 21
    assert op.macs_on_pixels((4, 7, 7)) == 6 * 2 * 19 * 19
    assert Linear(11, 3).macs((11,)) == 33


def in_onnx(example):
    """A model of this layer alone, made from its plain nodes; weights and inputs are graph inputs."""
    names = [f"x{i}" for i in range(len(example.shapes))]
    roles = {spec.role: spec.shape for spec in example.op.weight_specs()}
    pieces = example.op.to_onnx(names, "y", {role: role for role in roles}, list(example.shapes))
    nodes, constants = [], []
    for piece in pieces:
        inputs, attributes = list(piece.inputs), dict(piece.attributes)
        if piece.op_type == "Clip":  # the one op whose numbers are inputs in this opset
            for side in ("min", "max"):
                constants.append(helper.make_tensor(side, TensorProto.FLOAT, (), [attributes.pop(side)]))
                inputs.append(side)
        nodes.append(helper.make_node(piece.op_type, inputs, list(piece.outputs), **attributes))
    given = [(name, (BATCH, *shape)) for name, shape in zip(names, example.shapes, strict=True)] + [*roles.items()]
    graph = helper.make_graph(
        nodes,
        "one_layer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (BATCH, *example.op.out_shape(*example.shapes)))],
        constants,
    )
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model, full_check=True)
    return model


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@every_layer
def test_onnx_runtime_agrees_within_the_layers_own_bound(example):
    if example.op in NO_ONNX or crops(example.op):
        message = NO_ONNX.get(
            example.op, f"{example.op.kind} with negative padding has no ONNX node; crop the images instead"
        )
        with pytest.raises(ShapeError) as fault:
            in_onnx(example)
        assert str(fault.value) == message
        return
    runtime = session(in_onnx(example))
    for scale in (1e-2, 1.0, 1e2):
        inputs = [(scale * x).astype(np.float32) for x in example.inputs(30)]
        weights = example.weights(31, np.float32)
        feeds = {f"x{i}": x for i, x in enumerate(inputs)} | weights
        (got,) = runtime.run(None, {i.name: feeds[i.name] for i in runtime.get_inputs()})
        inputs = [x.astype(np.float64) for x in inputs]
        weights = {role: w.astype(np.float64) for role, w in weights.items()}
        exact = example.op.forward(inputs, weights)
        bound = example.op.error_bound(inputs, [np.zeros_like(x) for x in inputs], exact, weights, UNIT_FLOAT32)
        assert got.shape == exact.shape
        assert (np.abs(got - exact) <= bound).all()


def crops(op):
    return any(min(w.pad_lo, w.pad_hi) < 0 for w in getattr(op, "windows", ()))


def test_examples_cover_every_axis_count_and_both_ends_of_padding():
    convolutions = [e.op for e in ALL if isinstance(e.op, Conv)]
    assert {len(op.windows) for op in convolutions} == {1, 2, 3}
    assert any(w.pad_lo != w.pad_hi for op in convolutions for w in op.windows)
    assert all(prod(e.op.out_shape(*e.shapes)) > 0 for e in ALL)
