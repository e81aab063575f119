"""A sliding window along one axis: its sizes, what each output reads, and what is never read.

Everything is an exact integer. Two- and three-dimensional layers are tuples of these, one per axis, so
height can never be confused with width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from striate.errors import GeometryError
from striate.geometry.moved import Everywhere, Listed, Resized


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution or pooling window on one axis.

    kernel, stride, dilation: taps, px between windows, px between taps (all >= 1)
    pad_lo, pad_hi: px added before the first and after the last input; negative crops
    ceil_mode: a last window that overhangs the padded input also counts, if it starts on input or pad_lo

    Raises: GeometryError on numbers that cannot be a window.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    pad_lo: int = 0
    pad_hi: int = 0
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        _check_taps(self)
        if self.ceil_mode and self.pad_hi < 0:
            raise GeometryError(
                f"pad_hi={self.pad_hi} with ceil_mode: the overhang would read what is cropped; use ceil_mode=False"
            )

    @property
    def extent(self) -> int:
        """Pixels from the first tap to the last, both included: d (k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def out_size(self, in_size: int) -> int:
        """Number of windows: floor((n + pad_lo + pad_hi - extent) / s) + 1, and the overhanging one in ceil mode.

        Raises: GeometryError if not even one window fits.
        """
        room = in_size + self.pad_lo + self.pad_hi - self.extent
        count = room // self.stride + 1
        if self.ceil_mode and room % self.stride and self.first(count) < in_size:
            count += 1  # one more window overhangs; it starts before the right padding, so it may read a pixel
        if count < 1:
            raise GeometryError(
                f"a window of {self.extent} px does not fit {in_size} px padded by {self.pad_lo} and {self.pad_hi}"
                f"; the input must be at least {self.extent - self.pad_lo - self.pad_hi} px"
            )
        return count

    def first(self, out_index: int) -> int:
        """Input index of the first tap of window `out_index`; negative means padding."""
        return out_index * self.stride - self.pad_lo

    def reads(self, out_index: int, in_size: int) -> range:
        """The real input indices that window `out_index` reads, in order (taps in padding are left out)."""
        first = self.first(out_index)
        skipped = max(0, -(first // self.dilation)) if first < 0 else 0
        stop = min(first + self.extent, in_size)
        return range(first + skipped * self.dilation, stop, self.dilation)

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Whether window `out_index` has a tap before the first and after the last real input."""
        first = self.first(out_index)
        return first < 0, first + self.extent > in_size

    def taps_inside(self, in_size: int) -> int:
        """Taps that meet a real pixel, summed over all windows; the rest multiply padding."""
        return sum(len(self.reads(i, in_size)) for i in range(self.out_size(in_size)))

    def unread_at_end(self, in_size: int) -> int:
        """Real pixels after the last window: max(0, ((n + pads - extent) mod s) - pad_hi).

        The remainder of the floor eats right padding first, and only then the image.
        """
        last_read = self.first(self.out_size(in_size) - 1) + self.extent
        return max(0, in_size - max(0, last_read))


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Each output reads the one input at its own place: activations, sums, batch normalisation."""

    def out_size(self, in_size: int) -> int:
        """The input's size."""
        return in_size

    def reads(self, out_index: int, in_size: int) -> range:
        """The input at the same index."""
        return range(out_index, out_index + 1)

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never."""
        return False, False


@dataclass(frozen=True, slots=True)
class Whole:
    """Every output reads the whole axis: global pooling, or a dense layer on flattened maps."""

    def out_size(self, in_size: int) -> int:
        """One."""
        return 1

    def reads(self, out_index: int, in_size: int) -> range:
        """All of the input."""
        return range(in_size)

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never."""
        return False, False


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Adaptive pooling: output i of m reads [floor(i n / m), ceil((i + 1) n / m)); uneven where m does not divide n."""

    out: int

    def __post_init__(self) -> None:
        if self.out < 1:
            raise GeometryError(
                f"an adaptive output of {self.out} units is not possible; use a whole number of at least 1"
            )

    def out_size(self, in_size: int) -> int:
        """The stated output size, whatever the input's."""
        return self.out

    def reads(self, out_index: int, in_size: int) -> range:
        """The cell of output `out_index`."""
        return range(out_index * in_size // self.out, -(-(out_index + 1) * in_size // self.out))

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Never."""
        return False, False

    def as_window(self, in_size: int) -> Window | None:
        """The ordinary window that does the same on `in_size` px, or None where the cells are uneven."""
        if in_size % self.out:
            return None
        return Window(in_size // self.out, stride=in_size // self.out)


@dataclass(frozen=True, slots=True)
class Transposed:
    """A transposed convolution's window: output i reads input j where i = s j - pad_lo + d m for a tap m."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    pad_lo: int = 0
    pad_hi: int = 0
    extra: int = 0

    def __post_init__(self) -> None:
        _check_taps(self)

    @property
    def extent(self) -> int:
        """Output pixels that one input writes to: d (k - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def out_size(self, in_size: int) -> int:
        """(n - 1) s - pad_lo - pad_hi + d (k - 1) + 1 + extra, where extra is torch's output_padding.

        Raises: GeometryError if nothing is left.
        """
        size = (in_size - 1) * self.stride - self.pad_lo - self.pad_hi + self.extent + self.extra
        if size < 1:
            raise GeometryError(
                f"a transposed window of {self.extent} px on {in_size} px leaves {size} px; use less padding"
            )
        return size

    def reads(self, out_index: int, in_size: int) -> list[int]:
        """The input indices that write to output `out_index`."""
        at = out_index + self.pad_lo
        first = max(0, -(-(at - self.extent + 1) // self.stride))
        last = min(in_size - 1, at // self.stride)
        return [j for j in range(first, last + 1) if (at - self.stride * j) % self.dilation == 0]

    def reads_padding(self, out_index: int, in_size: int) -> tuple[bool, bool]:
        """Whether taps fall before the first or after the last input."""
        at = out_index + self.pad_lo
        taps = [at - self.dilation * m for m in range(self.kernel)]
        on_grid = [t // self.stride for t in taps if t % self.stride == 0]
        return any(j < 0 for j in on_grid), any(j >= in_size for j in on_grid)


AxisMap = Window | Pointwise | Whole | Adaptive | Transposed | Everywhere | Listed | Resized
"""How the outputs along one axis read the inputs along it."""


def _check_taps(window: Window | Transposed) -> None:
    for what in ("kernel", "stride", "dilation"):
        value = getattr(window, what)
        if value < 1:
            raise GeometryError(f"{what}={value} is not a window; use a whole number of at least 1")


def per_axis(value: int | Sequence[int], axes: int, what: str) -> tuple[int, ...]:
    """Return `value` once per axis: an int is repeated, a sequence must have `axes` entries.

    Raises: GeometryError on another length.
    """
    got = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(got) != axes:
        raise GeometryError(f"{what}: expected 1 or {axes} values (one per axis), got {len(got)}: {got}")
    return got
