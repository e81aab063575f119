"""What our writer writes, our reader reads: every kind of layer, and random networks, with their table and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from contracts.op_examples import EXAMPLES
from measure.random_graphs import random_graph
from strategies import networks
from striate.errors import CaptureError, ShapeError
from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, initialise
from striate.graph.from_onnx import from_onnx
from striate.graph.reference import output
from striate.graph.to_onnx import to_onnx
from striate.measure import inspect_network
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Op,
    Reshape,
    Shape,
)

READ_AS: Mapping[str, str] = {
    "adaptive_avg_pool": "avg_pool",  # of the same cells, where these are even
    "adaptive_max_pool": "max_pool",
    "dropout": "identity",  # at test time
}
"""Kinds that come back as another, which reads and costs the same."""


def layer_network(op: Op, shapes: Sequence[Shape]) -> Network | None:
    """A network whose last layer is `op` on inputs of `shapes`; None where they cannot come from one image."""
    image = max(shapes, key=lambda shape: int(np.prod(shape)))
    builder = Builder("one", image)
    inputs = []
    for i, shape in enumerate(shapes):
        if shape == image:
            inputs.append(INPUT if i == 0 else builder.add(Activation("tanh"), INPUT, name=f"in{i}"))
        elif len(shape) == len(image) > 1 and shape[1:] in (image[1:], (1,) * (len(image) - 1)):
            x = INPUT
            if shape[1:] != image[1:]:
                x = builder.add(GlobalAvgPool(keep_axes=True), x, name=f"in{i}.gap")
            one = Conv(image[0], shape[0], tuple(Window(1) for _ in image[1:]))
            inputs.append(builder.add(one, x, name=f"in{i}"))
        else:
            return None
    builder.add(op, *inputs, name="layer")
    return initialise(builder.build(), seed=1)


CASES = [(op, shapes) for examples in EXAMPLES.values() for op, shapes in examples]


def table(network: Network) -> list[tuple[object, ...]]:
    """What the inspection says of every layer, in numbers. The jump of a single unit leads nowhere and is left out."""
    rows: list[tuple[object, ...]] = []
    for layer in inspect_network(network).layers:
        fields = [
            f and (f.size, f.start, f.jump if units > 1 else None)
            for f, units in zip(layer.local_fields, layer.output[1:] or (1,) * len(layer.local_fields), strict=False)
        ]
        rows.append(
            (READ_AS.get(layer.kind, layer.kind), layer.output, fields, layer.seen, layer.parameters, layer.macs,
             layer.macs_on_pixels, layer.moved_bytes)
        )  # fmt: skip
    return rows


def is_left_out(op: Op, shapes: Sequence[Shape]) -> str:
    """Why a layer has no way back of its own; "" if it has one."""
    if isinstance(op, BatchNorm) and not op.affine:
        return "ONNX's batch normalisation always has gamma and beta, which then count as parameters"
    if isinstance(op, Flatten | Reshape) and op.out_shape(*shapes) == shapes[0]:
        return "reshapes to the shape that is there, which is nothing"
    return ""


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=lambda case: getattr(case, "kind", None))
def test_every_layer_comes_back(op, shapes):
    network = layer_network(op, shapes)
    if network is None:
        pytest.skip("its inputs are not made from one image here")
    if reason := is_left_out(op, shapes):
        pytest.skip(reason)
    try:
        model = to_onnx(network)
    except ShapeError as fault:
        pytest.skip(f"ONNX cannot say it: {fault}")
    back = from_onnx(model)
    assert table(back) == table(network)
    assert [node.name for node in back] == [node.name for node in network]
    x = np.random.default_rng(2).uniform(0.5, 1.5, (2, *network.input_shape))
    wanted, got = (output(one.astype(np.float64), x) for one in (network.astype(np.float32), back))
    assert np.allclose(got, wanted, rtol=1e-6, atol=1e-7)  # numbers that are no weights are float32 in the file


@settings(max_examples=30)
@given(networks())
def test_a_network_comes_back_with_its_table_and_its_values(network):
    back = from_onnx(to_onnx(network))
    plain = [row for node, row in zip(network, table(network), strict=True) if not is_left_out(node.op, [(2,)])]
    again = [row for node, row in zip(network, table(back), strict=True) if not is_left_out(node.op, [(2,)])]
    assert again == plain
    x = np.random.default_rng(1).standard_normal((2, *network.input_shape))
    assert np.array_equal(output(back.astype(np.float64), x), output(network.astype(np.float64), x))


@pytest.mark.parametrize("seed", range(40))
def test_moved_padded_and_resized_maps_come_back_with_their_values(seed):
    """Slices in a row become one, padding goes into windows, and what nobody reads is left out; the values stay."""
    network = random_graph(seed, replaced=seed % 2 == 1).astype(np.float32)
    try:
        back = from_onnx(to_onnx(network))
    except ShapeError as fault:
        pytest.skip(f"ONNX cannot say it: {fault}")
    x = np.random.default_rng(1).uniform(0.5, 1.0, (2, *network.input_shape))
    wanted = output(network.astype(np.float64), x)
    assert np.allclose(output(back.astype(np.float64), x), wanted, rtol=1e-9)
    assert seen_by_the_result(back) == seen_by_the_result(network)


def seen_by_the_result(network: Network) -> object:
    (result,) = (layer for layer in inspect_network(network).layers if layer.name == network.output)
    return result.seen


UNEVEN = [
    (AdaptiveAvgPool((7, 7)), (3, 2, 2)),  # VGG's, of images of 64 px
    (AdaptiveAvgPool((7, 3)), (3, 2, 3)),
    (AdaptiveAvgPool((3, 7)), (3, 3, 5)),
    (AdaptiveAvgPool((5,)), (3, 11)),
    (AdaptiveAvgPool((3, 5, 4)), (2, 3, 7, 9)),
    (AdaptiveMaxPool((7, 7)), (3, 2, 2)),
    (AdaptiveMaxPool((7, 3)), (3, 2, 3)),
    (AdaptiveMaxPool((5,)), (3, 11)),
    (AdaptiveMaxPool((2, 5, 4)), (2, 3, 7, 9)),
]


@pytest.mark.parametrize(("op", "shape"), UNEVEN, ids=str)
def test_an_adaptive_pool_with_uneven_cells_comes_back_as_itself(op, shape):
    network = layer_network(op, [shape])
    back = from_onnx(to_onnx(network))
    assert [(node.name, node.op) for node in back] == [("layer", op)]
    assert from_onnx(to_onnx(network), strict=False).nodes == back.nodes


def spoilt(model: onnx.ModelProto, constant: str) -> onnx.ModelProto:
    """The model with the first number of a constant doubled, or one more."""
    (node,) = (node for node in model.graph.node if node.output[0] == constant)
    (numbers,) = node.attribute
    if numbers.floats:
        numbers.floats[0] *= 2
    else:
        numbers.ints[0] += 1
    return model


def test_a_matrix_that_does_not_average_stays_a_dense_layer():
    op, shape = UNEVEN[0]
    back = from_onnx(spoilt(to_onnx(layer_network(op, [shape])), "logits.shares"))
    assert [node.op.kind for node in back] == ["adaptive_avg_pool", "permute", "conv", "permute"]
    assert back.nodes[0].op == AdaptiveAvgPool((7, 2))
    with pytest.raises(
        CaptureError, match=r"^onnx node 'logits.axis0' \(MatMul\): its weight is computed or missing; "
    ):
        from_onnx(spoilt(to_onnx(layer_network(op, [shape])), "logits.axis0.shares"))


def test_a_table_of_other_cells_is_refused():
    op, shape = UNEVEN[5]
    with pytest.raises(
        CaptureError,
        match=r"^onnx node 'logits.axis0.cells' \(Gather\): takes places \[1, 0, 0, 0, 0, 0, 0, 1\] of axis 2; "
        "striate knows places with even steps$",
    ):
        from_onnx(spoilt(to_onnx(layer_network(op, [shape])), "logits.axis0.pixels"))
