"""Look at every image of a source once, and say what is wrong with it before anything is trained."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.ahead import map_ahead
from striate.data.audit.copies import exact_copies, near_copies
from striate.data.audit.kinds import finding
from striate.data.audit.look import Header, Look, look, look_at_pixels
from striate.data.audit.report import Audit, Case, Finding, Image, Range
from striate.data.find import find
from striate.data.names import natural_sorted
from striate.data.raw import Found, Raw, encoded
from striate.data.tables import groups_across

IMBALANCE = 3.0  # largest class over smallest: from here accuracy alone hides the small class
ASPECTS = 2.0  # longest shape over shortest: from here a crop to one shape loses half of some picture
BAD_KINDS = ("unreadable", "damaged", "animated", "refused")
HEADER_NOTES: dict[str, Callable[[Header], str]] = {
    "orientation": lambda header: f"orientation {header.orientation}" if header.orientation != 1 else "",
    "cmyk": lambda header: "CMYK" if header.mode == "CMYK" else "",
    "deep": lambda header: f"{header.bits} bits" if header.bits > 8 else "",
    "transparent": lambda header: header.mode if header.is_transparent else "",
}


def audit(source: str | Path, threads: int | None = None) -> Audit:
    """Audit a source that ``find.find`` knows; its images are decoded in threads and not kept.

    In memory stay about 1.5 kB an image: its header, three prints and a thumbnail of 12 x 12 px.
    Raises: DataError if the source itself cannot be read. What is wrong with single images is in the result.
    """
    found = find(source)
    images: list[Image] = []
    looks: list[Look] = []
    for part, raw in found.parts.items():
        images += [Image(str(name), part, str(of)) for name, of in zip(raw.names, raw.class_names, strict=True)]
        looks += _looks(raw, threads)
    return judge(found, images, looks)


def judge(found: Found, images: Sequence[Image], looks: Sequence[Look]) -> Audit:
    """The audit of images that have been looked at: a pure function."""
    classes = found.classes or natural_sorted(image.class_name for image in images)
    counts = {part: _counts(raw.class_names.tolist(), classes) for part, raw in found.parts.items()}
    headers = [one.header for one in looks if one.header is not None]
    sizes = np.array([_upright_size(header) for header in headers], np.int64).reshape(-1, 2)  # (N, 2)
    near, near_correlation = near_copies(images, looks)
    findings = [
        *_bad(images, looks),
        *exact_copies(images, looks),
        *near,
        *_group_leaks(found),
        *_missing_classes(counts, classes),
        *_imbalance(counts, classes),
        *_aspects(images, looks),
        *_header_notes(images, looks),
    ]
    return Audit(
        source=found.source,
        images=len(images),
        classes=classes,
        counts=counts,
        heights=_range(sizes[:, 0]),
        widths=_range(sizes[:, 1]),
        aspects=_range(sizes[:, 1] / np.maximum(1, sizes[:, 0])),
        modes=_tally(header.mode for header in headers),
        formats=_tally(header.format for header in headers),
        near_correlation=near_correlation,
        findings=tuple(sorted(findings, key=lambda one: one.level)),  # faults first, else in this order
    )


def _looks(raw: Raw, threads: int | None) -> Iterator[Look]:
    if isinstance(raw.pixels, np.ndarray):
        return map_ahead(look_at_pixels, raw.pixels, threads)
    return map_ahead(look, encoded(raw), threads)


def _bad(images: Sequence[Image], looks: Sequence[Look]) -> Iterator[Finding]:
    cases: dict[str, list[Case]] = defaultdict(list)
    for image, one in zip(images, looks, strict=True):
        if one.kind:
            cases[one.kind].append(Case((image,), one.reason))
    for kind in BAD_KINDS:
        yield from finding(kind, cases[kind])


def _group_leaks(found: Found) -> list[Finding]:
    cases = []
    for group, parts in groups_across(found.parts).items():
        members = [
            Image(str(name), part, str(class_name))
            for part in parts
            for name, class_name, of in _columns(found.parts[part])
            if of == group
        ]
        cases.append(Case(tuple(members), f"group {group}"))
    return finding("group-leak", cases)


def _columns(raw: Raw) -> Iterable[tuple[str, str, str]]:
    groups = raw.groups if raw.groups is not None else np.full(len(raw), "")
    return zip(raw.names.tolist(), raw.class_names.tolist(), groups.tolist(), strict=True)


def _missing_classes(counts: dict[str, dict[str, int]], classes: tuple[str, ...]) -> list[Finding]:
    cases = [
        Case((), f"no image of class {name!r} in {part}")
        for part in counts
        for name in classes
        if not counts[part][name]
    ]
    return finding("missing-class", cases)


def _imbalance(counts: dict[str, dict[str, int]], classes: tuple[str, ...]) -> list[Finding]:
    totals = {name: sum(of[name] for of in counts.values()) for name in classes}
    small, large = min(totals, key=lambda name: totals[name]), max(totals, key=lambda name: totals[name])
    if totals[large] < IMBALANCE * totals[small]:
        return []
    detail = f"{large!r} has {totals[large]:,} images and {small!r} {totals[small]:,}"
    return finding("imbalance", [Case((), detail)])


def _aspects(images: Sequence[Image], looks: Sequence[Look]) -> list[Finding]:
    """The flattest and the tallest picture, where they differ much."""
    aspects = {}
    for i, one in enumerate(looks):
        if one.header is not None:
            height, width = _upright_size(one.header)
            aspects[i] = width / height
    if not aspects:
        return []
    tall, flat = min(aspects, key=lambda i: aspects[i]), max(aspects, key=lambda i: aspects[i])
    if aspects[flat] < ASPECTS * aspects[tall]:
        return []
    detail = f"width/height {aspects[tall]:.2f} and {aspects[flat]:.2f}"
    return finding("aspect", [Case((images[tall], images[flat]), detail)])


def _header_notes(images: Sequence[Image], looks: Sequence[Look]) -> Iterator[Finding]:
    for kind, note in HEADER_NOTES.items():
        cases = []
        for image, one in zip(images, looks, strict=True):
            if one.header is not None and (detail := note(one.header)):
                cases.append(Case((image,), detail))
        yield from finding(kind, cases)


def _upright_size(header: Header) -> tuple[int, int]:
    """(height, width) after the EXIF orientation: 5 to 8 swap the axes."""
    is_turned = header.orientation > 4
    return (header.width, header.height) if is_turned else (header.height, header.width)


def _counts(class_names: list[str], classes: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(class_names)
    return {name: counts[name] for name in (*classes, *sorted(set(counts) - set(classes)))}


def _range(values: NDArray[np.int64] | NDArray[np.float64]) -> Range | None:
    if len(values) == 0:
        return None
    return Range(round(float(values.min()), 4), round(float(np.median(values)), 4), round(float(values.max()), 4))


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
