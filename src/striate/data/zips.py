"""A zip file of class folders, read in place: nothing is extracted, and what expands without measure is refused."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from striate.data.encoded import MAX_FILE_BYTES, Content, Encoded, Place
from striate.data.folders import PART_OF_FOLDER, is_image
from striate.data.names import natural_key
from striate.data.raw import PARTS, WHOLE, Found, Raw
from striate.errors import DataError

MAX_MEMBERS = 2_000_000
MAX_RATIO = 200  # an image file is compressed already; deflate itself reaches 1,032
RATIO_MATTERS_BYTES = 2**20  # a small bitmap of one colour may well shrink by more
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True, eq=False)
class Zipped:
    """Images inside one zip file by the names of their members. Shapes: members (N,)."""

    path: Path
    members: NDArray[np.str_]

    def read(self) -> Iterator[Content]:
        """Each image's bytes, one image in memory at a time; a damaged member is an error in its place."""
        with _opened(self.path) as archive:
            for member in self.members:
                yield _content(archive, str(member), self.path)

    def places(self) -> Iterator[Place]:
        """The archive, and each image's member."""
        return ((self.path, str(member)) for member in self.members)

    def take(self, indices: NDArray[np.int64]) -> Zipped:
        """The images at ``indices``."""
        return Zipped(self.path, self.members[indices])


def read_zip(path: Path) -> Found:
    """Class folders, with or without train/, val/ and test/ above them, and with or without one folder above all.

    Images are named after the zip file and their member. Hidden entries, the folder __MACOSX, and what is not an
    image by suffix are ignored and counted.
    Raises: DataError on a damaged file, a link, an encrypted member, a path out of the archive, or a bomb.
    """
    with _opened(path) as archive:
        images, count = _images(archive, path)
    if not images:
        raise DataError(f"{path}: holds no images; put each class's images into a folder of its name")
    placed = [(name, *_place(name, _top(images), path)) for name in images]
    parts = sorted({part for _, part, _ in placed if part}, key=PARTS.index) or [WHOLE]
    raws = {}
    for part in parts:
        inside = [(name, class_name) for name, its_part, class_name in placed if (its_part or WHOLE) == part]
        members = np.array([name for name, _ in inside], np.str_)
        class_names = np.array([class_name for _, class_name in inside], np.str_)
        raws[part] = Raw(Zipped(path, members), class_names, np.char.add(f"{path.name}/", members))
    return Found(str(path), raws, ignored=count - sum(map(len, raws.values())))


def stream_zip(path: Path) -> Iterator[Encoded]:
    """The images of a zip file of any layout, in natural order, one in memory at a time.  Raises: as ``read_zip``."""
    with _opened(path) as archive:
        for member in _images(archive, path)[0]:
            yield Encoded(f"{path}/{member}", _content(archive, member, path))


def _images(archive: zipfile.ZipFile, path: Path) -> tuple[list[str], int]:
    """The images' members in natural order, and the number of all files; each entry is checked."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_MEMBERS:
        raise DataError(f"{path}: holds {len(entries):,} files; at most {MAX_MEMBERS:,} are read, use tar shards")
    for entry in entries:
        _check(entry, path)
    return sorted((entry.filename for entry in entries if is_image(entry.filename)), key=natural_key), len(entries)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check it") from fault
    except Exception as fault:  # a damaged directory raises BadZipFile, struct.error, UnicodeError and more
        raise DataError(f"{path}: not a complete zip file ({fault}); make it again") from fault


def _check(entry: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(entry.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
        raise DataError(f"{path}: {entry.filename!r} leads out of the archive; make it again from a folder")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(f"{path}: {entry.filename!r} is a link or device; make the archive again with plain files")
    if entry.flag_bits & 1 or entry.compress_type not in METHODS:
        raise DataError(f"{path}: {entry.filename!r} is encrypted or of a rare compression; use stored or deflate")
    if entry.file_size > MAX_FILE_BYTES:
        raise DataError(
            f"{path}: {entry.filename!r} has {entry.file_size:,} bytes; at most {MAX_FILE_BYTES:,} are read"
        )
    if entry.file_size > max(RATIO_MATTERS_BYTES, MAX_RATIO * entry.compress_size):
        raise DataError(
            f"{path}: {entry.filename!r} expands more than {MAX_RATIO} times; no image file does, remove it"
        )


def _top(images: list[str]) -> int:
    """1 if one folder that is no part holds all the other folders, else 0."""
    pieces = [PurePosixPath(name).parts for name in images]
    is_one = len({piece[0] for piece in pieces}) == 1 and min(map(len, pieces)) > 2
    return 1 if is_one and pieces[0][0] not in PART_OF_FOLDER else 0


def _place(name: str, top: int, path: Path) -> tuple[str, str]:
    """(part or "", class) of a member."""
    pieces = PurePosixPath(name).parts[top:]
    if len(pieces) > 2 and pieces[0] in PART_OF_FOLDER:
        return PART_OF_FOLDER[pieces[0]], pieces[1]
    if len(pieces) < 2:
        raise DataError(f"{path}: {name!r} lies in no class folder; put each class's images into a folder of its name")
    return "", pieces[0]


def _content(archive: zipfile.ZipFile, member: str, path: Path) -> Content:
    try:
        with archive.open(member) as file:
            return file.read(MAX_FILE_BYTES)
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as fault:
        return DataError(f"{path}/{member}: damaged in the archive ({fault}); replace or remove it")
