"""Results as values of a file: lines of a journal, and the CSV, JSON-lines and Parquet tables made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from striate.errors import UsageError
from striate.runtime.predict import Prediction, Result, Unreadable

Batch = tuple[Result, ...]
GROUP_CELLS = 2**18  # of one row group of a Parquet file: some 10 MB while it is written
COLUMNS = ("path", "label", "probability", "abstain", "error")


def to_line(batch: Batch) -> str:
    """A batch as one line of JSON, without its end; floats are written so that they come back bit for bit."""
    return json.dumps([_values(result) for result in batch], separators=(",", ":"))


def from_line(line: str | bytes) -> Batch:
    """The inverse of `to_line`.  Raises: ValueError on anything else."""
    try:
        return tuple(map(_result, json.loads(line)))
    except (TypeError, RecursionError) as fault:
        raise ValueError(str(fault)) from fault


def without_probabilities(batch: Batch) -> Batch:
    """The batch with the probability of the label alone: what is kept where all of them were not asked for."""
    return tuple(replace(one, probabilities=()) if isinstance(one, Prediction) else one for one in batch)


def to_row(result: Result, classes: tuple[str, ...]) -> dict[str, Any]:
    """A result as the columns of a table; a bad image has an error and nothing else, and no column is left out.

    classes: of the probabilities, which follow as a mapping; none for the columns alone
    """
    if isinstance(result, Unreadable):
        row = dict.fromkeys(COLUMNS) | {"path": result.path, "error": result.reason}
        return row | ({"probabilities": None} if classes else {})
    values = (result.path, result.label, result.probability, result.abstains, None)
    row = dict(zip(COLUMNS, values, strict=True))
    return row | ({"probabilities": dict(zip(classes, result.probabilities, strict=True))} if classes else {})


def write_csv(path: Path, results: Iterable[Result], classes: tuple[str, ...]) -> None:
    """A header and a line an image; empty where there is no value, "p_cat" for the probability of class cat."""
    names = _flat_names(classes)
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, names, lineterminator="\n")
        lines.writeheader()
        for result in results:
            row = _flat(to_row(result, classes))
            abstain = {None: "", True: "true", False: "false"}[row["abstain"]]
            lines.writerow(row | {"abstain": abstain})


def write_jsonl(path: Path, results: Iterable[Result], classes: tuple[str, ...]) -> None:
    """One JSON object an image, null where there is no value."""
    with path.open("w", encoding="utf-8") as file:
        for result in results:
            file.write(json.dumps(to_row(result, classes), ensure_ascii=False) + "\n")


def write_parquet(path: Path, results: Iterable[Result], classes: tuple[str, ...]) -> None:
    """The columns of the CSV file with their types, a row group in memory at a time."""
    pa, pq = arrow(path)
    names = _flat_names(classes)
    types = {"path": pa.string(), "label": pa.string(), "abstain": pa.bool_(), "error": pa.string()}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
    with pq.ParquetWriter(path, schema) as file:
        for group in _groups((_flat(to_row(result, classes)) for result in results), GROUP_CELLS // len(names) or 1):
            file.write_table(pa.Table.from_pylist(group, schema))


WRITERS: Mapping[str, Callable[[Path, Iterable[Result], tuple[str, ...]], None]] = MappingProxyType(
    {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}
)


def check_out(out: Path) -> None:
    """Raises: UsageError unless results can be written to a file of this name."""
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file in it that ends in {', '.join(WRITERS)}")
    if out.suffix.lower() not in WRITERS:
        raise UsageError(f"{out}: results are written by suffix; end the name in {', '.join(WRITERS)}")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; make it first")
    if out.suffix.lower() == ".parquet":
        arrow(out)


def arrow(path: Path) -> tuple[Any, Any]:
    """pyarrow and its Parquet module.  Raises: UsageError where they are not installed."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, loaded when a Parquet file is wanted
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            f"{path}: writing Parquet needs pyarrow; install it with pip install 'striate[parquet]', or name a .csv"
        ) from None
    return pa, pq


def _values(result: Result) -> list[Any]:
    if isinstance(result, Unreadable):
        return [result.path, result.reason]
    return [result.path, result.label, result.probability, list(result.probabilities), result.abstains]


def _result(values: list[Any]) -> Result:
    if len(values) == 2:
        return Unreadable(*values)
    path, label, probability, probabilities, abstains = values
    return Prediction(path, label, probability, tuple(probabilities), abstains)


def _flat_names(classes: tuple[str, ...]) -> list[str]:
    return [*COLUMNS, *(f"p_{name}" for name in classes)]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Probabilities as columns of their own, as the flat tables have them."""
    probabilities = row.pop("probabilities", None) or {}
    return row | {f"p_{name}": value for name, value in probabilities.items()}


def _groups(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(rows, size)):
        yield group
