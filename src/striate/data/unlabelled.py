"""Images without labels, as prediction takes them: from what a person types to batches in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from striate.data.encoded import Encoded
from striate.data.find import refuse_compressed
from striate.data.folders import SUFFIXES, images_below
from striate.data.parquet import stream_parquet
from striate.data.patterns import has_wildcards, is_there, matches, without_braces
from striate.data.tables import stream_csv
from striate.data.tar import stream_any_tar
from striate.data.zips import stream_zip
from striate.errors import DataError

CONTAINERS: Mapping[str, Callable[[Path], Iterator[Encoded]]] = MappingProxyType(
    {".csv": stream_csv, ".parquet": stream_parquet, ".tar": stream_any_tar, ".zip": stream_zip}
)
MAX_BATCH_BYTES = 2**24  # of encoded images that came as bytes: what waits for a thread is bounded in bytes, too

Unit = tuple[Path, ...]  # to be read in one go: a few image files, or one container


def find_units(sources: Iterable[str | Path], files_per_unit: int) -> Iterator[Unit]:
    """What ``sources`` name, in order, as containers and groups of up to ``files_per_unit`` image files.

    A source is an image file; a folder, of which the images in it and below are taken in natural order; a tar or zip
    file of images; a CSV or Parquet file with a column of paths or image bytes; or a pattern of these: "*", "?",
    "[...]", "**" for folders of any depth, "{a,b}", "{000..003}". A pattern's images are taken or, where it ends in a
    container's suffix, its containers. Only names are held in memory: of the sources, of a pattern's files, and of
    one folder's entries.
    Raises: DataError, before anything is read, if a source is absent or names no image.
    """
    named = [path for source in sources for path in _named(source)]
    for path in named:
        _check(path)
    return _grouped(chain.from_iterable(map(_files, named)), files_per_unit)


def batches(unit: Unit, batch_images: int) -> Iterator[tuple[Encoded, ...]]:
    """A unit's images, cut after ``batch_images``, or ``MAX_BATCH_BYTES`` of encoded bytes if they come first.

    Where the cuts lie depends on the unit alone, so that whoever works through it again finds the same batches.
    Raises: DataError on a damaged container, or one without images.
    """
    batch: list[Encoded] = []
    waiting_bytes = 0
    for image in _images(unit):
        batch.append(image)
        waiting_bytes += len(image.content) if isinstance(image.content, bytes) else 0
        if len(batch) == batch_images or waiting_bytes >= MAX_BATCH_BYTES:
            yield tuple(batch)
            batch, waiting_bytes = [], 0
    if batch:
        yield tuple(batch)


def _images(unit: Unit) -> Iterator[Encoded]:
    if not is_container(unit[0]):
        yield from (Encoded(str(path), path) for path in unit)
        return
    count = 0
    for count, image in enumerate(CONTAINERS[unit[0].suffix.lower()](unit[0]), start=1):  # noqa: B007 - counted
        yield image
    if not count:
        raise DataError(f"{unit[0]}: holds no images; check it")


def is_container(path: Path) -> bool:
    """Whether a file is read as one that holds images; its suffix decides."""
    return path.suffix.lower() in CONTAINERS


def _grouped(paths: Iterable[Path], size: int) -> Iterator[Unit]:
    group: list[Path] = []
    for path in paths:
        if is_container(path):
            yield from [tuple(group)] if group else []
            yield (path,)
            group = []
            continue
        group.append(path)
        if len(group) == size:
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


def _named(source: str | Path) -> Iterator[Path]:
    """The files and folders that a source names, patterns spelled out; what is there literally is no pattern."""
    if is_there(Path(source)):
        yield Path(source)
        return
    for text in without_braces(str(source)):
        if not has_wildcards(text) or is_there(Path(text)):
            yield Path(text)
            continue
        suffixes = tuple(CONTAINERS) if is_container(Path(text)) else SUFFIXES
        found = [path for path in matches(text) if path.suffix.lower() in suffixes]
        if not found:
            raise DataError(f"{text}: no image or container of images fits this pattern; check it")
        yield from found


def _check(path: Path) -> None:
    if not is_there(path):
        raise DataError(f"{path}: no such file or folder; check the path")
    refuse_compressed(path)
    if path.is_dir() and next(images_below(path), None) is None:
        raise DataError(
            f"{path}: holds no images ({', '.join(SUFFIXES)}); check the path, or name archives by a pattern"
        )


def _files(path: Path) -> Iterator[Path]:
    return images_below(path) if path.is_dir() else iter((path,))
