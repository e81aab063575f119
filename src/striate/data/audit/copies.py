"""Copies among images: exact by digest, nearly exact by print and thumbnail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from striate.data.audit.hashing import MAX_HASH_DISTANCE, MIN_CORRELATION, correlation, near_pairs
from striate.data.audit.kinds import finding
from striate.data.audit.look import Look
from striate.data.audit.report import Case, Finding, Image

# From which correlation two pictures are nearly the same. Pictures that are alike by nature (aligned, on one
# background: Fashion-MNIST) reach the first level without being copies; then the next is taken, and the pairs are
# notes to look at, not faults.
CORRELATIONS = (MIN_CORRELATION, 0.99, 0.995)
COMMON_SHARE = 0.02  # of the images: as many pairs are no exception but the nature of the data
COMMON_PAIRS = 50
_CHUNK_PAIRS = 4096


def exact_copies(images: Sequence[Image], looks: Sequence[Look]) -> list[Finding]:
    """Label conflicts, leaks and duplicates among images of the same pixels; one picture may be all three."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        if look.pixels_digest or look.bytes_digest:
            same[look.pixels_digest or look.bytes_digest].append(i)
    conflicts, leaks, duplicates = [], [], []
    for group in (group for group in same.values() if len(group) > 1):
        case = Case(tuple(images[i] for i in group), _sameness([looks[i] for i in group]), "=")
        classes, parts = {images[i].class_name for i in group}, {images[i].part for i in group}
        if len(classes) > 1:
            conflicts.append(case)
        if len(parts) > 1:
            leaks.append(case)
        if len({(images[i].part, images[i].class_name) for i in group}) < len(group):
            duplicates.append(case)
    return [*finding("label-conflict", conflicts), *finding("leak", leaks), *finding("duplicate", duplicates)]


def near_copies(images: Sequence[Image], looks: Sequence[Look]) -> tuple[list[Finding], float]:
    """Pairs of nearly the same picture, most alike first, and the correlation from which they counted."""
    kept = _representatives(images, looks)
    pairs, alike = _alike(
        np.array([looks[i].hash for i in kept], np.uint64),
        np.array([looks[i].thumbnail for i in kept], np.uint8),
    )
    limit = _level(alike, len(kept))
    cases: dict[str, list[Case]] = defaultdict(list)
    for k in np.argsort(-alike, kind="stable"):
        first, second = kept[pairs[k, 0]], kept[pairs[k, 1]]
        if alike[k] < limit or looks[first].pixels_digest == looks[second].pixels_digest:
            continue
        cases[_near_kind(images[first], images[second])].append(
            Case((images[first], images[second]), f"correlation {alike[k]:.3f}", "~")
        )
    kinds = ("near-conflict", "near-leak", "near-duplicate")
    findings = [found for kind in kinds for found in finding(kind, cases[kind])]
    if limit > CORRELATIONS[0]:
        findings = [replace(found, level="note") for found in findings]
    return findings, limit


def _near_kind(first: Image, second: Image) -> str:
    if first.class_name != second.class_name:
        return "near-conflict"
    return "near-leak" if first.part != second.part else "near-duplicate"


def _sameness(looks: Sequence[Look]) -> str:
    if any(not look.pixels_digest for look in looks):
        return "the same bytes, unreadable"
    is_same = all(a.bytes_digest == b.bytes_digest for a, b in combinations(looks[:2], 2))
    return "the same bytes" if is_same and len({look.bytes_digest for look in looks}) == 1 else "the same pixels"


def _representatives(images: Sequence[Image], looks: Sequence[Look]) -> list[int]:
    """One of each (pixels, part, class): exact copies are reported as such and not again as near ones."""
    first: dict[tuple[bytes, str, str], int] = {}
    for i, (image, look) in enumerate(zip(images, looks, strict=True)):
        if look.pixels_digest:
            first.setdefault((look.pixels_digest, image.part, image.class_name), i)
    return list(first.values())


def _alike(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs (P, 2) near by hash and of the first level by thumbnail, with their correlations (P,)."""
    kept, correlations = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for block in near_pairs(hashes, MAX_HASH_DISTANCE):
        for start in range(0, len(block), _CHUNK_PAIRS):
            pairs = block[start : start + _CHUNK_PAIRS]
            alike = correlation(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])
            kept.append(pairs[alike >= CORRELATIONS[0]])
            correlations.append(alike[alike >= CORRELATIONS[0]])
    return np.concatenate(kept), np.concatenate(correlations)


def _level(alike: NDArray[np.float64], images: int) -> float:
    common = max(COMMON_PAIRS, COMMON_SHARE * images)
    return next((level for level in CORRELATIONS if (alike >= level).sum() <= common), CORRELATIONS[-1])
