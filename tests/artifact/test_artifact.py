"""Writing and loading artifacts; every damaged and every crafted file is refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from pydantic import ValidationError

from contracts.op_examples import ALL
from striate.artifact import About, golden_case, load, write
from striate.artifact.read import OP_TYPES
from striate.artifact.wire import scan
from striate.artifact.write import DIGEST_CHARS
from striate.data.preprocess import Preprocessing, normalise
from striate.errors import ArtifactError, ShapeError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.reference import output
from striate.ops import OPS, Activation, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool

PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def network():
    builder = Builder("small", PREPROCESSING.shape)
    at = builder.add(Conv(3, 4, (Window(3, 2, 1, 1, 0), Window(2)), bias=False), INPUT, name="conv")
    at = builder.add(BatchNorm(4), at, name="bn")
    at = builder.add(Activation("relu6"), at, name="act")
    at = builder.add(MaxPool((Window(2), Window(3))), at, name="pool")
    at = builder.add(GlobalAvgPool(), at, name="gap")
    builder.add(Linear(4, 3), at, name="fc")
    return initialise(builder.build(), seed=5)


def about(**changes) -> About:
    pixels = np.random.default_rng(0).integers(0, 256, PREPROCESSING.shape, np.uint8)
    logits = output(network().astype(np.float64), normalise(pixels[None], PREPROCESSING).astype(np.float64))[0]
    facts = {
        "network": "small", "classes": ("ant", "bee", "cow"), "preprocessing": PREPROCESSING.to_json(),
        "created": "2026-01-31T12:00:00+00:00", "proof": {"worst": 1e-7, "inputs": ["zeros"]},
        "golden": (golden_case(pixels, PREPROCESSING, logits),), "golden_bound": 1e-5,
    }  # fmt: skip
    return About(**facts | changes)


@pytest.fixture
def shipped(tmp_path):
    path = tmp_path / "model.onnx"
    write(path, network(), about())
    return path


def sealed(path, data: bytes) -> None:
    """Write a crafted file with a right digest: what an attacker would do."""
    body = data[:-DIGEST_CHARS]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())


def crafted(path, change) -> None:
    """Change the model inside an artifact, mend the graph's digest in the manifest, and seal it again."""
    model = onnx.load(path)
    change(model)
    graph = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    for entry in model.metadata_props:
        if entry.key == "striate.manifest":
            entry.value = json.dumps(json.loads(entry.value) | {"graph_sha256": graph})
    sealed(path, model.SerializeToString(deterministic=True))


def test_what_was_written_is_loaded(shipped):
    artifact = load(shipped)
    manifest = artifact.manifest
    assert (manifest.classes, manifest.prepared()) == (("ant", "bee", "cow"), PREPROCESSING)
    assert manifest.proof == {"worst": 1e-7, "inputs": ["zeros"]}
    assert (manifest.input.shape, manifest.output.shape) == (("N", 3, 11, 7), ("N", 3))
    assert artifact.model_bytes == shipped.read_bytes()
    for name, array in network().weights.items():
        assert np.array_equal(artifact.network.weights[name], array), name
    case = manifest.golden[0]
    x = normalise(case.image(PREPROCESSING)[None], PREPROCESSING)
    assert np.array_equal(output(artifact.network.astype(np.float64), x.astype(np.float64))[0], case.expected())


def test_it_is_plain_onnx(shipped):
    onnx.checker.check_model(onnx.load(shipped), full_check=True)
    session = ort.InferenceSession(shipped.read_bytes(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.zeros((2, 3, 11, 7), np.float32)})[0].shape == (2, 3)


def test_bytes_are_the_same_every_time(shipped, tmp_path):
    write(tmp_path / "again.onnx", network(), about())
    assert (tmp_path / "again.onnx").read_bytes() == shipped.read_bytes()


def test_nothing_is_left_behind(shipped):
    write(shipped, network(), about())
    assert [p.name for p in shipped.parent.iterdir()] == ["model.onnx"]


ALTERED = (
    r"model.onnx: truncated, altered, or no artifact of striate \(the digest at its end does not match\); "
    r"copy it again from where it was shipped, or ship the network again$"
)


