"""Mutate and craft model files and load them: each must be refused in one line, or load and pass its self-test.

    .venv/bin/python dev/fuzz_artifacts.py [--count 1000] [--seed 0]

The work is done in a process of its own under a limit of address space, whose death is a finding. A file is a pure
function of (seed, number), so that one that fails is made again by its number alone. Prints one table and one line of
JSON; docs/security.md keeps the result.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from strategies import with_random_weights  # noqa: E402 - tests hold the networks
from striate.artifact import About, golden_case, write  # noqa: E402
from striate.artifact.manifest import DIGEST_CHARS, MANIFEST_KEY  # noqa: E402
from striate.artifact.wire import scan  # noqa: E402
from striate.data import Preprocessing  # noqa: E402
from striate.errors import StriateError  # noqa: E402
from striate.geometry import Window  # noqa: E402
from striate.graph import INPUT, Builder  # noqa: E402
from striate.graph.reference import output  # noqa: E402
from striate.ops import Activation, Add, BatchNorm, Concat, Conv, GlobalAvgPool, Linear, MaxPool  # noqa: E402
from striate.runtime import Engine, self_test  # noqa: E402

MEMORY_LIMIT_BYTES = 2**32  # of address space: libraries map far more than they touch; what they touch is measured
RSS_LIMIT_BYTES = 2**30
BATCH = 100
SECONDS_A_FILE = 60
PREPROCESSING = Preprocessing(3, 11, 7, "crop", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def sound_file() -> bytes:
    """A small artifact with branches, a norm, groups, a pool, golden cases, and pixels as its input."""
    b = Builder("sound", PREPROCESSING.shape)
    b.add(Conv(3, 4, (Window(3, 2, 1, 1, 0), Window(2)), bias=False), INPUT, name="conv")
    b.add(BatchNorm(4), "conv", name="bn")
    b.add(Activation("relu6"), "bn", name="act")
    b.add(Conv(4, 4, (Window(1), Window(3, pad_lo=1, pad_hi=1)), groups=2), "act", name="grouped")
    b.add(Add(), "grouped", "act", name="add")
    b.add(Concat(), "add", "act", name="cat")
    b.add(MaxPool((Window(2), Window(3))), "cat", name="pool")
    b.add(GlobalAvgPool(), "pool", name="gap")
    b.add(Linear(8, 3), "gap", name="fc")
    network = with_random_weights(b.build(), 5)
    pixels = np.random.default_rng(0).integers(0, 256, PREPROCESSING.shape, np.uint8)
    logits = output(network.astype(np.float64), pixels[None].astype(np.float64))[0]
    about = About(
        network="sound", classes=("ant", "bee", "cow"), preprocessing=PREPROCESSING.to_json(),
        created="2026-01-31T12:00:00+00:00", proof={"worst": 1e-7},
        golden=(golden_case(pixels, PREPROCESSING, logits),), golden_bound=1e-2 * float(np.abs(logits).max()),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.onnx"
        write(path, network, about, "uint8")
        return path.read_bytes()


def sealed(data: bytes) -> bytes:
    """The file with a right digest at its end: what an attacker would do."""
    body = data[:-DIGEST_CHARS]
    return body + hashlib.sha256(body).hexdigest().encode()


def resealed(model: onnx.ModelProto) -> bytes:
    """The model with both digests right."""
    graph = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    for entry in model.metadata_props:
        if entry.key == MANIFEST_KEY:
            entry.value = json.dumps(json.loads(entry.value) | {"graph_sha256": graph})
    return sealed(model.SerializeToString(deterministic=True))


# Random damage: bytes to bytes.


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning, the end, or a piece in the middle is gone."""
    a, b = sorted(int(i) for i in rng.integers(0, len(data), 2))
    return (data[:a], data[b:], data[:a] + data[b:])[int(rng.integers(0, 3))]


