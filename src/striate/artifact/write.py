"""Writing an artifact: graph, manifest, and last in the file the digest of all before it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import onnx

from striate._version import __version__
from striate.artifact.int8 import Ranges
from striate.artifact.manifest import DIGEST_CHARS, DIGEST_KEY, FORMAT, MANIFEST_KEY, About, Manifest, Tensor
from striate.artifact.pixels import Dtype, model_of
from striate.artifact.read import checked
from striate.errors import ArtifactError, StriateError
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.to_onnx import BATCH, LOGITS, to_bytes


def write(
    path: Path, network: Network, about: About, dtype: Dtype = "float32", ranges: Ranges | None = None
) -> Manifest:
    """Write `network` as an artifact and return its manifest; an older file stays whole until the new one is.

    The file is plain ONNX. Its metadata comes last, and the last value in it is the SHA-256, in hex, of every byte
    before: one look at the end tells whether the file is the one that was written.
    dtype: what the file's input takes: "uint8" where the network reads pixels of 0 to 255, which are then cast.
    ranges: of its tensors, where it is to compute with 8-bit integers; `about.int8` then says what that cost.
    Raises: ArtifactError where the network does not fit what is said about it, where `load` would refuse the file, or
    the disk does.
    """
    model = model_of(network, dtype, ranges)
    manifest = _manifest(network, about, model, dtype)
    for key, value in ((MANIFEST_KEY, manifest.model_dump_json()), (DIGEST_KEY, "0" * DIGEST_CHARS)):
        model.metadata_props.add(key=key, value=value)
    body = to_bytes(model)[:-DIGEST_CHARS]
    data = body + hashlib.sha256(body).hexdigest().encode()
    try:
        checked(data)
    except StriateError as fault:
        raise ArtifactError(f"{path}: would not load and is not written: {fault}") from None
    try:
        _replace(path, data)
    except OSError as fault:
        raise ArtifactError(f"{path}: cannot be written ({fault.strerror}); choose a folder you may write to") from None
    return manifest


def _manifest(network: Network, about: About, model: onnx.ModelProto, dtype: Dtype) -> Manifest:
    shape = infer_shapes(network)[network.output]
    if network.input_shape != about.prepared().shape:
        raise ArtifactError(
            f"{network.name} takes {network.input_shape}, the preprocessing gives {about.prepared().shape}; use the "
            "preprocessing it was trained with"
        )
    if shape != (len(about.classes),):
        raise ArtifactError(f"{network.name} gives {shape}, and there are {len(about.classes)} classes; name them all")
    return Manifest(
        **dict(about),
        format=FORMAT,
        striate=__version__,
        input=Tensor(name=INPUT, dtype=dtype, shape=(BATCH, *network.input_shape)),
        output=Tensor(name=LOGITS, shape=(BATCH, *shape)),
        graph_sha256=hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest(),
    )


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file, flush to disk, rename, flush the folder's entry."""
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
