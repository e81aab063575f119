"""One row of an inspection: what is exact about one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from striate.geometry import Field
from striate.measure.fields import UNKNOWN, Paths
from striate.ops import Shape

Part = Literal["features", "classifier"]
Fields = tuple[Field | None, ...]
Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a layer stands, what it makes, what its units see, what it costs for one image.

    inputs: the layers it reads
    fields: one `Field` an image axis, None where it has no affine form
    local_fields: the same without what global gates (squeeze-excite) saw; equal to `fields` where there is no gate
    paths: field size along the shortest and the longest path through the network, an axis, gates left out
    seen: for the unit in the middle of the map, first and last image pixel on each axis, clipped by the image
    padding_share: the part of the local field that lies outside the image, averaged over all units
    read: image pixels on each axis that reach at least one unit
    macs ... moved_bytes: as in `striate.measure.Cost`
    known: False for a layer of unknown kind and all behind it, of which no field is stated
    """

    name: str
    kind: str
    settings: str
    part: Part
    inputs: tuple[str, ...]
    output: Shape
    fields: Fields
    local_fields: Fields
    paths: tuple[Paths | None, ...]
    seen: tuple[Interval | None, ...]
    padding_share: float | None
    read: tuple[int, ...]
    parameters: int | None
    macs: int | None
    macs_on_pixels: int | None
    flops: int | None
    output_bytes: int
    kept_bytes: int | None
    moved_bytes: int | None
    known: bool = True

    @property
    def has_shape(self) -> bool:
        """False for a layer of unknown kind of whose output not even the shape is known."""
        return bool(self.output) or self.kind != UNKNOWN

    @property
    def macs_per_byte(self) -> float | None:
        """Arithmetic intensity: multiply-accumulates for each byte read or written."""
        return None if self.macs is None or self.moved_bytes is None else self.macs / self.moved_bytes

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "settings": self.settings,
            "part": self.part,
            "inputs": list(self.inputs),
            "output": list(self.output) if self.has_shape else None,
            "receptive_field": field_json(self.fields),
            "receptive_field_local": field_json(self.local_fields),
            "shortest_path_field": [None if p is None else p[0] for p in self.paths],
            "longest_path_field": [None if p is None else p[1] for p in self.paths],
            "seen_from_centre": [None if s is None else list(s) for s in self.seen],
            "padding_share": self.padding_share,
            "image_pixels_read": list(self.read),
            "parameters": self.parameters,
            "macs": self.macs,
            "macs_on_pixels": self.macs_on_pixels,
            "flops": self.flops,
            "output_bytes": self.output_bytes if self.has_shape else None,
            "training_bytes": self.kept_bytes,
            "moved_bytes": self.moved_bytes,
            "macs_per_byte": self.macs_per_byte,
            "known": self.known,
        }


def field_json(fields: Fields) -> dict[str, list[int]] | None:
    """Size, jump and start with one number an axis; None where an axis has no affine form."""
    known = known_fields(fields)
    if known is None:
        return None
    return {"size": [f.size for f in known], "jump": [f.jump for f in known], "start": [f.start for f in known]}


def known_fields(fields: Fields) -> tuple[Field, ...] | None:
    """The fields, if every axis has an affine form."""
    known = tuple(f for f in fields if f is not None)
    return known if len(known) == len(fields) else None


def padding_share(fields: Fields, units: tuple[int, ...], image: tuple[int, ...]) -> float | None:
    """The part of an unclipped field that lies outside the image, averaged over the units; None without affine form.

    1 - prod over the axes of the mean of |field and image| / |field|.
    """
    inside = 1.0
    known = known_fields(fields)
    if known is None:
        return None
    for field, count, pixels in zip(known, units, image, strict=True):
        clipped = (field.clipped(unit, pixels) for unit in range(count))
        inside *= sum(max(0, last - first + 1) for first, last in clipped) / (field.size * count)
    return 1.0 - inside