def repeated(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece stands twice."""
    a, b = sorted(int(i) for i in rng.integers(0, len(data), 2))
    return data[:b] + data[a:b] + data[b:]


def shuffled(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes set to the ends of their range, a few lengths and tags among them."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 5)):
        changed[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
    return bytes(changed)


def in_graph(damage: Callable[[bytes, np.random.Generator], bytes]) -> Callable[[bytes, np.random.Generator], bytes]:
    """The damage inside the graph's bytes alone, with all lengths and both digests mended."""

    def forged(data: bytes, rng: np.random.Generator) -> bytes:
        graph = scan(data)
        start = data.index(graph)
        head, tail = data[: start - len(varint(len(graph)))], data[start + len(graph) :]
        changed = damage(graph, rng)
        digests = [hashlib.sha256(g).hexdigest().encode() for g in (graph, changed)]
        return sealed(head + varint(len(changed)) + changed + tail.replace(*digests))

    return forged


def varint(n: int) -> bytes:
    """A number in groups of 7 bits."""
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


# Crafted files: what an attacker would write, with right digests.


def external(where: str) -> Callable[[onnx.ModelProto], None]:
    """Weights that lie in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=where)

    return change


def weight(role: str, value: float) -> Callable[[onnx.ModelProto], None]:
    """The first number of each weight whose name ends so."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith(role):
                array = numpy_helper.to_array(tensor).copy()
                array.flat[0] = value
                tensor.raw_data = array.tobytes()

    return change


def numbers(op_type: str, name: str, *values: int) -> Callable[[onnx.ModelProto], None]:
    """An attribute of a layer set to these integers."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == op_type and attribute.name == name and attribute.type == onnx.AttributeProto.INT:
                    attribute.i = values[0]
                elif node.op_type == op_type and attribute.name == name:
                    attribute.ints[:] = values

    return change


def behind_act(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Nodes between "act" and all that reads it; the last writes "evil"."""
    for node in model.graph.node:
        node.input[:] = ["evil" if name == "act" else name for name in node.input]
    at = next(i for i, node in enumerate(model.graph.node) if "act" in node.output)
    later = list(model.graph.node)[at + 1 :]
    del model.graph.node[at + 1 :]
    model.graph.node.extend([*nodes, *later])


def inserted(op_type: str, domain: str = "", **attributes: object) -> Callable[[onnx.ModelProto], None]:
    """A layer more."""

    def change(model: onnx.ModelProto) -> None:
        behind_act(model, helper.make_node(op_type, ["act"], ["evil"], "evil", domain=domain or None, **attributes))

    return change


def nested(depth: int) -> onnx.GraphProto:
    """A graph in a graph in a graph."""
    inner = onnx.GraphProto(name="g")
    for _ in range(depth):
        outer = onnx.GraphProto(name="g")
        node = outer.node.add(op_type="If")
        node.attribute.append(helper.make_attribute("then_branch", inner))
        inner = outer
    return inner


def manifest(**changes: object) -> Callable[[onnx.ModelProto], None]:
    """Another manifest."""

    def change(model: onnx.ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == MANIFEST_KEY:
                entry.value = json.dumps(json.loads(entry.value) | changes)

    return change


def raw_manifest(text: str) -> Callable[[onnx.ModelProto], None]:
    """Any text as the manifest; the digest of the graph is not mended in it."""

    def change(model: onnx.ModelProto) -> None:
        model.metadata_props[0].value = text

    return change


def clear_shape(model: onnx.ModelProto) -> None:
    """An input of unknown size."""
    model.graph.input[0].type.tensor_type.ClearField("shape")


def padded(pixels: int) -> Callable[[onnx.ModelProto], None]:
    """So much padding in the first convolution: small in the file, large in memory."""

    def change(model: onnx.ModelProto) -> None:
        first = next(node for node in model.graph.node if node.op_type == "Conv")
        next(a for a in first.attribute if a.name == "pads").ints[:] = [pixels] * 4

    return change


def many_padded(model: onnx.ModelProto) -> None:
    """Twenty large maps that must all be kept until one sum reads them."""
    padded(1500)(model)
    names = [f"evil{i}" for i in range(20)]
    maps = [helper.make_node("Abs", ["act"], [name], name) for name in names]
    behind_act(model, *maps, helper.make_node("Sum", names, ["evil"], "evil"))


CHANGES: Mapping[str, Callable[[onnx.ModelProto], None]] = {
    "external: absolute": external("/etc/passwd"),
    "external: up": external("../../../../etc/passwd"),
    "external: here": external("weights.bin"),
    "external: nul": external("a\0b"),
    "external: device": external("/dev/zero"),
    "sparse weight": lambda m: m.graph.sparse_initializer.add(),  # type: ignore[dict-item]
    "subgraph": lambda m: m.graph.node[1].attribute.append(helper.make_attribute("body", onnx.GraphProto(name="g"))),
    "subgraph, deep": lambda m: m.graph.node[1].attribute.append(helper.make_attribute("body", nested(20))),
    "If": inserted("If", then_branch=nested(1), else_branch=nested(1)),
    "Loop": inserted("Loop", body=nested(1)),
    "Scan": inserted("Scan", body=nested(1), num_scan_inputs=1),
    "function": lambda m: m.functions.add(name="f", domain="evil"),  # type: ignore[dict-item]
    "training graph": lambda m: m.training_info.add(),  # type: ignore[dict-item]
    "foreign domain": inserted("Relu", "evil"),
    "foreign opset": lambda m: m.opset_import.add(domain="evil", version=1),  # type: ignore[dict-item]
    "old opset": lambda m: setattr(m.opset_import[0], "version", 7),
    "new IR": lambda m: setattr(m, "ir_version", 99),
    "Cast": inserted("Cast", to=TensorProto.STRING),
    "Gather": inserted("Gather", axis=0),
    "RandomNormal": inserted("RandomNormalLike"),
    "EyeLike": inserted("EyeLike"),
    "Constant, huge": inserted("Constant", value_ints=list(range(1000))),
    "dims, huge": lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40]),
    "dims, negative": lambda m: m.graph.initializer[0].dims.__setitem__(0, -4),
    "dims, zero": lambda m: m.graph.initializer[0].dims.__setitem__(0, 0),
    "dims, many": lambda m: m.graph.initializer[0].dims.extend([1] * 5000),
    "pads, huge": numbers("Conv", "pads", *(10**9,) * 4),
    "pads, at the limit": numbers("Conv", "pads", *(4096,) * 4),
    "pads, negative": numbers("Conv", "pads", -3, -3, -3, -3),
    "pads, three": numbers("Conv", "pads", 1, 1, 1),
    "maps, as large as allowed": padded(2000),
    "maps, many large": many_padded,
    "stride, zero": numbers("Conv", "strides", 0, 0),
    "stride, huge": numbers("Conv", "strides", 2**62, 2**62),
    "dilation, zero": numbers("Conv", "dilations", 0, 0),
    "group, zero": numbers("Conv", "group", 0),
    "group, huge": numbers("Conv", "group", 2**31),
    "group, other": numbers("Conv", "group", 3),
    "kernel, other": numbers("MaxPool", "kernel_shape", 4000, 4000),
    "axis, other": numbers("Concat", "axis", 7),
    "two tensors of one name": lambda m: setattr(m.graph.initializer[1], "name", m.graph.initializer[0].name),
    "a cycle": lambda m: m.graph.node[1].input.__setitem__(0, "fc"),
    "a dangling input": lambda m: m.graph.node[1].input.__setitem__(0, "nobody"),
    "no output": lambda m: m.graph.ClearField("output"),
    "no input": lambda m: m.graph.ClearField("input"),
    "two inputs": lambda m: m.graph.input.append(m.graph.input[0]),
    "output of another name": lambda m: setattr(m.graph.output[0], "name", "act"),
    "input of another type": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.STRING),
    "float input, yet a Cast": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 1),
    "input of unknown size": clear_shape,
    "input of another size": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 12),
    "weight as float64": lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.DOUBLE),
    "weight as text": lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING),
    "NaN": weight("fc.weight", float("nan")),
    "infinity": weight("weight", float("inf")),
    "negative variance": weight("running_var", -1.0),
    "NaN variance": weight("running_var", float("nan")),
    "another weight": weight("fc.weight", 3.0),  # digests right: only the golden cases know
    "doc string": lambda m: setattr(m, "doc_string", "x" * 10**6),
    "metadata key": lambda m: m.metadata_props.insert(0, onnx.StringStringEntryProto(key="a", value="b")),
    "no metadata": lambda m: m.ClearField("metadata_props"),
    "manifest: no JSON": raw_manifest("{"),
    "manifest: deep": raw_manifest("[" * 200_000),
    "manifest: deep objects": raw_manifest('{"a":' * 100_000),
    "manifest: long": raw_manifest(" " * (2**25 + 1)),
    "manifest: unknown key": manifest(evil=1),
    "manifest: deep proof": manifest(proof=json.loads("[" * 400 + "]" * 400)),
    "manifest: classes": manifest(classes=["a"]),
    "manifest: twice a class": manifest(classes=["a", "a", "b"]),
    "manifest: huge image": manifest(preprocessing=PREPROCESSING.to_json() | {"height": 10**12}),
    "manifest: 4,096 px": manifest(preprocessing=PREPROCESSING.to_json() | {"height": 4096, "width": 4096}),
    "manifest: std 0": manifest(preprocessing=PREPROCESSING.to_json() | {"std": [0, 1, 1]}),
    "manifest: NaN mean": manifest(preprocessing=PREPROCESSING.to_json() | {"mean": [float("nan"), 0, 0]}),
    "manifest: bad base64": manifest(golden=[{"pixels": "%%%", "tensor_sha256": "0" * 64, "logits": ["0x1.0p+0"] * 3}]),
    "manifest: logits": manifest(golden=[{"pixels": "", "tensor_sha256": "0" * 64, "logits": ["nan"] * 3}]),
    "manifest: bound": manifest(golden_bound=-1.0),
    "manifest: temperature": manifest(temperature=0.0),
    "manifest: format": manifest(format=2),
    "manifest: float32 input": manifest(input={"name": "input", "dtype": "float32", "shape": ["N", 3, 11, 7]}),
}


