"""What happens to an image before a network sees it: a frozen value that travels with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.errors import DataError

FITS = ("crop", "pad", "stretch")
MAX_SIDE_PX = 4096


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Target of decoding (channels, height, width, fit) and of normalising (mean, std).

    fit says how an image of another shape becomes (height, width):
    ``crop`` scales until both sides reach the target and keeps the centre, ``pad`` scales until both fit and
    fills with 0, ``stretch`` scales each side on its own.
    mean and std are per channel, in units of the full scale: 1.0 is pixel value 255.
    Raises: DataError if a value is not allowed.
    """

    channels: int
    height: int
    width: int
    fit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise DataError(f"preprocessing: channels is {self.channels}; use 1 (gray) or 3 (RGB)")
        for side in ("height", "width"):
            if not 1 <= getattr(self, side) <= MAX_SIDE_PX:
                raise DataError(f"preprocessing: {side} is {getattr(self, side)} px; use 1 to {MAX_SIDE_PX}")
        if self.fit not in FITS:
            raise DataError(f"preprocessing: fit is {self.fit!r}; use one of {', '.join(FITS)}")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != self.channels or not all(math.isfinite(number) for number in numbers):
                raise DataError(f"preprocessing: {name} is {numbers}; give {self.channels} finite number(s)")
        if min(self.std) <= 0:
            raise DataError(f"preprocessing: std is {self.std}; every value must be above 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.channels, self.height, self.width

    @property
    def scale(self) -> NDArray[np.float32]:
        """1 / (255 std), shape (C,): computed in float64, rounded once."""
        return (1.0 / (255.0 * np.array(self.std, np.float64))).astype(np.float32)

    @property
    def shift(self) -> NDArray[np.float32]:
        """-mean / std, shape (C,): computed in float64, rounded once."""
        return (-np.array(self.mean, np.float64) / np.array(self.std, np.float64)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values; ``from_json`` is its inverse, bit for bit."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what ``to_json`` wrote.

        Raises: DataError on a missing or unknown key and on a value of another type.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"preprocessing: expected an object, got {type(values).__name__}")
        allowed = tuple(field.name for field in fields(cls))
        if set(values) != set(allowed):
            unknown, missing = sorted(set(values) - set(allowed)), sorted(set(allowed) - set(values))
            raise DataError(
                f"preprocessing: unknown keys {unknown}, missing {missing}; use exactly {', '.join(allowed)}"
            )
        return cls(
            channels=_integer(values, "channels"),
            height=_integer(values, "height"),
            width=_integer(values, "width"),
            fit=values["fit"],
            mean=_numbers(values, "mean"),
            std=_numbers(values, "std"),
        )


def normalise(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scale pixels to what the network was trained on.

    y = fl(fl(x * scale_c) + shift_c): exactly two roundings, so that torch's
    ``x.float().mul(scale).add(shift)`` and ONNX's Mul, Add give the same bits.

    Shapes: images (N, C, H, W) uint8; result (N, C, H, W) float32.
    Raises: DataError if the images are not of this preprocessing's shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != preprocessing.shape:
        raise DataError(
            f"normalise: got {images.dtype} {images.shape}; expected uint8 (N, {str(preprocessing.shape)[1:]}"
        )
    result = images.astype(np.float32)
    result *= preprocessing.scale[:, None, None]
    result += preprocessing.shift[:, None, None]
    return result


def _integer(values: Mapping[str, Any], key: str) -> int:
    value = values[key]
    if type(value) is not int:
        raise DataError(f"preprocessing: {key} is {value!r}; give an integer")
    return value


def _numbers(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = values[key]
    if not isinstance(value, list | tuple) or not all(type(number) in (int, float) for number in value):
        raise DataError(f"preprocessing: {key} is {value!r}; give a list of numbers")
    return tuple(float(number) for number in value)
