"""The receptive field in affine form: size, jump and start of every unit on one axis.

Unit i of a map sees the input pixels [start + i jump, start + i jump + size - 1], unclipped by the image:
negative numbers, and numbers beyond it, are padding.  Araujo, Norris, Sim (2019), doi:10.23915/distill.00021.
"""

from __future__ import annotations

from dataclasses import dataclass

from striate.geometry.window import Adaptive, AxisMap, Pointwise, Window


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of one feature map see along one axis.

    size: px of input that one unit sees
    jump: px of input between neighbouring units
    start: index of the first px that unit 0 sees; negative = padding
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def then(self, window: Window) -> Field:
        """The field after one more window: r' = r + (extent - 1) j, j' = j s, start' = start - pad_lo j."""
        return Field(
            size=self.size + (window.extent - 1) * self.jump,
            jump=self.jump * window.stride,
            start=self.start - window.pad_lo * self.jump,
        )

    def merge(self, other: Field) -> Field | None:
        """The hull of two branches that are added or concatenated; None where their jumps differ."""
        if self.jump != other.jump:
            return None
        start = min(self.start, other.start)
        stop = max(self.start + self.size, other.start + other.size)
        return Field(stop - start, self.jump, start)

    def clipped(self, unit: int, image: int) -> tuple[int, int]:
        """First and last image pixel that `unit` sees, cut at the image [0, image - 1]."""
        first = self.start + unit * self.jump
        return max(0, first), min(image - 1, first + self.size - 1)


def step(field: Field | None, axis: AxisMap, in_size: int) -> Field | None:
    """The affine field after `axis`, for an input of `in_size` units.

    None where no affine form exists: uneven adaptive cells, transposed windows, branches of different jump, and
    layers that read the whole axis, whose field is where the map ends. The exact index map still answers there.
    """
    if field is None or isinstance(axis, Pointwise):
        return field
    if isinstance(axis, Adaptive):
        window = axis.as_window(in_size)
        return None if window is None else field.then(window)
    return field.then(axis) if isinstance(axis, Window) else None
