"""Tar shards in WebDataset's layout: key.jpg with key.cls or key.json beside it, shard after shard.

Nothing is extracted: members are read in place, and their names never become paths on disk.
Layout: https://github.com/webdataset/webdataset (README, "The WebDataset Format")
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from striate.data.encoded import MAX_FILE_BYTES, Content, Encoded, Place
from striate.data.folders import SUFFIXES, is_image
from striate.data.raw import Found
from striate.data.tables import Rows, find_rows
from striate.errors import DataError

MAX_LABEL_BYTES = 2**20  # of a .cls or .json member, and of a header that tarfile reads in one piece
NEXT_STEP = "write the shard again with plain files"


@dataclass(frozen=True, slots=True)
class _Sample:
    """Members of one key: where the image lies, and the label where there is one."""

    key: str
    image: str
    offset: int
    size: int
    label: str | None
    group: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """Images inside tar files by position. Shapes: file, offset and size (N,) int64."""

    files: tuple[Path, ...]
    file: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def read(self) -> Iterator[Content]:
        """Each image's bytes, one image in memory at a time."""
        for number, path in enumerate(self.files):
            chosen = self.file == number
            if not chosen.any():
                continue
            with path.open("rb") as shard:
                for offset, size in zip(self.offset[chosen].tolist(), self.size[chosen].tolist(), strict=True):
                    shard.seek(offset)
                    yield shard.read(size)

    def places(self) -> Iterator[Place]:
        """Each image's shard, and its offset in bytes."""
        pairs = zip(self.file.tolist(), self.offset.tolist(), strict=True)
        return ((self.files[number], offset) for number, offset in pairs)

    def take(self, indices: NDArray[np.int64]) -> Shards:
        """The images at ``indices``, which ascend."""
        return Shards(self.files, self.file[indices], self.offset[indices], self.size[indices])


@dataclass(slots=True)
class _Index:
    rows: Rows = field(default_factory=Rows)
    file: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)


def read_tar(source: str, files: Mapping[str, tuple[Path, ...]]) -> Found:
    """Shards by part name ("whole" where their names do not say), indexed and not read; images are named shard/file.

    A label is the text of key.cls, or "label" (else "class" or "cls") of key.json, which may also hold "group".
    Raises: DataError on a damaged shard, a member that is no plain file, or an image without label.
    """
    index = _Index()
    paths: list[Path] = []
    for part, shards in files.items():
        for shard in shards:
            for sample in _samples(shard):
                if sample.label is None:
                    raise DataError(f"{shard}: {sample.image} has no label; add {sample.key}.cls or {sample.key}.json")
                index.rows.names.append(f"{shard.name}/{sample.image}")
                index.rows.labels.append(sample.label)
                if sample.group is not None:
                    index.rows.groups.append(sample.group)
                if part != "whole":
                    index.rows.splits.append(part)
                index.file.append(len(paths))
                index.offset.append(sample.offset)
                index.size.append(sample.size)
            paths.append(shard)
    if len(index.rows.groups) not in (0, len(index.rows.names)):
        raise DataError(f"{source}: some images have a group and some do not; give one to each or to none")
    columns = (np.array(column, np.int64) for column in (index.file, index.offset, index.size))
    return find_rows(source, index.rows, Shards(tuple(paths), *columns))


def stream_tar(files: Mapping[str, tuple[Path, ...]]) -> Iterator[Encoded]:
    """The images of shards, labelled or not, one in memory at a time and without an index."""
    for shard in (shard for shards in files.values() for shard in shards):
        with shard.open("rb") as content:
            for sample in _samples(shard):
                content.seek(sample.offset)
                yield Encoded(f"{shard.name}/{sample.image}", content.read(sample.size))


def stream_any_tar(path: Path) -> Iterator[Encoded]:
    """The images of one tar file under their full names, however they are grouped; labels are not looked at."""
    try:
        with path.open("rb") as file, path.open("rb") as content:
            for member in _members(file, path):
                if is_image(member.name):
                    content.seek(member.offset_data)
                    yield Encoded(f"{path}/{member.name}", content.read(member.size))
    except OSError as fault:
        raise _unread(path, fault) from fault