def test_every_random_mutation_is_refused(shipped):
    """Bit flips, truncations, insertions, deletions, at random places and at both ends: none loads."""
    whole, rng = shipped.read_bytes(), random.Random(7)
    for i in range(400):
        at = rng.randrange(len(whole))
        mutated = (
            whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :],
            whole[:at],
            whole[:at] + bytes([rng.randrange(256)]) + whole[at:],
            whole[:at] + whole[at + 1 :],
        )[i % 4]
        shipped.write_bytes(mutated)
        with pytest.raises(ArtifactError, match=ALTERED):
            load(shipped)


def test_every_flip_under_a_right_digest_is_refused_or_outside_the_graph(shipped):
    """What protects the parser when the digest does not; a class's name may be forged so, a weight may not."""
    whole, rng = shipped.read_bytes(), random.Random(8)
    graph = bytes(scan(whole))
    first, loaded = whole.index(graph), []
    for _ in range(400):
        at = rng.randrange(len(whole) - DIGEST_CHARS)
        sealed(shipped, whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        with contextlib.suppress(ArtifactError):
            loaded.append((at, load(shipped).network))
    assert 0 < len(loaded) < 200
    for at, found in loaded:
        assert not first <= at < first + len(graph), "the graph has a digest of its own in the manifest"
        assert all(np.array_equal(found.weights[name], array) for name, array in network().weights.items())


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to four bytes flipped, replaced, removed or added."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                del changed[at]
            case 3:
                changed.insert(at, rng.randrange(256))
    return bytes(changed)


def test_a_forged_graph_with_right_digests_is_refused_in_one_line_or_is_a_network(shipped):
    """The worst case: both digests mended after the damage. Nothing but an ArtifactError may come out."""
    whole, rng = shipped.read_bytes(), random.Random(9)
    graph = scan(whole)
    start = whole.index(graph)
    head, tail = whole[: start - len(_varint(len(graph)))], whole[start + len(graph) :]
    refused = 0
    for _ in range(600):
        forged = mutated(graph, rng)
        digests = [hashlib.sha256(g).hexdigest().encode() for g in (graph, forged)]
        sealed(shipped, head + _varint(len(forged)) + forged + tail.replace(*digests))
        try:
            load(shipped)
        except ArtifactError as fault:
            refused += "\n" not in str(fault)
    assert refused > 400


def add_external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def set_weight(role, value):
    def change(model):
        for tensor in model.graph.initializer:
            if tensor.name.endswith(role):
                array = onnx.numpy_helper.to_array(tensor).copy()
                array.flat[0] = value
                tensor.raw_data = array.tobytes()

    return change


def subgraph(model):
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", onnx.GraphProto(name="g")))


def huge_pads(model):
    (conv,) = (n for n in model.graph.node if n.op_type == "Conv")
    for attribute in conv.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [10**9, 10**9, 10**9, 10**9]


LISTED = "external data, sparse weights, subgraphs, functions and training graphs are not loaded"
CRAFTED = {
    "external data": (add_external, LISTED),
    "sparse weight": (lambda m: m.graph.sparse_initializer.add(), LISTED),
    "subgraph": (subgraph, LISTED),
    "function": (lambda m: m.functions.add(name="f"), LISTED),
    "training": (lambda m: m.training_info.add(), LISTED),
    "huge dims": (lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40]), "a weight of shape .* holds 288 bytes"),
    "negative dims": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -4), "a weight of shape"),
    "domain": (lambda m: setattr(m.graph.node[0], "domain", "evil"), LISTED),
    "opset": (lambda m: setattr(m.opset_import[0], "version", 7), r"loads IR 9, opset 19: ship the network again"),
    "operator": (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), r"operators \['Loop'\] are not allowed"),
    "double name": (lambda m: setattr(m.graph.initializer[1], "name", "conv"), "two tensors have the same name"),
    "type": (lambda m: setattr(m.graph.initializer[0], "data_type", 6), "a weight is not float32"),
    "NaN": (set_weight("fc.weight", np.nan), r"weight 'fc.weight' holds NaN or infinity; train the network again"),
    "infinity": (set_weight("bn.weight", np.inf), r"weight 'bn.weight' holds NaN or infinity"),
    "variance": (set_weight("running_var", -1), r"bn: a variance is negative; train the network again"),
    "huge maps": (huge_pads, r"a kernel, stride, pad or group is beyond 4,096; ship the network again"),
    "metadata": (lambda m: m.metadata_props.insert(0, onnx.StringStringEntryProto(key="a")), "metadata keys"),
    "output": (lambda m: setattr(m.graph.output[0], "name", "act"), "an artifact has 'input' and 'logits'"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CRAFTED.values(), ids=CRAFTED)
