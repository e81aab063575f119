"""Patterns of file names, as shells spell them: wildcards, "**" for folders of any depth, braces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from striate.data.names import natural_key
from striate.errors import DataError

WILDCARDS = re.compile(r"[*?[]")
BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


def has_wildcards(text: str) -> bool:
    """Whether a path holds "*", "?" or "["."""
    return WILDCARDS.search(text) is not None


def is_there(path: Path) -> bool:
    """Whether a file or folder exists.  Raises: DataError where that cannot be found out."""
    try:
        return path.exists()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check it") from fault


def without_braces(text: str) -> Iterator[str]:
    """Spell braces out: "a-{1,2}" is "a-1" and "a-2"; "{08..10}" is "08", "09" and "10"; other braces stay."""
    match = BRACES.search(text)
    if match is None:
        yield text
        return
    first, last, names = match.groups()
    for piece in _counted(first, last) if names is None else names.split(","):
        yield from without_braces(text[: match.start()] + piece + text[match.end() :])


def _counted(first: str, last: str) -> Iterator[str]:
    """The numbers from first to last, all as wide as the wider one if either begins with 0."""
    is_padded = any(len(text) > 1 and text.startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    return (str(number).zfill(width) for number in range(int(first), int(last) + step, step))


def matches(pattern: str) -> tuple[Path, ...]:
    """The files that fit a pattern, in natural order within each folder, a folder's files before deeper ones.

    Hidden entries are left out, and "**" does not enter linked folders, as in shells. Unlike ``glob``'s, a folder
    that cannot be listed is an error and not as if it were empty.
    Raises: DataError.
    """
    pieces = Path(pattern).parts
    fixed = next(i for i, piece in enumerate(pieces) if has_wildcards(piece))
    root = Path(*pieces[:fixed])
    if not root.is_dir():
        return ()
    try:
        return tuple(dict.fromkeys(_fitting(root, pieces[fixed:])))  # two "**" can reach a file in two ways
    except OSError as fault:
        raise DataError(f"{fault.filename or root}: cannot be listed ({fault.strerror}); check it") from fault


def _fitting(folder: Path, pieces: tuple[str, ...]) -> Iterator[Path]:
    piece, deeper = pieces[0], pieces[1:]
    if piece == "**" and deeper:
        yield from _fitting(folder, deeper)
    for entry in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if entry.name.startswith(".") or not fnmatchcase(entry.name, piece):
            continue
        if not entry.is_dir():
            yield from () if deeper else (entry,)
        elif piece == "**" and not entry.is_symlink():
            yield from _fitting(entry, pieces)
        elif piece != "**" and deeper:
            yield from _fitting(entry, deeper)
