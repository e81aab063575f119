"""A folder of class folders, with or without train/, val/ and test/ above them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from striate.data.encoded import Files
from striate.data.names import natural_key
from striate.data.raw import PARTS, WHOLE, Found, Raw
from striate.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
PART_OF_FOLDER = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def list_folder(root: Path) -> Found:
    """Find the image files below ``root``; nothing is opened.

    A folder named train, val, valid, validation or test that holds folders is a part; otherwise every folder
    is a class. Images of a class may lie in deeper folders. Hidden entries, files without an image suffix and
    whatever lies beside the parts or classes are ignored and counted.
    Raises: DataError if the folder is absent, a class is empty, or a link leads out of the folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    try:
        return _Lister(root).found()
    except OSError as fault:
        raise _unlisted(fault, root) from fault


def is_image(name: str) -> bool:
    """Whether a member of an archive is an image by suffix; what is hidden or a Mac's by-product is none."""
    path = PurePosixPath(name)
    is_hidden = any(piece.startswith(".") or piece == "__MACOSX" for piece in path.parts)
    return path.suffix.lower() in SUFFIXES and not is_hidden


def images_below(root: Path) -> Iterator[Path]:
    """The image files in ``root`` and in its folders, in natural order; hidden entries and other files are left out.

    Nothing is opened, and one folder's names on each level are in memory. Raises: DataError as ``list_folder``.
    """
    try:
        yield from _Lister(root).images(root)
    except OSError as fault:
        raise _unlisted(fault, root) from fault


def _unlisted(fault: OSError, root: Path) -> DataError:
    return DataError(f"{fault.filename or root}: cannot be listed ({fault.strerror}); check it")


class _Lister:
    """One listing: the root every file must stay under, and the count of what was ignored."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.resolved = root.resolve()
        self.ignored = 0

    def found(self) -> Found:
        folders = self.folders(self.root)
        parts: dict[str, Path] = {}
        for folder in folders:
            part = PART_OF_FOLDER.get(folder.name)
            if part is None or not any(entry.is_dir() for entry in folder.iterdir()):
                continue
            if part in parts:
                raise DataError(f"{self.root}: both {parts[part].name}/ and {folder.name}/; keep one of them")
            parts[part] = folder
        if not parts:
            raws = {WHOLE: self.raw(self.root, folders)}
        else:
            self.ignored += len(folders) - len(parts)
            raws = {part: self.raw(parts[part], self.folders(parts[part])) for part in PARTS if part in parts}
        return Found(str(self.root), raws, ignored=self.ignored)

    def raw(self, where: Path, class_folders: list[Path]) -> Raw:
        if not class_folders:
            raise DataError(f"{where}: holds no class folders; put each class's images into a folder of its name")
        class_names: list[str] = []
        names: list[str] = []
        for folder in class_folders:
            files = [path.relative_to(self.root).as_posix() for path in self.images(folder)]
            if not files:
                raise DataError(f"{folder}: class {folder.name!r} has no images; add some or remove the folder")
            names += files
            class_names += [folder.name] * len(files)
        paths = np.array(names, np.str_)
        return Raw(Files(self.root, paths), np.array(class_names, np.str_), paths)

    def folders(self, parent: Path) -> list[Path]:
        entries = list(self.entries(parent))
        folders = [entry for entry in entries if entry.is_dir()]
        self.ignored += len(entries) - len(folders)
        return folders

    def images(self, folder: Path) -> Iterator[Path]:
        for entry in self.entries(folder):
            if entry.is_dir():
                yield from self.images(entry)
            elif entry.suffix.lower() in SUFFIXES:
                yield entry
            else:
                self.ignored += 1

    def entries(self, folder: Path) -> Iterator[Path]:
        """Visible entries in natural order; a link may name a file below the root and nothing else."""
        for entry in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
            if entry.name.startswith("."):
                self.ignored += 1
                continue
            if entry.is_symlink() and (entry.is_dir() or not entry.resolve().is_relative_to(self.resolved)):
                raise DataError(f"{entry}: links to a folder or out of {self.root}; copy the images instead")
            yield entry
