"""Axis maps that are no sliding window: a list of what each output reads, the whole axis for every output, resizing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from striate.errors import GeometryError


@dataclass(frozen=True, slots=True)
class Everywhere:
    """As many outputs as inputs, and each reads all of them: normalisation by the statistics of the whole map."""

    def out_size(self, in_size: int) -> int:
        """The input's size."""
        return in_size

    def reads(self, out_index: int, in_size: int) -> range:
        """All of the input."""
        return range(in_size)

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never."""
        return False, False


@dataclass(frozen=True, slots=True)
class Listed:
    """Output i reads the inputs lists[i], in order, whatever rule they came from: mirrored borders, moved axes."""

    lists: tuple[tuple[int, ...], ...]

    def out_size(self, in_size: int) -> int:
        """The number of lists."""
        return len(self.lists)

    def reads(self, out_index: int, in_size: int) -> tuple[int, ...]:
        """The list of `out_index`."""
        return self.lists[out_index]

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never: what is read is listed."""
        return False, False


@dataclass(frozen=True, slots=True)
class Resized:
    """Resizing of n px to `out` px by the nearest pixel or linearly between two, in exact fractions.

    nearest: output i reads floor(i n / out).
    linear: it reads between x and x + 1, at x = (i + 1/2) n / out - 1/2 cut at 0, or x = i (n - 1) / (out - 1) with
    align_corners; only one of the two where x is whole, or at the last pixel.
    """

    out: int
    linear: bool = False
    align_corners: bool = False

    def __post_init__(self) -> None:
        if self.out < 1:
            raise GeometryError(f"resizing to {self.out} px is not possible; use a whole number of at least 1")

    def out_size(self, in_size: int) -> int:
        """The stated size, whatever the input's."""
        return self.out

    def place(self, out_index: int, in_size: int) -> tuple[int, int, int]:
        """Where output `out_index` lies: (pixel p, a, b) for p + a / b, with 0 <= a < b."""
        if not self.linear:
            return out_index * in_size // self.out, 0, 1
        if self.align_corners:
            above, below = out_index * (in_size - 1), max(1, self.out - 1)
        else:
            above, below = max(0, (2 * out_index + 1) * in_size - self.out), 2 * self.out
        pixel = min(above // below, in_size - 1)
        return pixel, above % below if pixel < in_size - 1 else 0, below

    def reads(self, out_index: int, in_size: int) -> range:
        """The one or two pixels at its place."""
        pixel, above, _ = self.place(out_index, in_size)
        return range(pixel, pixel + (2 if above else 1))

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never."""
        return False, False


def mirrored(size: int, pad_lo: int, pad_hi: int) -> Listed:
    """A border of `pad_lo` and `pad_hi` px that mirrors the inside, without repeating the edge itself.

    Raises: GeometryError where there are not enough pixels to mirror.
    """
    if max(pad_lo, pad_hi) >= size:
        raise GeometryError(f"{max(pad_lo, pad_hi)} px cannot mirror the inside of {size} px; pad less than the size")
    last = size - 1
    return _listed(last - abs(last - abs(i)) for i in range(-pad_lo, size + pad_hi))


def repeated(size: int, pad_lo: int, pad_hi: int) -> Listed:
    """A border of `pad_lo` and `pad_hi` px that repeats the edge."""
    return _listed(min(max(i, 0), size - 1) for i in range(-pad_lo, size + pad_hi))


def wrapped(size: int, pad_lo: int, pad_hi: int) -> Listed:
    """A border of `pad_lo` and `pad_hi` px that goes on at the other end."""
    return _listed(i % size for i in range(-pad_lo, size + pad_hi))


def _listed(indices: Iterable[int]) -> Listed:
    return Listed(tuple((i,) for i in indices))
