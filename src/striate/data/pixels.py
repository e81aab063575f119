"""Decoded images on disk: one memory-mapped file a part, for data that do not fit in memory.

A file is the pixels (N, C, H, W) uint8, a note in JSON, and the note's length in 8 bytes. It gets its name once it is
complete, and that name says what it was decoded from: `train-3f0c9a51d2e7.pixels`. It is used again as long as the
sources, the target and the decoder are the same and its pixels still have the hash in the note.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from striate.data.encoded import Place
from striate.data.memory import gigabytes
from striate.data.preprocess import Preprocessing
from striate.errors import DataError

FORMAT = 1  # of the file and of what decoding does: raise it when the same sources give other bytes
UNFINISHED = ".unfinished"  # suffix of a file being written
NEXT_STEP = "make room, name another pixels_folder, or use a smaller image_size"
LENGTH_BYTES = 8
_CHUNK_BYTES = 2**22

Shape = tuple[int, int, int]
Images = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The images that could be decoded (N, C, H, W), and why the others could not, by their row in the source."""

    images: NDArray[np.uint8]
    faults: Mapping[int, str] = field(default_factory=dict)


def key_of(places: Iterator[Place], target: Preprocessing) -> str:
    """A name for what decoding gives: each image's place, its file's size and time of change, target and decoder."""
    decoder = [FORMAT, PIL.__version__, *target.shape, target.fit]
    digest, seen = hashlib.sha256(json.dumps(decoder).encode()), set[Path]()
    for path, position in places:
        digest.update(f"\0{path}\0{position}".encode())
        if path not in seen:
            seen.add(path)
            digest.update(_state(path))
    return digest.hexdigest()[:12]


def on_disk(path: Path, count: int, shape: Shape, decode: Callable[[dict[int, str]], Images]) -> Decoded:
    """Images of a file, which is written first unless it is there and whole; at most a few are in memory at a time.

    decode: gives the images, `count` at most, and notes the rows of those that it leaves out.
    Of several processes one writes, and the others wait and use what it wrote.
    Raises: DataError where the folder cannot be used, or its disk is too small or becomes full.
    """
    try:
        with _locked(path.parent):
            note = _note(path, count, shape) or _written(path, count, shape, decode)
    except OSError as fault:
        raise DataError(f"{path}: cannot be written ({fault.strerror}); {NEXT_STEP}") from None
    faults = dict(note["faults"])
    if not note["images"]:  # nothing cannot be mapped
        return Decoded(np.empty((0, *shape), np.uint8), faults)
    return Decoded(np.memmap(path, np.uint8, "r", shape=(note["images"], *shape)), faults)


def _state(path: Path) -> bytes:
    """What changes when a file does; decoding says what is wrong with one that is absent."""
    try:
        found = path.stat()
    except OSError:
        return b"absent"
    return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}".encode()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep other processes from writing in it. The lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(entry, fcntl.LOCK_EX)
        yield
    finally:
        os.close(entry)


def _written(path: Path, count: int, shape: Shape, decode: Callable[[dict[int, str]], Images]) -> dict[str, Any]:
    """Write a file under another name, flush it to disk and rename it; return its note."""
    needed, free = count * prod(shape), shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"{path.parent}: {gigabytes(needed)} of pixels, {gigabytes(free)} free on its disk; {NEXT_STEP}"
        )
    beside = path.with_name(path.name + UNFINISHED)
    digest, faults, images = hashlib.sha256(), dict[int, str](), 0
    try:
        with beside.open("wb") as file:
            for image in decode(faults):
                file.write(image.data)
                digest.update(image.data)
                images += 1
            rows = list(faults.items())
            digest.update(json.dumps(rows).encode())
            note = {"images": images, "faults": rows, "sha256": digest.hexdigest()}
            text = json.dumps(note).encode()
            file.write(text + len(text).to_bytes(LENGTH_BYTES, "little"))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return note


def _note(path: Path, count: int, shape: Shape) -> dict[str, Any] | None:
    """The note of a whole file; None where there is none, or a damaged one, which is then decoded anew."""
    try:
        with path.open("rb") as file:
            end = file.seek(-LENGTH_BYTES, os.SEEK_END)
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            file.seek(max(0, end - length))
            note: dict[str, Any] = json.loads(file.read(min(length, end)))
            size = note["images"] * prod(shape)
            fits = size == end - length and note["images"] + len(note["faults"]) == count
            whole = fits and _digest(file, size, note["faults"]) == note["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return note if whole else None


def _digest(file: BinaryIO, count: int, faults: list[tuple[int, str]]) -> str:
    """SHA-256 of the first `count` bytes, a piece in memory at a time, and of what was left out."""
    digest = hashlib.sha256()
    file.seek(0)
    while count and (piece := file.read(min(count, _CHUNK_BYTES))):
        digest.update(piece)
        count -= len(piece)
    digest.update(json.dumps(faults).encode())
    return digest.hexdigest()