def zip_bomb() -> bytes:
    """A zip file of a gigabyte of zeros: another format altogether."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.onnx", "w") as member:
        for _ in range(64):
            member.write(bytes(2**20))
    return data.getvalue()


def deep_graph(_: bytes) -> bytes:
    """A message in a message in a message, 20,000 deep."""
    data = b""
    for _ in range(20_000):
        data = b"\x3a" + varint(len(data)) + data
    return sealed(data + bytes(DIGEST_CHARS))


FILES: Mapping[str, Callable[[bytes], bytes]] = {
    "file: empty": lambda _: b"",
    "file: zeros": lambda _: bytes(10**6),
    "file: ones": lambda _: b"\xff" * 10**6,
    "file: its digest alone": lambda _: sealed(bytes(DIGEST_CHARS)),
    "file: zip bomb": lambda _: zip_bomb(),
    "file: pickle": lambda _: pickle.dumps({"weights": [1.0]}),
    "file: deep": deep_graph,
    "file: a million fields": lambda data: sealed(data[:-DIGEST_CHARS] + b"\x08\x09" * 10**6 + bytes(DIGEST_CHARS)),
    "file: graph twice": lambda data: sealed(b"\x3a" + varint(len(scan(data))) + scan(data) + data),
    "file: wrong digest": lambda data: data[:-1] + (b"0" if data[-1:] != b"0" else b"1"),
}

DAMAGE: Mapping[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bits flipped": flipped,
    "a piece cut out": cut,
    "a piece repeated": repeated,
    "bytes at their ends": shuffled,
    "bits flipped, digest mended": lambda data, rng: sealed(flipped(data, rng)),
    "a piece cut out, digest mended": lambda data, rng: sealed(cut(data, rng)),
    "a piece repeated, digest mended": lambda data, rng: sealed(repeated(data, rng)),
    "bytes at their ends, digest mended": lambda data, rng: sealed(shuffled(data, rng)),
    "graph: bits flipped, both mended": in_graph(flipped),
    "graph: a piece cut out, both mended": in_graph(cut),
    "graph: a piece repeated, both mended": in_graph(repeated),
    "graph: bytes at their ends, both mended": in_graph(shuffled),
}


def made(sound: bytes, seed: int, number: int) -> tuple[str, bytes]:
    """File `number` and what was done to it: first every crafted one, then random damage in turn."""
    crafted = [*CHANGES, *FILES]
    if number < len(CHANGES):
        model = onnx.load_model_from_string(sound)
        CHANGES[crafted[number]](model)
        raw = crafted[number] in RAW or not model.metadata_props
        return crafted[number], sealed(model.SerializeToString(deterministic=True)) if raw else resealed(model)
    if number < len(crafted):
        return crafted[number], FILES[crafted[number]](sound)
    name = list(DAMAGE)[number % len(DAMAGE)]
    return name, DAMAGE[name](sound, np.random.default_rng([seed, number]))


RAW = ("manifest: no JSON", "manifest: deep", "manifest: deep objects", "manifest: long")


def outcome(path: Path) -> str:
    """`refused: ` and why, or `sound` where the file loads and its golden cases hold.

    Raises: whatever else comes out, a message of several lines too.
    """
    try:
        engine = Engine(path, 1)
        self_test(engine, engine.manifest)
    except StriateError as fault:
        if "\n" in str(fault):
            raise
        return f"refused: {str(fault).partition(': ')[2]}"
    return "sound"


def work(seed: int, first: int, last: int) -> None:
    """In the process of its own: one line of JSON a file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    sound = sound_file()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for number in range(first, last):
            name, data = made(sound, seed, number)
            path.write_bytes(data)
            print(json.dumps({"number": number, "name": name, "outcome": "died"}), flush=True)
            try:
                found = outcome(path)
            except Exception as fault:  # noqa: BLE001 - what must not come out, whatever it is
                found = f"{type(fault).__name__}: {' '.join(str(fault).split())[:100]}"
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"number": number, "name": name, "outcome": found, "rss": rss}), flush=True)


