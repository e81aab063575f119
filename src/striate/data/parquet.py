"""Parquet tables of images, as bytes or as paths: the layout of Hugging Face's image data sets among them.

Layout: https://huggingface.co/docs/datasets/about_dataset_features#image-feature
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.data.encoded import MAX_FILE_BYTES, Content, Encoded, Place, check_below
from striate.data.raw import Found
from striate.data.tables import Rows, column_names, find_rows
from striate.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Rowed:
    """Images in a column of Parquet files; one batch of rows is in memory at a time.

    Shapes: file (N,) int64, indices into files; row (N,) int64, the row in its file. Both ascend together.
    """

    files: tuple[Path, ...]
    column: str
    file: NDArray[np.int64]
    row: NDArray[np.int64]

    def read(self) -> Iterator[Content]:
        """Each image's bytes, or the path of its file."""
        for number, path in enumerate(self.files):
            wanted = self.row[self.file == number]
            if len(wanted):
                yield from _contents(path, self.column, wanted)

    def places(self) -> Iterator[Place]:
        """Each image's table and row, or its own file where the row holds a path; the column is read for it."""
        pairs = zip(self.file.tolist(), self.row.tolist(), self.read(), strict=True)
        return ((c, 0) if isinstance(c, Path) else (self.files[number], row) for number, row, c in pairs)

    def take(self, indices: NDArray[np.int64]) -> Rowed:
        """The images at ``indices``, which ascend."""
        return Rowed(self.files, self.column, self.file[indices], self.row[indices])


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the columns of a file mean, and the names that integer labels stand for."""

    roles: dict[str, str]
    classes: tuple[str, ...] | None


def read_parquet(source: str, files: dict[str, tuple[Path, ...]]) -> Found:
    """Files by part name ("whole" where the names do not say), all of one layout; images are named file/row.

    The image column holds bytes, {bytes, path} or paths relative to the file's folder. Integer labels stand for
    the class names in the file's metadata, where it has them.
    Raises: DataError on a damaged file, a missing column, or files of different layout.
    """
    everything = tuple(path for part in files.values() for path in part)
    opened = [_open(path) for path in everything]
    layouts = [_layout(file, path) for file, path in zip(opened, everything, strict=True)]
    for path, layout in zip(everything, layouts, strict=True):
        if layout != layouts[0]:
            raise DataError(f"{path}: columns or class names differ from {everything[0].name}; write all files alike")
    rows = Rows()
    counts = []
    part_of = {path: part for part, paths in files.items() for path in paths}
    for file, path in zip(opened, everything, strict=True):
        table = _columns(file, path, layouts[0])
        counts.append(len(table.labels))
        rows.names.extend(f"{path.name}/{i}" for i in range(len(table.labels)))
        rows.labels.extend(table.labels)
        rows.groups.extend(table.groups)
        rows.splits.extend(table.splits or ([part_of[path]] * len(table.labels) if set(files) != {"whole"} else []))
    store = Rowed(
        everything,
        layouts[0].roles["path"],
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([np.arange(count) for count in counts]),
    )
    return find_rows(source, rows, store, layouts[0].classes)


def stream_parquet(path: Path) -> Iterator[Encoded]:
    """The images of one file, a batch of rows in memory at a time; no other column is read.  Raises: DataError."""
    file = _open(path)
    column = _roles(file, path, ("path",))[0]["path"]
    for row, content in enumerate(_contents(path, column, np.arange(file.metadata.num_rows))):
        yield Encoded(str(content) if isinstance(content, Path) else f"{path}/{row}", content)


def _open(path: Path) -> pq.ParquetFile:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, loaded when a Parquet file is given
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow; install it with pip install 'striate[parquet]'"
        ) from None
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as fault:
        raise _damaged(path, fault) from fault


def _layout(file: pq.ParquetFile, path: Path) -> _Layout:
    """What the columns mean, with a path and a label among them.  Raises: DataError."""
    roles, features = _roles(file, path, ("path", "label"))
    names = features.get(roles["label"], {}).get("names")
    is_named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return _Layout(roles, tuple(names) if is_named and names else None)


def _roles(
    file: pq.ParquetFile, path: Path, wanted: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Columns by Hugging Face's feature types where the file has them, else by name; and those features."""
    schema = file.schema_arrow
    features = _features((schema.metadata or {}).get(b"huggingface"))
    typed = {role: [name for name, kind in features.items() if kind.get("_type") == type_ and name in schema.names]
             for role, type_ in (("path", "Image"), ("label", "ClassLabel"))}  # fmt: skip
    chosen = {role: names[0] for role, names in typed.items() if len(names) == 1}
    named = column_names(schema.names, str(path), [role for role in wanted if role not in chosen])
    return named | chosen, features