def test_crafted_files_are_refused(shipped, change, message):
    crafted(shipped, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        load(shipped)
    assert "\n" not in str(caught.value)


def test_a_graph_that_is_not_the_manifests(shipped):
    model = onnx.load(shipped)
    set_weight("fc.weight", 3.0)(model)
    sealed(shipped, model.SerializeToString(deterministic=True))
    with pytest.raises(ArtifactError, match=r"the graph is not the one that the manifest describes; ship the network"):
        load(shipped)


def test_deep_nesting_is_never_followed(tmp_path):
    """A graph in a graph in a graph: the walk stops at the first field it does not know."""
    data = b""
    for _ in range(2000):
        data = b"\x3a" + _varint(len(data)) + data
    with pytest.raises(ArtifactError, match="field 7 of Graph is unknown"):
        scan(data)


def test_a_length_beyond_the_file():
    with pytest.raises(ArtifactError, match="a field reaches beyond its message"):
        scan(b"\x3a\xff\xff\xff\xff\x0f")
    with pytest.raises(ArtifactError, match="a number does not end"):
        scan(b"\x08" + b"\xff" * 20)
    with pytest.raises(ArtifactError, match="not a model: the file holds no graph"):
        scan(b"")


def _varint(n: int) -> bytes:
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def test_links_folders_pipes_and_absent_files(shipped, tmp_path):
    (tmp_path / "link.onnx").symlink_to(shipped)
    os.mkfifo(tmp_path / "pipe.onnx")
    for name, reason in {
        "link.onnx": r"cannot be opened \(is a symbolic link\)",
        "none.onnx": r"cannot be opened \(No such file",
        "pipe.onnx": r"is no regular file", ".": "is no regular file",
    }.items():  # fmt: skip
        with pytest.raises(ArtifactError, match=reason):
            load(tmp_path / name)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ArtifactError, match=r"empty\.onnx: truncated"):
        load(tmp_path / "empty.onnx")


def test_what_is_said_must_fit_the_network(tmp_path):
    with pytest.raises(ArtifactError, match=r"^small gives \(3,\), and there are 2 classes; name them all$"):
        write(tmp_path / "m.onnx", network(), about(classes=("ant", "bee"), golden=()))
    other = Preprocessing(3, 7, 11, "crop", (0.4,) * 3, (0.2,) * 3).to_json()
    with pytest.raises(ArtifactError, match=r"^small takes \(3, 11, 7\), the preprocessing gives \(3, 7, 11\); use"):
        write(tmp_path / "m.onnx", network(), about(preprocessing=other, golden=()))
    with pytest.raises(
        ArtifactError, match=r"m.onnx: cannot be written \(No such file or directory\); choose a folder"
    ):
        write(tmp_path / "none" / "m.onnx", network(), about())


@pytest.mark.parametrize(
    "changes",
    [
        {"created": "2026-01-31T12:00:00"}, {"classes": ("a", "a", "b")}, {"golden_bound": -1.0}, {"colour": 1},
        {"temperature": 0.0}, {"temperature": -1.5}, {"temperature": np.inf}, {"temperature": "1.0"},
        {"abstain_below": 0.0}, {"abstain_below": 1.01}, {"abstain_below": np.nan},
    ],
)  # fmt: skip
def test_a_manifest_is_strict(changes):
    with pytest.raises(ValidationError):
        about(**changes)


def test_calibration_travels_with_the_file(tmp_path):
    said = about()
    assert (said.temperature, said.abstain_below) == (1.0, None)
    write(tmp_path / "m.onnx", network(), about(temperature=1.75, abstain_below=0.6))
    found = load(tmp_path / "m.onnx").manifest
    assert (found.temperature, found.abstain_below) == (1.75, 0.6)


def test_allowed_operators_are_those_the_layers_write():
    written: set[str] = set()
    for example in ALL:
        names = [f"x{i}" for i in range(len(example.shapes))]
        roles = {spec.role: spec.role for spec in example.op.weight_specs()}
        with contextlib.suppress(ShapeError):  # settings that ONNX has no node for
            written |= {n.op_type for n in example.op.to_onnx(names, "y", roles, list(example.shapes))}
    assert written == OP_TYPES
    assert {example.op.kind for example in ALL} == set(OPS)


def test_no_torch():
    code = "import sys, striate.artifact, striate.runtime; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