def run(seed: int, count: int) -> dict[int, dict[str, object]]:
    """What became of every file; a process that dies is begun again behind the file that killed it."""
    found: dict[int, dict[str, object]] = {}
    first = 0
    while first < count:
        last = min(first + BATCH, count)
        command = [sys.executable, __file__, "--seed", str(seed), "--work", str(first), str(last)]
        limit = SECONDS_A_FILE * BATCH
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        for line in done.stdout.splitlines():
            one = json.loads(line)
            found[one["number"]] = one
        if first not in found:
            raise SystemExit(f"the process gave nothing: {done.stderr[-500:]}")
        first = max(found) + 1
    return found


def main() -> int:
    """Make the files, load them, print what became of them; 1 if any was neither refused nor sound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reasons", action="store_true", help="print what each file was told")
    parser.add_argument("--work", type=int, nargs=2)
    given = parser.parse_args()
    if given.work:
        work(given.seed, *given.work)
        return 0
    start = time.monotonic()
    found = run(given.seed, given.count)
    table: dict[str, Counter[str]] = {}
    for one in found.values():
        if given.reasons:
            print(f"{one['number']:>5} {one['name']}: {one['outcome']}")
        kind = "crafted" if one["name"] in {*CHANGES, *FILES} else str(one["name"])
        table.setdefault(kind, Counter())[str(one["outcome"]).partition(":")[0]] += 1
    for kind, counts in table.items():
        refused, sound = counts["refused"], counts["sound"]
        print(f"| {kind} | {refused} | {sound} | {counts.total() - refused - sound} |")
    faults = [one for one in found.values() if not str(one["outcome"]).startswith(("refused: ", "sound"))]
    rss = max(int(str(one.get("rss", 0))) for one in found.values())
    seconds = round(time.monotonic() - start)
    print(json.dumps({"files": len(found), "faults": faults, "rss_mb": rss // 2**20, "seconds": seconds}))
    return int(bool(faults) or rss > RSS_LIMIT_BYTES)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
