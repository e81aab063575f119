"""Images and labels that are in memory or in one .npz file."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from striate.data.raw import Found, Raw
from striate.errors import DataError

LAYOUTS = ("NHW", "NHWC", "NCHW")
MEMORY_SHARE = 0.5  # of the machine's memory that an .npz file may expand to
PART_OF_SUFFIX = {"train": "train", "val": "validation", "test": "test"}


def as_nchw(images: ArrayLike, layout: str | None = None, what: str = "X") -> NDArray[np.uint8]:
    """Bring images to (N, C, H, W), C = 1 or 3, without changing a pixel.

    Three axes are (N, H, W). Four are (N, H, W, C) or (N, C, H, W), told apart by the one axis that is 1 or 3
    long; where both are, ``layout`` must say.
    Raises: DataError on another type, shape or layout.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8:
        raise DataError(
            f"{what}: pixels are {array.dtype}; give uint8, 0 to 255 (floats in 0..1: multiply by 255, round)"
        )
    layout = layout or _layout(array.shape, what)
    if layout not in LAYOUTS:
        raise DataError(f"{what}: layout is {layout!r}; use one of {', '.join(LAYOUTS)}")
    if array.ndim != len(layout):
        raise DataError(f"{what}: shape {array.shape} does not have the axes {layout}")
    if layout == "NHW":
        array = array[:, None]
    elif layout == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    if array.shape[1] not in (1, 3) or 0 in array.shape:
        raise DataError(f"{what}: shape {np.shape(images)} read as {layout}; needs 1 or 3 channels and no empty axis")
    return np.ascontiguousarray(array)


def class_name_of(labels: ArrayLike, classes: tuple[str, ...] | None, what: str = "y") -> NDArray[np.str_]:
    """The class name of each label (N,).

    Strings are names. Integers are positions in ``classes`` or, without classes, their own names.
    Raises: DataError on another type or shape, or a position outside the classes.
    """
    array: NDArray[Any] = np.asarray(labels)
    if array.dtype == object and all(isinstance(label, str) for label in array.flat):
        array = array.astype(np.str_)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise DataError(f"{what}: labels are {array.dtype} {array.shape}; give integers or strings of shape (N,)")
    if array.dtype.kind == "U":
        return array.astype(np.str_, copy=False)
    if classes is None:
        return array.astype(np.str_)
    if len(array) and not (array.min() >= 0 and array.max() < len(classes)):
        raise DataError(f"{what}: labels run {array.min()} to {array.max()}; {len(classes)} classes are named")
    return np.array(classes, np.str_)[array.astype(np.int64)]


def find_arrays(
    source: str,
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]],
    classes: tuple[str, ...] | None = None,
    layout: str | None = None,
) -> Found:
    """Parts from (images, labels) pairs by part name; an image is named ``part/position``."""
    parts: dict[str, Raw] = {}
    for part, (X, y) in pairs.items():
        images = as_nchw(X, layout, f"{source}: {part} images")
        class_names = class_name_of(y, classes, f"{source}: {part} labels")
        if len(images) != len(class_names):
            raise DataError(f"{source}: {part} has {len(images)} images and {len(class_names)} labels; match them")
        names = np.array([f"{part}/{i}" for i in range(len(images))], np.str_)
        parts[part] = Raw(images, class_names, names)
    return Found(source, parts, classes)


def read_npz(path: Path) -> Found:
    """Read x_train, y_train and where present x_val, y_val, x_test, y_test, classes; nothing is unpickled.

    Raises: DataError on a damaged file, an unknown name, or images without labels.
    """
    arrays = _arrays(path)
    keys = {f"{axis}_{suffix}" for axis in "xy" for suffix in PART_OF_SUFFIX} | {"classes"}
    unknown = sorted(set(arrays) - keys)
    if unknown:
        raise DataError(f"{path}: unknown array {unknown[0]!r}; allowed are {', '.join(sorted(keys))}")
    classes = arrays.get("classes")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise DataError(f"{path}: classes are {classes.dtype} {classes.shape}; give strings of shape (K,)")
    pairs = {}
    for suffix, part in PART_OF_SUFFIX.items():
        images, labels = arrays.get(f"x_{suffix}"), arrays.get(f"y_{suffix}")
        if images is not None and labels is not None:
            pairs[part] = images, labels
        elif images is not labels:
            raise DataError(f"{path}: x_{suffix} and y_{suffix} must come together; add the missing one")
    named = None if classes is None else tuple(str(name) for name in classes)
    return find_arrays(str(path), pairs, named)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not a complete .npz file; write it again with np.savez")
    try:
        _check_expansion(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as fault:
        reason = " ".join(str(fault).split())
        raise DataError(f"{path}: unreadable .npz ({reason}); write it again with np.savez") from fault


def _check_expansion(path: Path) -> None:
    """Raises: DataError before any memory is taken, if the arrays claim more than their file or the machine holds."""
    limit = MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        if total > limit:
            raise DataError(
                f"{path}: expands to {total:,} bytes, more than half of this machine's memory; use class folders, "
                "Parquet or tar shards"
            )
        for entry in archive.infolist():
            with archive.open(entry) as member:
                shape, dtype = _npy_header(member)
                claimed = member.tell() + math.prod(shape) * dtype.itemsize
            if claimed != entry.file_size and not dtype.hasobject:  # objects are refused by np.load itself
                raise DataError(f"{path}: {entry.filename} has {entry.file_size:,} bytes and claims {claimed:,}")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _layout(shape: tuple[int, ...], what: str) -> str:
    if len(shape) == 3:
        return "NHW"
    if len(shape) == 4:
        fitting = [name for name, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in (1, 3)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise DataError(f"{what}: shape {shape} can be NCHW or NHWC; say which with layout=")
    raise DataError(f"{what}: shape {shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3")
