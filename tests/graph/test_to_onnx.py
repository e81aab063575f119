"""The writer against ONNX Runtime for every layer and random networks, and against onnx.reference for small ones."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from striate.errors import NetworkError, ShapeError
from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, Node
from striate.graph.from_onnx import from_onnx
from striate.graph.reference import run
from striate.graph.to_onnx import IR_VERSION, LOGITS, OPSET, tensor_names, to_bytes, to_onnx
from striate.ops import (
    CURVES,
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Add,
    AvgPool,
    BatchNorm,
    BlurPool,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    Linear,
    MaxPool,
    Mul,
    Softmax,
)

RTOL = 2e-5  # float32 sums of up to a few hundred terms, against float64, in units of the largest value
SHAPE = (6, 13, 10)


def filled(network: Network, seed: int = 0, dtype: type = np.float32) -> Network:
    """Random weights with hostile batch-norm states: gamma of both signs and zero, variances far from 1."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, spec in network.weight_specs().items():
        values = rng.standard_normal(spec.shape)
        if spec.role == "running_var":
            values = np.exp(2 * values)
        if spec.role == "gamma":
            values.flat[0] = 0.0
        if spec.role == "weight":
            values /= np.sqrt(np.prod(spec.shape[1:]))
        weights[name] = values.astype(dtype)
    return network.with_weights(weights)


def images(shape: tuple[int, ...], n: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])


