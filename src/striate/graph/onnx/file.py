"""An ONNX file's bytes as a model, read with suspicion: what is no model is said to be what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types

from striate.errors import CaptureError

MAX_BYTES = 2**31 - 1  # protobuf's own limit; larger models keep their weights outside the file
LONGEST_NAME = 2**10
BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes; name the module itself, as package.module:callable"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file it points to; fetch that with `git lfs pull`"),
    (b"\x89PNG", "a picture; name the model"),
    (b"\xff\xd8\xff", "a picture; name the model"),
    (b"\x89HDF", "an HDF5 file, as Keras writes; export it to ONNX with tf2onnx"),
    (b"<", "a web page or XML, as failed downloads are; download it again"),
)
"""How files begin that people take for models, and what to do then."""


def load(path: Path) -> onnx.ModelProto:
    """The model in the file `path`; nothing outside it is read.  Raises: CaptureError in one line."""
    data = _bytes(path)
    for beginning, what in BEGINNINGS:
        if data.startswith(beginning):
            raise CaptureError(f"{path}: is {what}")
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise CaptureError(
            f"{path}: not an ONNX file, or a damaged or truncated one; export or copy it again"
        ) from None
    if not model.graph.node:
        raise CaptureError(f"{path}: holds no nodes, so no network: it is empty or cut off; export or copy it again")
    return model


def _bytes(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would block, a device never end
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise CaptureError(f"{path}: is no regular file; name the model's file")
            if status.st_size > MAX_BYTES:
                raise CaptureError(
                    f"{path}: has {status.st_size:,} bytes, more than ONNX allows; export it with external_data=True"
                )
            return file.read(MAX_BYTES)
    except OSError as fault:
        raise CaptureError(f"{path}: cannot be read ({fault.strerror}); check the path") from None


def check_text(graph: onnx.GraphProto) -> None:
    """Names are text of one line: where they are not UTF-8, protobuf hands out bytes.  Raises: CaptureError."""
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME and name.isprintable() for name in _names(graph)):
        raise CaptureError("onnx: a name in the file is no line of UTF-8 text: it is damaged; export or copy it again")


def _names(graph: onnx.GraphProto) -> Iterator[object]:
    yield graph.name
    for one in (*graph.input, *graph.output, *graph.initializer):
        yield one.name
    for value in (*graph.input, *graph.value_info):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def check_written_once(graph: onnx.GraphProto, inputs: set[str]) -> None:
    """Check that no two nodes write one tensor, and none writes an input.  Raises: CaptureError."""
    written = set(inputs)
    for node in graph.node:
        if not node.output:
            raise CaptureError(f"onnx node {node.name!r} ({node.op_type}): writes nothing; the file is damaged")
        for name in node.output:
            if name in written:
                raise CaptureError(
                    f"onnx node {node.name or name!r} ({node.op_type}): writes {name!r}, which is written before it; "
                    "the file is damaged or made by a faulty exporter"
                )
            if name:
                written.add(name)
