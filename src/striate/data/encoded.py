"""Images as they are stored: one still encoded, and what holds many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from striate.errors import DataError

MAX_FILE_BYTES = 2**28  # of one encoded image; an uncompressed one of the largest size that is decoded has 201 MB

Content = Path | bytes | DataError
Place = tuple[Path, str | int]  # the file that an image lies in, and where in it


@dataclass(frozen=True, slots=True)
class Encoded:
    """One image file: its name, and its path, its bytes, or why they cannot be had."""

    name: str
    content: Content


class Store(Protocol):
    """Encoded images in a folder, a table or an archive, read one after another with bounded memory."""

    def read(self) -> Iterator[Content]:
        """Each image's content, in order. What is wrong with one image is its content, and does not end the rest."""
        ...

    def places(self) -> Iterator[Place]:
        """Where each image lies, in order; no pixel is read for it."""
        ...

    def take(self, indices: NDArray[np.int64]) -> Store:
        """The images at ``indices``, which ascend."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Image files by their paths under a folder. Shapes: names (N,)."""

    root: Path
    names: NDArray[np.str_]

    def read(self) -> Iterator[Content]:
        """The files' paths; each is opened by whoever decodes it."""
        return (self.root / str(name) for name in self.names)

    def places(self) -> Iterator[Place]:
        """Each file, as a whole."""
        return ((self.root / str(name), 0) for name in self.names)

    def take(self, indices: NDArray[np.int64]) -> Files:
        """The files at ``indices``."""
        return Files(self.root, self.names[indices])


def check_below(root: Path, name: str, where: str) -> None:
    """Raises: DataError unless ``name`` is a path that stays under the resolved folder ``root``, links followed."""
    pieces = PurePosixPath(name)
    if not name or "\0" in name or pieces.is_absolute() or ".." in pieces.parts:
        raise DataError(f"{where}: path {name!r} is not below {root}; give paths relative to that folder")
    if not (root / name).resolve().is_relative_to(root):
        raise DataError(f"{where}: path {name!r} links out of {root}; copy the images instead")
