"""Writing an artifact: graph, manifest, and last in the file the digest of all before it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from striate._version import __version__
from striate.artifact.manifest import FORMAT, About, Manifest, Tensor
from striate.errors import ArtifactError
from striate.graph import INPUT, Network, infer_shapes
from striate.graph.to_onnx import BATCH, LOGITS, to_bytes, to_onnx

MANIFEST_KEY = "striate.manifest"
DIGEST_KEY = "striate.sha256"
DIGEST_CHARS = 64


def write(path: Path, network: Network, about: About) -> Manifest:
    """Write `network` as an artifact and return its manifest; an older file stays whole until the new one is.

    The file is plain ONNX. Its metadata comes last, and the last value in it is the SHA-256, in hex, of every byte
    before: one look at the end tells whether the file is the one that was written.
    Raises: ArtifactError where the network does not fit what is said about it, or the disk refuses.
    """
    manifest = _manifest(network, about)
    metadata = {MANIFEST_KEY: manifest.model_dump_json(), DIGEST_KEY: "0" * DIGEST_CHARS}
    body = to_bytes(to_onnx(network, metadata=metadata))[:-DIGEST_CHARS]
    try:
        _replace(path, body + hashlib.sha256(body).hexdigest().encode())
    except OSError as fault:
        raise ArtifactError(f"{path}: cannot be written ({fault.strerror}); choose a folder you may write to") from None
    return manifest


def _manifest(network: Network, about: About) -> Manifest:
    shape = infer_shapes(network)[network.output]
    if network.input_shape != about.prepared().shape:
        raise ArtifactError(
            f"{network.name} takes {network.input_shape}, the preprocessing gives {about.prepared().shape}; use the "
            "preprocessing it was trained with"
        )
    if shape != (len(about.classes),):
        raise ArtifactError(f"{network.name} gives {shape}, and there are {len(about.classes)} classes; name them all")
    graph = to_onnx(network).graph.SerializeToString(deterministic=True)
    return Manifest(
        **dict(about),
        format=FORMAT,
        striate=__version__,
        input=Tensor(name=INPUT, shape=(BATCH, *network.input_shape)),
        output=Tensor(name=LOGITS, shape=(BATCH, *shape)),
        graph_sha256=hashlib.sha256(graph).hexdigest(),
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
