"""Files that are either the old one or the new one, whatever moment the machine dies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from striate.errors import RunError

UNFINISHED = ".unfinished"  # suffix of a file being written; one that is left over may be deleted


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file as a whole: write beside it, flush to disk, rename, flush the folder's entry.

    Raises: RunError if the disk refuses (full, read-only, gone); the old file is then still there.
    """
    beside = path.with_name(path.name + UNFINISHED)
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as fault:
        raise RunError(
            f"{path}: cannot be written ({fault.strerror}); mend that, then `striate resume` the run"
        ) from None


def read(path: Path) -> bytes:
    """A file's content. Raises: RunError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise RunError(f"{path}: cannot be read ({fault.strerror})") from None


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that names made or removed in it survive a power cut."""
    entry = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write indented JSON; NaN and infinity are refused, for JSON has no such numbers."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_atomic(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
