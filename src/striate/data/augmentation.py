"""Which random changes training applies to its images; the values, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from striate.errors import DataError


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Changes that keep an image's class, in this order.

    flip: mirror left and right in every second epoch, starting with epoch 0 or 1 by a draw per image
    (alternating flip: Jordan 2024, arXiv:2404.00498); wrong for letters, digits and signs.
    shift_px: move by -shift_px .. shift_px in each axis; what comes in from outside is 0.
    cutout_px: black out a square of this side around a random pixel, cut off at the border
    (DeVries, Taylor 2017, arXiv:1708.04552).
    Raises: DataError on a negative number of pixels.
    """

    flip: bool = False
    shift_px: int = 0
    cutout_px: int = 0

    def __post_init__(self) -> None:
        if self.shift_px < 0 or self.cutout_px < 0:
            raise DataError(f"augmentation: shift_px is {self.shift_px} and cutout_px {self.cutout_px}; use 0 or more")
