"""Files that are damaged, hostile or only partly known: one line that says what, and what is known is still shown."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graph.test_from_onnx import graph
from striate.errors import CaptureError, StriateError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.from_onnx import from_onnx
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.measure import inspect_network
from striate.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Resize,
    Slice,
    Softmax,
)

KERNEL = {"w": np.ones((8, 3, 3, 2), np.float32)}
node = helper.make_node
CONV = node("Conv", ["x", "w"], ["a"])


def shown(model: onnx.ModelProto, shape=None):
    """The rows of what is known, and the reasons for the rest."""
    network = from_onnx(model, shape, strict=False)
    found = inspect_network(network)
    rows = [(layer.name, layer.kind, layer.output, layer.parameters) for layer in found.layers]
    return rows, [one.op.why for one in network if one.op.kind == "unknown"]


def test_an_operator_without_a_layer_is_named_and_what_stands_around_it_is_shown():
    model = graph([CONV, node("Cosh", ["a"], ["b"]), node("Conv", ["b", "v"], ["y"])],
                  {**KERNEL, "v": np.ones((5, 8, 2, 1), np.float32)})  # fmt: skip
    why = "onnx node 'b' (Cosh): striate has no layer for Cosh of ONNX; export the network without it"
    with pytest.raises(CaptureError) as caught:
        from_onnx(model)
    assert str(caught.value) == why
    rows, reasons = shown(model)
    assert rows == [("a", "conv", (8, 5, 10), 144), ("b", "unknown", (8, 5, 10), None), ("y", "conv", (5, 4, 10), 80)]
    assert reasons == [why]
    found = inspect_network(from_onnx(model, strict=False))
    assert [layer.known for layer in found.layers] == [True, False, False]
    assert (found.unknown, found.flops) == (("b",), None)


def test_a_foreign_operator_hides_what_stands_behind_it_unless_the_file_knows_its_shape():
    nodes = [CONV, node("Deform", ["a"], ["b"], domain="com.acme"), node("Relu", ["b"], ["y"])]
    rows, reasons = shown(graph(nodes, KERNEL))
    assert rows == [("a", "conv", (8, 5, 10), 144), ("b", "unknown", (), None), ("end", "unknown", (), None)]
    assert reasons == [
        "onnx node 'b' (Deform): striate has no layer for com.acme.Deform; export the network without it",
        "onnx: what b give has no known shape; state it in the file's value_info; so 1 more node cannot be shown",
    ]
    model = graph(nodes, KERNEL)
    model.graph.value_info.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, ["N", 4, 7, 9]))
    rows, reasons = shown(model)
    assert rows[1:] == [("b", "unknown", (4, 7, 9), None), ("y", "activation", (4, 7, 9), 0)]
    assert len(reasons) == 1


def test_several_outputs_end_in_one_unknown_row():
    model = graph([CONV, node("Relu", ["a"], ["y"]), node("GlobalAveragePool", ["a"], ["z"])], KERNEL)
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    rows, reasons = shown(model)
    assert [row[0] for row in rows] == ["a", "y", "z", "end"]
    assert reasons == ["onnx: the model has 2 outputs (z, y); export it with one"]


@pytest.mark.parametrize("op_type", ["If", "Loop", "Scan"])
def test_a_graph_inside_a_node_is_said_to_be_one(op_type):
    inside = helper.make_graph([node("Identity", ["a"], ["s"])], "inside", [],
                               [helper.make_tensor_value_info("s", TensorProto.FLOAT, None)])  # fmt: skip
    names = ("then_branch", "else_branch") if op_type == "If" else ("body",)
    model = graph([CONV, node(op_type, ["c"], ["b"], **dict.fromkeys(names, inside))], {**KERNEL, "c": np.array(True)})
    _, reasons = shown(model)
    assert reasons[0] == (
        f"onnx node 'b' ({op_type}): runs a graph of its own inside; striate reads graphs without branches and loops"
    )


def test_weights_outside_the_file_or_of_another_type_leave_the_shapes():
    for spoil in (_outside, _half, _text):
        model = graph([CONV, node("Relu", ["a"], ["y"])], KERNEL)
        spoil(model.graph.initializer[0])
        with pytest.raises(
            CaptureError, match=r"^onnx: tensor 'w' (lies outside the file|is FLOAT16|is STRING); export"
        ):
            from_onnx(model)
        network = from_onnx(model, strict=False)
        assert inspect_network(network).parameters == 144
        assert network.weights == {}


def _outside(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _half(tensor: onnx.TensorProto) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ones((8, 3, 3, 2), np.float16), "w"))


def _text(tensor: onnx.TensorProto) -> None:
    tensor.CopyFrom(helper.make_tensor("w", TensorProto.STRING, (8, 3, 3, 2), [b"1"] * 144))


def test_cycles_and_names_written_twice():
    with pytest.raises(
        CaptureError,
        match=r"^onnx node 'a' \(Relu\): input 0 \('b'\) is written only after it, or by what is no layer; "
        r"the graph has a cycle or is not in order$",
    ):
        from_onnx(graph([node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["x", "b"], ["y"])]))
    with pytest.raises(CaptureError, match=r"^onnx node 'a' \(Abs\): writes 'a', which is written before it; the file"):
        from_onnx(graph([node("Relu", ["x"], ["a"]), node("Abs", ["x"], ["a"])]))
    with pytest.raises(CaptureError, match=r"^onnx node 'x' \(Abs\): writes 'x', which is written before it; the file"):
        from_onnx(graph([node("Abs", ["x"], ["x"])]))


def test_a_circle_of_nameless_nodes_in_a_file_that_calls_itself_ours():
    nodes = [node("Relu", ["x"], ["a"]), node("Add", ["a", "c"], ["b"]), node("Abs", ["b"], ["c"])]
    model = graph(nodes)
    model.producer_name = "striate"
    with pytest.raises(CaptureError, match=r"^onnx node 'b' \(Add\): input 1 \('c'\) is written only after it, or by"):
        from_onnx(model)


TOO_LARGE = {
    "stride": node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[10**9, 1]),
    "kernel": node("MaxPool", ["x"], ["y"], kernel_shape=[10**9, 2], pads=[10**9, 0, 0, 0]),
    "pads": node("Pad", ["x", "huge_pads"], ["y"]),
    "resize": node("Resize", ["x", "", "", "huge_sizes"], ["y"]),
    "scales": node("Upsample", ["x", "huge_scales"], ["y"]),
    "channels": node("Conv", ["x", "wide"], ["y"]),
    "transposed": node("ConvTranspose", ["x", "k"], ["y"], strides=[4096, 4096]),
    "block": node("DepthToSpace", ["x"], ["y"], blocksize=10**9),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_huge_numbers_are_refused_at_once(name):
    constants = {
        "huge_pads": np.array([0, 0, 10**9, 1] * 2), "huge_sizes": np.array([1, 3, 10**9, 2]),
        "huge_scales": np.array([1, 1, 1e9, 1], np.float32), "k": np.ones((3, 2, 3, 3), np.float32),
        "n": np.array([10**9, 3, 1, 1]),
    }  # fmt: skip
    made = node("ConstantOfShape", ["n"], ["wide"])
    opset = 9 if name == "scales" else 19
    before = time.perf_counter()
    with pytest.raises(CaptureError, match=r"^onnx node 'y' .*(up to|does not fit)"):
        from_onnx(graph([made, TOO_LARGE[name]], constants, opset=opset))
    shown(graph([made, TOO_LARGE[name]], constants, opset=opset))
    assert time.perf_counter() - before < 2


def test_a_size_that_no_machine_holds():
    model = graph([node("Relu", ["x"], ["y"])], shape=("N", 3, 10**9, 7))
    with pytest.raises(
        CaptureError, match=r"^onnx: input 'x' is \(3, 1000000000, 7\); striate reads images up to 32,768"
    ):
        from_onnx(model)


def test_nested_constants_stay_one_number():
    """2^54 ones, spread, transposed, reshaped, added: never in memory."""
    nodes = [
        node("ConstantOfShape", ["n"], ["c"]),
        node("Transpose", ["c"], ["t"]),
        node("Reshape", ["t", "m"], ["r"]),
        node("Mul", ["r", "r"], ["p"]),
        node("Cast", ["p"], ["q"], to=TensorProto.DOUBLE),
        node("Conv", ["x", "q"], ["y"]),
    ]
    constants = {"n": np.array([2**18, 2**18, 2**18]), "m": np.array([2**27, 2**27, 1, 1])}
    with pytest.raises(CaptureError, match=r"^onnx node 'y' \(Conv\): "):
        from_onnx(graph(nodes, constants))


FILES = {
    "zip": (
        b"PK\x03\x04....",
        r"is a zip archive, as torch.save writes; name the module itself, as package.module:call",
    ),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\n",
        r"is a pointer of Git LFS, not the file it points to; fetch",
    ),
    "page": (b"<!DOCTYPE html>", r"is a web page or XML, as failed downloads are; download it again$"),
    "empty": (b"", r"holds no nodes, so no network: it is empty or cut off; export or copy it again$"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_people_take_for_models(name, tmp_path):
    data, message = FILES[name]
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(CaptureError, match=message):
        from_onnx(tmp_path / "m.onnx")


def test_what_never_ends_is_not_read():
    with pytest.raises(CaptureError, match=r"^/dev/zero: is no regular file; name the model's file$"):
        from_onnx(Path("/dev/zero"))


def test_every_cut_of_a_file_is_said_to_be_one(tmp_path):
    data = to_bytes(to_onnx(small()))
    for end in range(0, len(data), 37):
        (tmp_path / "m.onnx").write_bytes(data[:end])
        with pytest.raises(CaptureError) as caught:
            from_onnx(tmp_path / "m.onnx")
        assert "\n" not in str(caught.value)


def small():
    """A network with every sort of attribute: windows, constants, names, floats."""
    builder = Builder("small", (3, 9, 12))
    at = builder.add(Conv(3, 4, (Window(3, 2, 1, 1, 0), Window(2, 1, 2, 0, 1)), bias=False), INPUT, name="conv")
    at = builder.add(BatchNorm(4), at, name="bn")
    act = builder.add(Activation("gelu"), at, name="act")
    at = builder.add(MaxPool((Window(2), Window(3, 1, 1, 1, 1))), act, name="pool")
    at = builder.add(Resize((), (2, 1)), at, name="up")
    at = builder.add(Slice(((None, None, 1), (1, None, 2), (None, None, 1))), at, name="cut")
    at = builder.add(Add(), at, at, name="twice")
    at = builder.add(GlobalAvgPool(keep_axes=True), at, name="gap")
    at = builder.add(Flatten(), at, name="flat")
    builder.add(Softmax(), builder.add(Linear(4, 3), at, name="fc"), name="softmax")
    return initialise(builder.build(), seed=1)


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """The file with a few bytes changed, doubled, cut out or moved."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, size = rng.randrange(len(changed)), rng.choice((1, 1, 2, 5, 40))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size]
            case _:
                changed[at : at + size] = bytes([rng.choice((0, 1, 127, 128, 255))]) * size
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("strict", [True, False])
def test_a_spoilt_file_is_read_or_refused_in_one_line(seed, strict, tmp_path):
    """150 spoilt files a seed: no other exception, none slow, and no memory beyond bounds."""
    data, rng = to_bytes(to_onnx(small())), random.Random(seed)
    path = tmp_path / "m.onnx"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(150):
        path.write_bytes(spoilt(data, rng))
        before = time.process_time()
        said = ""
        try:
            inspect_network(from_onnx(path, strict=strict))
        except StriateError as fault:
            said = str(fault)
        assert "\n" not in said
        assert len(said) < 1000
        assert time.process_time() - before < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 500_000  # kB


