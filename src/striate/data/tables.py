"""What tables of images share: names of columns, parts from a split column; and CSV itself."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.encoded import Encoded, Files, Store, check_below
from striate.data.folders import PART_OF_FOLDER
from striate.data.raw import PARTS, WHOLE, Found, Raw
from striate.errors import DataError

# What a column may be called; the first is ours, the others are habits elsewhere.
COLUMNS = {
    "path": ("path", "file_name", "filename", "image"),
    "label": ("label", "class"),
    "split": ("split",),
    "group": ("group",),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A table's columns beside the images: each a list as long as the others, or empty where there is none."""

    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def find_rows(source: str, rows: Rows, store: Store, classes: tuple[str, ...] | None = None) -> Found:
    """Parts from a table's columns: by its splits, or one whole. A group in two parts is an error."""
    class_names, names = np.array(rows.labels, np.str_), np.array(rows.names, np.str_)
    groups = np.array(rows.groups, np.str_) if rows.groups else None
    if not rows.names:
        raise DataError(f"{source}: has no rows; add a row for each image")
    if not rows.splits:
        return Found(source, {WHOLE: Raw(store, class_names, names, groups)}, classes)
    part_of_row = np.array([_part(split, source, i) for i, split in enumerate(rows.splits)], np.str_)
    parts = {}
    for part in PARTS:
        chosen = np.flatnonzero(part_of_row == part)
        if len(chosen):
            its_groups = None if groups is None else groups[chosen]
            parts[part] = Raw(store.take(chosen), class_names[chosen], names[chosen], its_groups)
    return Found(source, parts, classes)


def read_csv(path: Path) -> Found:
    """A CSV file with a header: columns path and label, and where there are, split and group.

    Paths are relative to the file's folder and stay below it. split holds train, val (or valid, validation) or
    test. Other columns are ignored. Raises: DataError, naming the line.
    """
    rows = Rows()
    root = path.parent.resolve()
    for where, cells in _csv_rows(path, ("path", "label")):
        check_below(root, cells["path"], where)
        if not cells["label"]:
            raise DataError(f"{where}: no label for {cells['path']!r}; fill it in or remove the row")
        rows.names.append(cells["path"])
        rows.labels.append(cells["label"])
        for role, column in (("split", rows.splits), ("group", rows.groups)):
            if role in cells:
                column.append(_filled_cell(cells[role], role, where))
    return find_rows(str(path), rows, Files(path.parent, np.array(rows.names, np.str_)))


def stream_csv(path: Path) -> Iterator[Encoded]:
    """The images that a CSV file's column path names, below its folder; a path that leads elsewhere is an error."""
    root = path.parent.resolve()
    for where, cells in _csv_rows(path, ("path",)):
        file = path.parent / cells["path"]
        try:
            check_below(root, cells["path"], where)
        except DataError as fault:
            yield Encoded(str(file), fault)
        else:
            yield Encoded(str(file), file)


def column_names(present: Sequence[str], where: str, wanted: Sequence[str]) -> dict[str, str]:
    """Which column plays which part. Raises: DataError if two could, or a wanted one is missing."""
    chosen = {}
    for role, names in COLUMNS.items():
        fitting = [name for name in present if name.strip().lower() in names]
        if len(fitting) > 1:
            raise DataError(f"{where}: columns {fitting[0]!r} and {fitting[1]!r} both give the {role}; keep one")
        if fitting:
            chosen[role] = fitting[0]
        elif role in wanted:
            raise DataError(
                f"{where}: no column {' or '.join(map(repr, names))}; the columns are {', '.join(present) or 'none'}"
            )
    return chosen


def _csv_rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands, and its cells by what they are: path, label, split, group.  Raises: DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            head = [name.strip() for name in next(lines, [])]
            position = {role: head.index(name) for role, name in column_names(head, str(path), wanted).items()}
            for where, cells in _filled(lines, len(head), path):
                yield where, {role: cells[i].strip() for role, i in position.items()}
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check it") from fault
    except UnicodeDecodeError as fault:
        raise DataError(f"{path}: is not UTF-8 at byte {fault.start}; save it as UTF-8") from fault
    except csv.Error as fault:
        raise DataError(f"{path}: is not CSV ({fault}); write a header and a row for each image") from fault


def _filled(lines: Iterator[list[str]], width: int, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each row that is not blank, with where it stands."""
    for number, cells in enumerate(lines, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}: row {number}"
        if len(cells) != width:
            raise DataError(f"{where}: has {len(cells)} cells under {width} columns; quote commas inside a cell")
        yield where, cells


def _filled_cell(cell: str, role: str, where: str) -> str:
    if not cell.strip():
        raise DataError(f"{where}: no {role}; fill in the column {role} in every row or remove it")
    return cell.strip()


def _part(split: str, source: str, row: int) -> str:
    part = PART_OF_FOLDER.get(split.strip().lower())
    if part is None:
        raise DataError(f"{source}: image {row} has split {split!r}; allowed are {', '.join(PART_OF_FOLDER)}")
    return part


def groups_across(parts: dict[str, Raw]) -> dict[str, tuple[str, ...]]:
    """Groups that lie in more than one part, with those parts."""
    where: dict[str, list[str]] = {}
    for name, raw in parts.items():
        groups: NDArray[np.str_] = np.array([], np.str_) if raw.groups is None else np.unique(raw.groups)
        for group in groups.tolist():
            where.setdefault(group, []).append(name)
    return {group: tuple(names) for group, names in where.items() if len(names) > 1}