def close(got: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert got.shape == wanted.shape, what
    assert got.dtype == np.float32, what
    assert np.abs(got - wanted).max() <= RTOL * max(1.0, np.abs(wanted).max()), what


def agrees(network: Network, n: int = 3) -> None:
    """Every layer's tensor from ONNX Runtime equals the float64 reference."""
    model = to_onnx(network, every_tensor=True)
    onnx.checker.check_model(model, full_check=True)
    x = images(network.input_shape, n)
    got = session(model).run(None, {INPUT: x})
    wanted = run(network.astype(np.float64), x.astype(np.float64))
    for node, tensor in zip(network, got, strict=True):
        close(tensor, wanted[node.name], f"{node.name} {node.op}")


def single(op, shape=SHAPE) -> Network:
    builder = Builder("single", shape)
    builder.add(op, INPUT, name="layer")
    return filled(builder.build())


SINGLES = {
    "conv": Conv(6, 4, (Window(3, stride=2, pad_lo=1, pad_hi=2), Window(2, dilation=3, pad_lo=2, pad_hi=0)), groups=2),
    "conv without bias": Conv(6, 5, (Window(3, 1, 1, 1, 1), Window(5, 2, 1, 2, 2)), bias=False),
    "depthwise": Conv(6, 12, (Window(3, 2, 1, 0, 1), Window(2, 1, 1, 1, 0)), groups=6),
    "batch norm": BatchNorm(6, eps=1e-3, momentum=0.3),
    "batch norm without affine": BatchNorm(6, affine=False),
    "max pool": MaxPool((Window(3, 2, 1, 1, 0), Window(2, 1, 3, 1, 1))),
    "max pool, ceil": MaxPool((Window(3, 2, 1, 1, 1, ceil_mode=True), Window(2, 3, 1, 0, 0, ceil_mode=True))),
    "average pool": AvgPool((Window(3, 2, 1, 1, 2), Window(2, 1, 1, 0, 1))),
    "average pool of pixels only": AvgPool(
        (Window(3, 2, 1, 1, 1, ceil_mode=True), Window(2, 3, 1, 0, 0, ceil_mode=True)), count_include_pad=False
    ),
    "average pool, ceil without padding": AvgPool((Window(2, 2, ceil_mode=True), Window(3, 2, ceil_mode=True))),
    "average pool, dilated": AvgPool((Window(2, 1, 3, 1, 1), Window(3, 2, 2)), count_include_pad=False),
    "blur": BlurPool((Window(3, 2, 1, 1, 1), Window(4, 1, 1, 1, 2))),
    "global pool": GlobalAvgPool(),
    "global pool, axes kept": GlobalAvgPool(keep_axes=True),
    "adaptive pool": AdaptiveAvgPool((13, 5)),
    "adaptive pool, uneven": AdaptiveAvgPool((4, 3)),
    "adaptive maximum, uneven": AdaptiveMaxPool((17, 3)),
    "flatten": Flatten(),
    "dropout": Dropout(0.25),
    "identity": Identity(),
    "softmax over channels": Softmax(),
    **{curve: Activation(curve) for curve in CURVES},
}


@pytest.mark.parametrize("op", SINGLES.values(), ids=SINGLES)
def test_each_layer_equals_the_reference(op):
    agrees(single(op))


def test_a_blur_is_read_back_as_one():
    network = single(SINGLES["blur"])
    assert from_onnx(to_onnx(network)).nodes[0].op == SINGLES["blur"]


@pytest.mark.parametrize(
    "op", [Linear(7, 3), Linear(7, 4, bias=False), BatchNorm(7), Softmax()], ids=lambda op: op.kind
)
def test_each_layer_of_vectors_equals_the_reference(op):
    agrees(single(op, (7,)))


@pytest.mark.parametrize("op", [SINGLES["conv"], SINGLES["max pool"], SINGLES["average pool"]], ids=lambda op: op.kind)
def test_onnx_reference_agrees(op):
    network = single(op)
    x = images(SHAPE, 2)
    (got,) = ReferenceEvaluator(to_onnx(network)).run(None, {INPUT: x})
    close(got, run(network.astype(np.float64), x.astype(np.float64))["layer"], op.kind)


def branches() -> Network:
    """Sum of three, product with a gate, concatenation, a shared convolution, batch norm of vectors."""
    builder = Builder("branches", SHAPE)
    same = Conv(6, 6, (Window(3, 1, 1, 1, 1), Window(5, 1, 1, 2, 2)))
    a = builder.add(same, INPUT, name="a", path="shared")
    b = builder.add(same, a, name="b", path="shared")
    total = builder.add(Add(), a, b, INPUT, name="sum")
    gate = builder.add(GlobalAvgPool(keep_axes=True), total, name="pool")
    gate = builder.add(Activation("hard_sigmoid"), gate, name="gate")
    gated = builder.add(Mul(), total, gate, name="gated")
    both = builder.add(Concat(), gated, b, name="both")
    pair = builder.add(Add(), both, both, name="twice")
    vector = builder.add(GlobalAvgPool(), pair, name="gap")
    vector = builder.add(BatchNorm(12), vector, name="bn")
    builder.add(Linear(12, 4), vector, name="fc")
    return filled(builder.build())


def test_branches_and_shared_weights():
    network = branches()
    agrees(network)
    names = [t.name for t in to_onnx(network).graph.initializer]
    assert names.count("shared.weight") == 1


@st.composite
def chains(draw) -> Network:
    """A random chain of windows, norms and activations on anisotropic maps, with a residual sum where shapes allow."""
    channels, height, width = draw(st.integers(1, 5)), draw(st.integers(5, 12)), draw(st.integers(5, 12))
    builder = Builder("random", (channels, height, width))
    at = INPUT
    for i in range(draw(st.integers(1, 6))):
        shape = builder.shape(at)
        windows = tuple(
            Window(k := draw(st.integers(1, min(3, n))), draw(st.integers(1, 2)), 1,
                   draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2)))
            for n in shape[1:]
        )  # fmt: skip
        groups = draw(st.sampled_from([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
        op = draw(
            st.sampled_from(
                [
                    Conv(shape[0], groups * draw(st.integers(1, 3)), windows, groups, draw(st.booleans())),
                    BatchNorm(shape[0], affine=draw(st.booleans())),
                    Activation(draw(st.sampled_from(sorted(CURVES)))),
                    MaxPool(windows),
                    AvgPool(windows, draw(st.booleans())),
                ]
            )
        )
        before, at = at, builder.add(op, at, name=f"layer{i}")
        if builder.shape(at) == builder.shape(before):
            at = builder.add(Add(), at, before, name=f"add{i}")
    at = builder.add(Flatten(), at, name="flat")
    builder.add(Linear(builder.shape(at)[0], 3), at, name="fc")
    return filled(builder.build(), draw(st.integers(0, 1000)))


@settings(max_examples=40)
@given(chains())
def test_random_networks_equal_the_reference(network):
    agrees(network, n=2)


def test_interface_is_pinned():
    model = to_onnx(branches(), metadata={"b": "2", "a": "1"})
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (9, [("", 19)])
    assert (IR_VERSION, OPSET) == (9, 19)
    (entry,), (result,) = model.graph.input, model.graph.output
    assert (entry.name, result.name) == ("input", LOGITS)
    dims = [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim]
    assert dims == ["N", *SHAPE]
    assert [d.dim_param or d.dim_value for d in result.type.tensor_type.shape.dim] == ["N", 4]
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert [(p.key, p.value) for p in model.metadata_props] == [("b", "2"), ("a", "1")]
    assert model.graph.node[-1].name == "fc"


def test_bytes_are_the_same_every_time():
    assert to_bytes(to_onnx(branches())) == to_bytes(to_onnx(branches()))


def test_clashing_names_are_told_apart():
    """A layer called as the result, a weight called as a layer, a layer called as the inside of another."""
    builder = Builder("clash", (3, 7, 5))
    at = builder.add(
        Conv(3, 4, (Window(3), Window(2)), bias=False), INPUT, name="logits", weights={"weight": "gap.maps"}
    )
    at = builder.add(GlobalAvgPool(), at, name="gap")
    at = builder.add(Identity(), at, name="gap.maps")
    builder.add(Linear(4, 2), at, name="fc", weights={"weight": "input", "bias": "fc"})
    network = filled(builder.build())
    agrees(network)
    model = to_onnx(network)
    names = [o for n in model.graph.node for o in n.output] + [t.name for t in model.graph.initializer] + ["input"]
    assert len(names) == len(set(names))
    assert tensor_names(network) == {
        "input": "input", "logits": "logits_2", "gap": "gap", "gap.maps": "gap.maps", "fc": "logits"
    }  # fmt: skip


def test_float64_weights_are_rounded_once():
    network = filled(single(Conv(6, 2, (Window(1), Window(1)))), dtype=np.float64)
    stored = onnx.numpy_helper.to_array(to_onnx(network).graph.initializer[0])
    assert np.array_equal(stored, network.weights["layer.weight"].astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_weight_that_float32_cannot_hold_is_refused(value):
    network = single(Linear(2, 2, bias=False), (2,)).with_weights({"layer.weight": np.array([[1.0, value], [0, 1]])})
    with pytest.raises(
        NetworkError,
        match=r"^weight 'layer.weight' has values that float32 cannot hold \(NaN or beyond 3.4e38\); mend it$",
    ):
        to_onnx(network)


def test_what_onnx_cannot_say_names_the_layer():
    cropping = AvgPool((Window(3, 1, 1, -1, 0), Window(2)))
    with pytest.raises(ShapeError, match=r"^layer: avg_pool with negative padding has no ONNX node; crop the images"):
        to_onnx(single(cropping))


def test_no_weights_no_file():
    network = Network("bare", (2,), (Node("fc", Linear(2, 2), (INPUT,), {"weight": "w", "bias": "b"}),), "fc")
    with pytest.raises(NetworkError, match=r"^fc: weight 'w' has no values; initialise or load the network first$"):
        to_onnx(network)
