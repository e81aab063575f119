"""From whatever holds the images to a checked data set, with every automatic decision on record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from striate.choice import Choice
from striate.data import decide
from striate.data.arrays import find_arrays
from striate.data.dataset import (
    Dataset,
    Part,
    check,
    check_classes,
    check_every_class,
    check_part,
    fingerprint,
)
from striate.data.find import find
from striate.data.leaks import leaks
from striate.data.memory import free_bytes
from striate.data.names import encode, natural_sorted
from striate.data.preprocess import Preprocessing
from striate.data.raw import ON_BAD, WHOLE, Found, Raw, measure, read, take
from striate.data.split import grouped, stratified
from striate.data.tables import groups_across
from striate.errors import DataError

PIXELS = ("auto", "memory", "disk")
PIXELS_FOLDER = "runs/pixels"
TEST_SHARE = 0.2  # of a folder without parts: enough for a headline with a narrow interval


def load(  # noqa: PLR0913 - the source, and each decision that can be taken from it
    source: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    validation_share: float = 0.1,
    seed: int = 0,
    on_bad: str = "fail",
    pixels: str = "auto",
    pixels_folder: str | Path = PIXELS_FOLDER,
) -> tuple[Dataset, tuple[Choice, ...]]:
    """Read a data set: whatever ``find.find`` finds, from class folders and tables to archives and shards.

    ("./sample" is the folder of that name.) image_size is one side of a square or (height, width), in px.
    Whatever is None, absent or not split is decided here, and each decision is returned with its reason.
    mean and std come from the training part alone.
    on_bad: "fail" raises at the first image that cannot be read; "skip" leaves such images out, after the split,
    and lists them with their reasons in ``Dataset.skipped``.
    pixels: "memory" holds all decoded images; "disk" keeps them in memory-mapped files in pixels_folder, where a later
    call finds them again; "auto" takes the disk where they would fill the memory. The images are the same.
    Raises: DataError, in one line that says what to do.
    """
    storage = _Storage(pixels, Path(pixels_folder))
    return _assemble(find(source), (image_size, channels, fit), validation_share, seed, on_bad, storage)


def from_arrays(  # noqa: PLR0913 - the images, what names them, and the options of load
    X: ArrayLike,
    y: ArrayLike,
    *,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    classes: tuple[str, ...] | None = None,
    layout: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    validation_share: float = 0.1,
    seed: int = 0,
) -> tuple[Dataset, tuple[Choice, ...]]:
    """As ``load``, for arrays: X uint8 (N, H, W), (N, H, W, C) or (N, C, H, W); y integers or strings (N,).

    layout ("NHW", "NHWC", "NCHW") is needed only where the shape allows two. classes gives the names that
    integers stand for and the order of the classes.
    """
    given = {"train": (X, y), "validation": validation, "test": test}
    pairs = {part: pair for part, pair in given.items() if pair is not None}
    found = find_arrays("arrays", pairs, classes, layout)
    return _assemble(found, (image_size, channels, fit), validation_share, seed, "fail", _Storage("memory"))


def load_part(
    source: str | Path,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    *,
    on_bad: str = "fail",
    pixels: str = "memory",
    pixels_folder: str | Path = PIXELS_FOLDER,
) -> tuple[Part, tuple[Choice, ...]]:
    """Read what a trained network is to be evaluated on: a source's test part, or one without parts.

    Classes are matched by name; a class of the network may be absent, an unknown one is an error.
    on_bad, pixels: as in ``load``; returned too is what "auto" decided. No image is ever replaced by another: what is
    left out is in ``Part.skipped``.
    Raises: DataError.
    """
    _check_on_bad(on_bad)
    found = find(source)
    raw = found.parts.get("test") or found.parts.get(WHOLE)
    if raw is None:
        raise DataError(f"{found.source}: has {', '.join(found.parts) or 'no part'} but no test part; name one")
    storage = _Storage(pixels, Path(pixels_folder))
    folder, choices = storage.decided({"test": raw}, prod(preprocessing.shape), found.source)
    part = read(raw, classes, preprocessing, found.source, on_bad, folder and folder / "test")
    check_part(part, classes, preprocessing, "test")
    return part, choices


@dataclass(frozen=True, slots=True)
class _Storage:
    """Where decoded images are to be kept: one of PIXELS, and the folder of those on disk."""

    pixels: str
    folder: Path = Path(PIXELS_FOLDER)

    def decided(self, raws: dict[str, Raw], image_bytes: int, where: str) -> tuple[Path | None, tuple[Choice, ...]]:
        """The folder, or None for memory; and the choice where there was one to take."""
        if self.pixels not in PIXELS:
            raise DataError(f"pixels is {self.pixels!r}; use {', '.join(PIXELS)}")
        images = sum(len(raw) for raw in raws.values() if not isinstance(raw.pixels, np.ndarray))
        if self.pixels == "disk" and not images:
            raise DataError(f"{where}: holds arrays, which are in memory already; leave pixels = 'disk' out")
        if self.pixels != "auto":
            return (self.folder if self.pixels == "disk" else None), ()
        value, reason = decide.pixels(images * image_bytes, free_bytes(), str(self.folder))
        return (self.folder, (Choice("pixels", value, reason),)) if value == "disk" else (None, ())


def _assemble(
    found: Found,
    wanted: tuple[int | tuple[int, int] | None, int | None, str],
    validation_share: float,
    seed: int,
    on_bad: str,
    storage: _Storage,
) -> tuple[Dataset, tuple[Choice, ...]]:
    _check_on_bad(on_bad)
    classes = _classes(found)
    raws, split_choices = _split(found, classes, validation_share, seed)
    image_size, channels, fit = wanted
    size, shape_choices = _shape(raws, image_size, channels, on_bad, found.source)
    target = Preprocessing(*size, fit, mean=(0.0,) * size[0], std=(1.0,) * size[0])
    folder, storage_choices = storage.decided(raws, prod(size), found.source)
    parts = {
        name: read(raw, classes, target, f"{found.source}: {name}", on_bad, folder and folder / name)
        for name, raw in raws.items()
    }
    for name, part in parts.items():
        check_part(part, classes, target, name)  # what was skipped may have been all of it
    mean, std = decide.statistics(parts["train"].images)
    dataset = Dataset(
        classes=classes,
        train=parts["train"],
        validation=parts["validation"],
        test=parts.get("test"),
        preprocessing=replace(target, mean=mean, std=std),
        source=found.source,
        fingerprint=fingerprint(classes, parts),
    )
    check(dataset)
    reason = f"of the {len(dataset.train):,} training images, full scale = 1"
    statistics = (Choice("mean", mean, reason), Choice("std", std, reason))
    return dataset, (
        *split_choices,
        *_skipped(dataset),
        *_leaks(dataset),
        *shape_choices,
        *storage_choices,
        *statistics,
    )


def _skipped(dataset: Dataset) -> tuple[Choice, ...]:
    if not dataset.skipped:
        return ()
    first = dataset.skipped[0]
    return (Choice("skipped", f"{len(dataset.skipped):,} images", f"on_bad is skip; the first: {first.reason}"),)


def _leaks(dataset: Dataset) -> tuple[Choice, ...]:
    """Copies across parts are kept and told: which of them is right only a person can say."""
    reason = "{count} of the {part} images have the pixels of a {other} image; `striate audit` names them"
    return tuple(
        Choice("leaks", "kept", reason.format(count=f"{count:,}", part=part, other=other))
        for (other, part), count in leaks(dataset.parts).items()
    )


def _check_on_bad(on_bad: str) -> None:
    if on_bad not in ON_BAD:
        raise DataError(f"on_bad is {on_bad!r}; use {' or '.join(ON_BAD)}")


def _classes(found: Found) -> tuple[str, ...]:
    """The source's own order, else the natural order of the training part's names."""
    train = found.parts.get(WHOLE) or found.parts.get("train")
    if train is None:
        raise DataError(f"{found.source}: no training part; add train/ or, in an .npz file, x_train and y_train")
    classes = found.classes or natural_sorted(train.class_names.tolist())
    check_classes(classes)
    return classes


def _split(
    found: Found, classes: tuple[str, ...], validation_share: float, seed: int
) -> tuple[dict[str, Raw], tuple[Choice, ...]]:
    """Parts train, validation and maybe test, with every class in each, before anything is decoded."""
    parts, choices = dict(found.parts), []
    for group, where in groups_across(parts).items():
        raise DataError(f"{found.source}: group {group!r} is in {' and '.join(where)}; a group belongs in one part")
    if found.ignored:
        choices.append(Choice("ignored", found.ignored, "hidden, not an image by suffix, or beside the folders"))
    shares = {} if "validation" in parts else {"validation": validation_share}
    if WHOLE in parts:
        parts["train"] = parts.pop(WHOLE)
        shares = {"test": TEST_SHARE} | shares
    for name, share in shares.items():
        train = parts["train"]
        kept, held = _held_out(train, encode(train.class_names, classes, found.source), classes, share, seed, name)
        parts["train"], parts[name] = take(train, kept), take(train, held)
        reason = f"{share:g} of each class, held out of {len(train):,} images with seed {seed}"
        if train.groups is not None:
            reason += f"; its {len(set(train.groups.tolist())):,} groups stay whole"
        choices.append(Choice(name, f"{len(held):,} images", reason))
    if "test" not in parts:
        choices.append(Choice("test", "none", "the source has no test part"))
    for name, raw in parts.items():
        labels = encode(raw.class_names, classes, f"{found.source}: {name}")
        check_every_class(labels, classes, name, found.source)
    return parts, tuple(choices)


def _held_out(
    raw: Raw, labels: NDArray[np.int64], classes: tuple[str, ...], share: float, seed: int, part: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if raw.groups is None:
        return stratified(labels, classes, share, seed, part)
    return grouped(labels, raw.groups, classes, share, seed, part)


def _shape(
    raws: dict[str, Raw], image_size: int | tuple[int, int] | None, channels: int | None, on_bad: str, where: str
) -> tuple[tuple[int, int, int], tuple[Choice, ...]]:
    """(C, H, W), and the choices for what was not given."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and len(size) != 2:
        raise DataError(f"image_size is {image_size}; give one side or (height, width) in px")
    if size is not None and channels is not None:
        return (channels, *size), ()
    choices = []
    measured = [measure(raw, on_bad) for raw in raws.values()]
    if not sum(len(sizes) for sizes, _ in measured):
        raise DataError(f"{where}: no image can be read; see the audit for what is wrong with each")
    if size is None:
        size, reason = decide.image_size(np.concatenate([sizes for sizes, _ in measured]))
        choices.append(Choice("image_size", size, reason))
    if channels is None:
        channels, reason = decide.channels(np.concatenate([is_gray for _, is_gray in measured]))
        choices.append(Choice("channels", channels, reason))
    return (channels, *size), tuple(choices)