class _Limited:
    """A shard as tarfile reads it: no header may ask for more than a limit, whatever size it claims."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_LABEL_BYTES:
            raise DataError(f"{self.path}: a header of {size:,} bytes; {NEXT_STEP}")
        return self.file.read(size)


def _samples(path: Path) -> Iterator[_Sample]:
    """Group the members by key: neighbours in the shard, as WebDataset requires."""
    key: str = ""
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    try:
        with path.open("rb") as file:
            for member in _members(file, path):
                folder, _, name = member.name.rpartition("/")
                its_key, _, suffix = name.partition(".")
                its_key = f"{folder}/{its_key}" if folder else its_key
                if its_key != key:
                    yield from _sample(key, members, path)
                    key, members = its_key, {}
                if suffix.lower() in members:
                    raise DataError(f"{path}: {member.name} is there twice; {NEXT_STEP}")
                is_label = suffix.lower() in ("cls", "json")
                members[suffix.lower()] = member, _label_bytes(file, member, path) if is_label else b""
            yield from _sample(key, members, path)
    except OSError as fault:
        raise _unread(path, fault) from fault


def _unread(path: Path, fault: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({fault.strerror or fault}); check it")


def _members(file: BinaryIO, path: Path) -> Iterator[tarfile.TarInfo]:
    """The plain files. tarfile's own list of members is emptied as it goes."""
    end = file.seek(0, 2)
    file.seek(0)
    try:
        archive = tarfile.TarFile(fileobj=_Limited(file, path))  # type: ignore[arg-type] # all that tarfile calls
        last, last_name = -1, ""
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]
            _check_member(member, path, last, end)
            last, last_name = member.offset_data, member.name
            if member.isfile():
                yield member
        _check_end(file, archive.offset, last_name, path)
    except (DataError, OSError):
        raise
    except Exception as fault:  # tarfile raises its own family, ValueError, OverflowError and UnicodeError
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise DataError(f"{path}: not a complete tar file ({reason}); {NEXT_STEP}") from fault


def _check_end(file: BinaryIO, offset: int, last_name: str, path: Path) -> None:
    """tarfile takes whatever is no header for the end; only a block of zeros is one."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path}: no end mark after {last_name!r}; the shard is truncated or damaged, copy it again")


def _check_member(member: tarfile.TarInfo, path: Path, last: int, end: int) -> None:
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise DataError(f"{path}: {member.name!r} is a link, device or sparse file; {NEXT_STEP}")
    if member.size < 0 or member.offset_data <= last:
        raise DataError(f"{path}: {member.name!r} has an impossible size; {NEXT_STEP}")
    if member.offset_data + member.size > end:
        raise DataError(f"{path}: ends inside {member.name!r}; the shard is truncated, copy it again")
    if member.size > MAX_FILE_BYTES:
        raise DataError(f"{path}: {member.name!r} has {member.size:,} bytes; at most {MAX_FILE_BYTES:,} are read")


def _label_bytes(file: BinaryIO, member: tarfile.TarInfo, path: Path) -> bytes:
    if member.size > MAX_LABEL_BYTES:
        raise DataError(f"{path}: {member.name} has {member.size:,} bytes; a label has at most {MAX_LABEL_BYTES:,}")
    back = file.tell()
    file.seek(member.offset_data)
    content = file.read(member.size)
    file.seek(back)
    return content


def _sample(key: str, members: dict[str, tuple[tarfile.TarInfo, bytes]], path: Path) -> Iterator[_Sample]:
    images = [member for suffix, (member, _) in members.items() if PurePosixPath(f"x.{suffix}").suffix in SUFFIXES]
    if not images:
        return
    if len(images) > 1:
        raise DataError(f"{path}: {key} has two images, {images[0].name} and {images[1].name}; give each its own key")
    described = _json(members["json"][1], f"{path}: {key}.json") if "json" in members else {}
    label = (
        _text(members["cls"][1], f"{path}: {key}.cls")
        if "cls" in members
        else _first(described, "label", "class", "cls")
    )
    image = images[0]
    yield _Sample(key, image.name, image.offset_data, image.size, label, _first(described, "group"))


def _json(content: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{where}: is not JSON ({fault}); write it again") from fault
    return value if isinstance(value, dict) else {"label": value}


def _text(content: bytes, where: str) -> str:
    text = content.decode("utf-8", errors="replace").strip()
    if not text or "\ufffd" in text:
        raise DataError(f"{where}: holds no label; write the class's name or number as UTF-8 text")
    return text


def _first(described: dict[str, Any], *keys: str) -> str | None:
    """The first of the keys whose value is text or an integer."""
    for key in keys:
        value = described.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None
