"""Which random changes training applies to its images; the values, without torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from striate.errors import DataError

Fill = Literal["zeros", "reflect"]
LEVELS = 30  # RandAugment's magnitudes are 0 .. 30
MOST: dict[str, float] = {"hue": 0.5, "randaugment_level": LEVELS, "erase_share": 1.0, "mixup": 2.0, "cutmix": 2.0}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Changes that keep an image's class, in the order in which they are made; what is 0 or off costs nothing.

    crop_area: the least share of the image that a random crop keeps, scaled back to full size; 1 is off.
    crop_ratio: largest change of shape in such a crop, a factor on width / height (both after Szegedy et al. 2015,
    arXiv:1409.4842, sec. 6).
    flip: mirror left and right in every second epoch, starting with epoch 0 or 1 by a draw per image
    (alternating flip: Jordan 2024, arXiv:2404.00498); wrong for letters, digits and signs.
    shift_px: move by -shift_px .. shift_px in each axis; shift_fill: what comes in from outside is 0, or the image
    mirrored at its border pixels.
    brightness, contrast, saturation: a factor between 1 - value and 1 + value; hue: a turn of the colour circle by
    -value .. value turns.
    randaugment_ops: how many random operations an image gets; randaugment_level: their magnitude, 0 .. 30
    (Cubuk et al. 2020, arXiv:1909.13719).
    cutout_px: black out a square of this side around a random pixel, cut off at the border
    (DeVries, Taylor 2017, arXiv:1708.04552).
    erase_share: share of the images that get a rectangle of random pixels (Zhong et al. 2020, arXiv:1708.04896).
    mixup, cutmix: alpha of Beta(alpha, alpha), from which the share of another image is drawn, blended in (Zhang et
    al. 2018, arXiv:1710.09412) or pasted as a rectangle (Yun et al. 2019, arXiv:1905.04899); with both, half each.
    Raises: DataError on a value outside its range.
    """

    crop_area: float = 1.0
    crop_ratio: float = 4 / 3
    flip: bool = False
    shift_px: int = 0
    shift_fill: Fill = "zeros"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    randaugment_ops: int = 0
    randaugment_level: int = 9
    cutout_px: int = 0
    erase_share: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), MOST.get(field.name)
            if isinstance(value, str):
                continue
            if value < 0 or (most is not None and value > most):
                allowed = "0 or more" if most is None else f"0 to {most:g}"
                raise DataError(f"augmentation: {field.name} is {value}; use {allowed}")
        if not 0 < self.crop_area <= 1:
            raise DataError(f"augmentation: crop_area is {self.crop_area}; use a share above 0, 1 for no crop")
        if self.shift_fill not in get_args(Fill):
            raise DataError(f"augmentation: shift_fill is {self.shift_fill!r}; use {' or '.join(get_args(Fill))}")
        if self.crop_ratio < 1:
            raise DataError(f"augmentation: crop_ratio is {self.crop_ratio}; use 1 (no change of shape) or more")

    @property
    def mixes(self) -> bool:
        """Whether an image is mixed with another one, so that its label becomes a share of two."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def needs_colour(self) -> tuple[str, ...]:
        """Names of the changes asked for that mean nothing to gray images."""
        return tuple(name for name in ("saturation", "hue") if getattr(self, name))