ATTRIBUTES = {
    "INT": lambda rng: rng.choice(ODD), "INTS": lambda rng: rng.choices(ODD, k=rng.randint(1, 4)),
    "FLOAT": lambda rng: float(rng.choice(ODD)), "FLOATS": lambda rng: [float(n) for n in rng.choices(ODD, k=3)],
    "STRING": lambda rng: rng.choice(("SAME_UPPER", "constant", "linear", "ij->i", "")),
}  # fmt: skip
ODD = (0, 1, -1, 2, 3, 7, -5, 100, 2**40, -(2**40))


@pytest.mark.parametrize("seed", range(3))
def test_any_operator_with_any_attributes_becomes_a_row(seed):
    """Every operator of ONNX may come, with attributes at random; its own rules, in C++, are asked for shapes too."""
    rng = random.Random(seed)
    schemas = [s for s in onnx.defs.get_all_schemas() if s.domain == "" and s.max_input > 0]
    constants = {
        "w": np.ones((2, 3, 2, 2), np.float32), "v": np.array([0, 3, -1, 2**40]), "k": np.array([2]),
        "s": np.array([1, 1, 2, 2], np.float32), "e": np.zeros(0, np.int64),
    }  # fmt: skip
    for _ in range(150):
        schema = rng.choice(schemas)
        types = {name: str(one.type).rpartition(".")[2] for name, one in schema.attributes.items()}
        given = {name: ATTRIBUTES[t](rng) for name, t in types.items() if t in ATTRIBUTES and rng.random() < 0.6}
        inputs = ["x", *rng.choices(["x", *constants, ""], k=rng.randint(0, 3))]
        model = graph([node(schema.name, inputs, ["y", "y2"][: rng.randint(1, 2)], **given)], constants, opset=21)
        said = ""
        try:
            inspect_network(from_onnx(model, strict=False))
        except StriateError as fault:
            said = str(fault)
        assert "\n" not in said
