"""What a network sees, as a picture: stored, fitted, and as training shows it. Values drawn, no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.data.audit.pictures import Preview
from striate.report.contact_sheet import Cell, Section, draw

Shown = tuple[NDArray[np.uint8], tuple[str, ...]]  # pixels (C, H, W) and what is said of them


def draw_previews(rows: Sequence[tuple[Preview, Sequence[Shown]]], fit: str, title: str, path: Path) -> Path:
    """A line an image: as stored, the pixels under each fit, then as epochs 1, 2, ... show it; small ones enlarged.

    fit: the one that the recipe has; the epochs follow from it.
    """
    lines = []
    for preview, epochs in rows:
        stored = Cell(preview.whole, (preview.image.name, f"{preview.image.class_name}, as stored"))
        seen = [Cell(pixels, (name, _size(pixels))) for name, pixels in _distinct(preview, fit)]
        shown = [Cell(pixels, (f"epoch {k}", *said)) for k, (pixels, said) in enumerate(epochs, start=1)]
        lines.append((stored, *seen, *shown))
    note = f"decoded, resized and augmented as in training (fit: {fit}), before normalisation"
    return draw(title, [Section("what the network sees", note, tuple(lines))], path, columns=max(map(len, lines)))


def _distinct(preview: Preview, fit: str) -> list[tuple[str, NDArray[np.uint8]]]:
    """The fits that differ for this image, the chosen one marked; an image of the right shape needs none."""
    pictures = list(preview.seen.items())
    if all(np.array_equal(pixels, pictures[0][1]) for _, pixels in pictures):
        return [("crop = pad = stretch", pictures[0][1])]
    return [(f"{name}, chosen" if name == fit else name, pixels) for name, pixels in pictures]


def _size(pixels: NDArray[np.uint8]) -> str:
    return "{}x{}x{}".format(*pixels.shape)
