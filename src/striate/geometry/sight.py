"""The receptive field exactly: for every unit along one axis, the set of image pixels that can reach it.

A set is one Python integer used as a bitset: bit p is image pixel p. Two more bits above the image record
contact with padding before and after it, at this layer or any earlier one. One pass over the network answers
fields clipped by the image, holes from dilation, pixels that nothing reads, and misaligned branches, without
assuming that fields are intervals or that branches align.
"""

from __future__ import annotations

from dataclasses import dataclass

from striate.errors import GeometryError
from striate.geometry.window import AxisMap, Pointwise


@dataclass(frozen=True, slots=True)
class Sight:
    """What each unit along one axis can see of an image of `image` pixels.

    sets: one bitset a unit; bits 0 .. image-1 are pixels, bit `image` padding before, `image` + 1 padding after.
    """

    image: int
    sets: tuple[int, ...]

    @classmethod
    def of_image(cls, image: int) -> Sight:
        """The image itself: unit i sees pixel i."""
        return cls(image, tuple(1 << i for i in range(image)))

    def __len__(self) -> int:
        return len(self.sets)

    def through(self, axis: AxisMap) -> Sight:
        """What the units of the next layer see: the union over the units that each of them reads."""
        if isinstance(axis, Pointwise):
            return self
        size = len(self)
        before, after = 1 << self.image, 1 << (self.image + 1)
        sets = []
        for i in range(axis.out_size(size)):
            seen = 0
            for t in axis.reads(i, size):
                seen |= self.sets[t]
            touches_before, touches_after = axis.reads_padding(i, size)
            sets.append(seen | (before if touches_before else 0) | (after if touches_after else 0))
        return Sight(self.image, tuple(sets))

    def union(self, other: Sight) -> Sight:
        """Two branches added or concatenated: unit by unit, what either sees.

        Raises: GeometryError where the branches have different sizes.
        """
        if len(self) != len(other):
            raise GeometryError(
                f"branches of {len(self)} and {len(other)} units cannot be merged; make their sizes equal"
            )
        if self.sets == other.sets:
            return self
        return Sight(self.image, tuple(a | b for a, b in zip(self.sets, other.sets, strict=True)))

    def pixels(self, unit: int) -> int:
        """The bitset of image pixels that `unit` sees."""
        return self.sets[unit] & ((1 << self.image) - 1)

    def interval(self, unit: int) -> tuple[int, int] | None:
        """First and last image pixel that `unit` sees; None if it sees padding only."""
        seen = self.pixels(unit)
        if not seen:
            return None
        return (seen & -seen).bit_length() - 1, seen.bit_length() - 1

    def touches_padding(self, unit: int) -> tuple[bool, bool]:
        """Whether padding before, and padding after, can reach `unit`."""
        return bool(self.sets[unit] >> self.image & 1), bool(self.sets[unit] >> (self.image + 1) & 1)

    def unread(self) -> tuple[int, ...]:
        """The image pixels that no unit sees, in order."""
        seen = 0
        for one in self.sets:
            seen |= one
        return tuple(p for p in range(self.image) if not seen >> p & 1)