def _features(metadata: bytes | None) -> dict[str, dict[str, Any]]:
    try:
        features = json.loads(metadata or b"{}").get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    return (
        {name: kind for name, kind in features.items() if isinstance(kind, dict)} if isinstance(features, dict) else {}
    )


def _columns(file: pq.ParquetFile, path: Path, layout: _Layout) -> Rows:
    """The columns beside the images, as text."""
    wanted = {role: name for role, name in layout.roles.items() if role != "path"}
    try:
        table = file.read(columns=list(wanted.values())).to_pydict()
    except Exception as fault:  # pyarrow raises its own family, OSError and ValueError
        raise _damaged(path, fault) from fault
    labels = [_label(value, layout.classes, f"{path}: row {i}") for i, value in enumerate(table[wanted["label"]])]
    texts = {role: [_text(value, f"{path}: row {i}", role) for i, value in enumerate(table[name])]
             for role, name in wanted.items() if role != "label"}  # fmt: skip
    return Rows([], labels, texts.get("split", []), texts.get("group", []))


def _label(value: object, classes: tuple[str, ...] | None, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if classes is None:
            return str(value)
        if 0 <= value < len(classes):
            return classes[value]
        raise DataError(f"{where}: label is {value}; the file names {len(classes)} classes")
    return _text(value, where, "label")


def _text(value: object, where: str, role: str) -> str:
    if isinstance(value, str | int) and str(value).strip():
        return str(value)
    raise DataError(f"{where}: {role} is {value!r}; give text or an integer in every row")


def _contents(path: Path, column: str, wanted: NDArray[np.int64]) -> Iterator[Content]:
    """The images of the ascending rows ``wanted``; row groups without one of them are not read."""
    file = _open(path)
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        inside = wanted[(wanted >= first) & (wanted < first + count)] - first
        if len(inside):
            yield from _of_group(file, path, group, column, inside)
        first += count


def _of_group(
    file: pq.ParquetFile, path: Path, group: int, column: str, inside: NDArray[np.int64]
) -> Iterator[Content]:
    start = 0
    try:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[column]):
            chosen = inside[(inside >= start) & (inside < start + batch.num_rows)] - start
            for value in batch.column(0).take(chosen).to_pylist() if len(chosen) else ():
                yield _content(value, path)
            start += batch.num_rows
    except DataError:
        raise
    except Exception as fault:  # as in _columns; a damaged page ends the whole row group
        raise _damaged(path, fault) from fault


def _content(value: object, path: Path) -> Content:
    pixels, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, value)
    if isinstance(pixels, bytes):
        if len(pixels) > MAX_FILE_BYTES:
            return DataError(f"{path}: an image of {len(pixels):,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return pixels
    if not isinstance(name, str):
        return DataError(f"{path}: a row holds neither an image nor a path; remove it")
    try:
        check_below(path.parent.resolve(), name, str(path))
    except DataError as fault:
        return fault
    return path.parent / name


def _damaged(path: Path, fault: Exception) -> DataError:
    reason = " ".join(str(fault).split())[:200]
    return DataError(f"{path}: unreadable Parquet ({reason}); write it again")
