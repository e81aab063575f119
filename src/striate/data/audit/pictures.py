"""Small pictures of a source's images: what a sheet shows of findings and classes, and what a network sees."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data import random
from striate.data.ahead import map_ahead
from striate.data.audit.report import Audit, Image
from striate.data.decode import decode, reading, upright
from striate.data.encoded import Encoded
from striate.data.find import find
from striate.data.names import natural_sorted
from striate.data.preprocess import FITS, Preprocessing
from striate.data.raw import WHOLE, Found, Raw, encoded, take
from striate.data.resize import fit_images, to_image
from striate.errors import DataError

SHOWN_CASES = 24  # of each finding
SAMPLES = 8  # of each class
SIDE_PX = 144

Picture = Callable[[Encoded | NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a contact sheet shows: the pictures (1 or 3, H, W) that could be read, and examples of each class."""

    pictures: Mapping[Image, NDArray[np.uint8]]
    samples: Mapping[str, tuple[Image, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """One image in its own shape, at most 144 px long, and as a network sees it under each fit."""

    image: Image
    whole: NDArray[np.uint8]
    seen: Mapping[str, NDArray[np.uint8]]


def sheet(source: str | Path, audit: Audit) -> Sheet:
    """Read the pictures of the first cases of each finding, and of a few images of each class."""
    found = find(source)
    samples = _samples(found)
    wanted = {image for finding in audit.findings for case in finding.cases[:SHOWN_CASES] for image in case.images[:4]}
    wanted |= {image for images in samples.values() for image in images}
    return Sheet(_read(found, wanted, _small), samples)


def previews(source: str | Path, target: Preprocessing, names: Sequence[str]) -> tuple[Preview, ...]:
    """The images of these names, of the training part or the whole, as a network sees them under each fit.

    By the one decode and resize there is. Raises: DataError if none of them can be read.
    """
    found = find(source)
    part = next(part for part in (WHOLE, "train", *found.parts) if part in found.parts)
    raw = found.parts[part]
    row_of = {str(name): row for row, name in enumerate(raw.names)}
    wanted = [_image(raw, part, row_of[name]) for name in names if name in row_of]
    whole = _read(found, set(wanted), _small)
    seen = {fit: _read(found, set(wanted), partial(_fitted, replace(target, fit=fit))) for fit in FITS}
    readable = [image for image in wanted if image in whole and all(image in of for of in seen.values())]
    if not readable:
        raise DataError(f"{found.source}: none of the {len(names)} images named can be read; see the audit")
    return tuple(Preview(image, whole[image], {fit: seen[fit][image] for fit in FITS}) for image in readable)


def _samples(found: Found) -> dict[str, tuple[Image, ...]]:
    """A few images of each class, from the training part or the whole, drawn by a fixed seed."""
    part = next(part for part in (WHOLE, "train", *found.parts) if part in found.parts)
    raw = found.parts[part]
    order = random.epoch_order(0, 0, len(raw))
    classes = found.classes or natural_sorted(raw.class_names.tolist())
    rows = {name: order[raw.class_names[order] == name][:SAMPLES] for name in classes}
    return {name: tuple(_image(raw, part, int(row)) for row in of) for name, of in rows.items() if len(of)}


def _read(found: Found, wanted: Collection[Image], picture: Picture) -> dict[Image, NDArray[np.uint8]]:
    """``picture`` of the wanted images that can be read, in bounded memory."""
    read: dict[Image, NDArray[np.uint8]] = {}
    for part, raw in found.parts.items():
        names = sorted({image.name for image in wanted if image.part == part})
        rows = np.flatnonzero(np.isin(raw.names, names))
        if not len(rows):
            continue
        chosen = take(raw, rows)
        items = chosen.pixels if isinstance(chosen.pixels, np.ndarray) else encoded(chosen)
        for row, pixels in enumerate(map_ahead(partial(_or_fault, picture), items)):
            if not isinstance(pixels, DataError):
                read[_image(chosen, part, row)] = pixels
    return read


def _or_fault(picture: Picture, item: Encoded | NDArray[np.uint8]) -> NDArray[np.uint8] | DataError:
    try:
        return picture(item)
    except DataError as fault:
        return fault


def _small(item: Encoded | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The whole image in its own shape, made smaller where it is longer than 144 px."""
    if isinstance(item, np.ndarray):
        image = to_image(item)
    else:
        with reading(item) as opened:
            image = upright(opened)
    image.thumbnail((SIDE_PX, SIDE_PX))
    pixels = np.asarray(image.convert("RGB"))
    return pixels.transpose(2, 0, 1)  # (3, H, W)


def _fitted(preprocessing: Preprocessing, item: Encoded | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return fit_images(item[None], preprocessing)[0] if isinstance(item, np.ndarray) else decode(item, preprocessing)


def _image(raw: Raw, part: str, row: int) -> Image:
    return Image(str(raw.names[row]), part, str(raw.class_names[row]))
