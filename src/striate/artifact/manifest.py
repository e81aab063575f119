"""What an artifact says about itself: a strict, frozen value that travels as JSON in the file's metadata."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from striate.data.preprocess import Preprocessing, normalise
from striate.errors import ArtifactError, DataError

FORMAT: Literal[1] = 1
MANIFEST_KEY = "striate.manifest"
DIGEST_KEY = "striate.sha256"
DIGEST_CHARS = 64
HexFloat = Annotated[str, Field(pattern=r"^-?0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,4}$")]  # finite float64, exactly
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GoldenCase(_Frozen):
    """One image, what the preprocessing makes of it, and what the original network answered.

    pixels: (C, H, W) uint8, row by row, as base64; tensor_sha256: of the normalised float32 tensor, little-endian;
    logits: of the original network in float64, exactly
    """

    pixels: str
    tensor_sha256: Sha256
    logits: tuple[HexFloat, ...]

    def image(self, preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """The pixels (C, H, W).  Raises: ArtifactError if they are not of the preprocessing's shape."""
        data = base64.b64decode(self.pixels)
        return np.frombuffer(data, np.uint8).reshape(preprocessing.shape)

    def expected(self) -> NDArray[np.float64]:
        """The logits (classes,)."""
        return np.array([float.fromhex(value) for value in self.logits])


class Tensor(_Frozen):
    """Name, type and shape of the input or output; "N" is the free batch size.

    An input of uint8 takes pixels as they are stored; one of float32 takes them normalised.
    """

    name: str
    dtype: Literal["float32", "uint8"] = "float32"
    shape: tuple[str | int, ...]


class Int8(_Frozen):
    """What rounding to 8-bit integers cost, measured on labelled images when it was done.

    images: how many; accuracy_before, accuracy_after: shares of them answered right by the float32 model and by this;
    changed: how many answers are others; calibration_images: others, whose values set the ranges
    """

    images: int = Field(ge=1)
    accuracy_before: float = Field(ge=0, le=1)
    accuracy_after: float = Field(ge=0, le=1)
    changed: int = Field(ge=0)
    calibration_images: int = Field(ge=1)


class About(_Frozen):
    """What the one who ships knows of the network.

    network: its notation or family, as text; classes: names in the order of the logits
    preprocessing: as `Preprocessing.to_json` writes it; created: UTC, ISO 8601
    proof: what was verified, as JSON; None if nothing was
    golden_bound: how far a logit may lie from a golden case's, in units of the logits
    temperature: what logits are divided by before they become probabilities; 1 leaves them as trained
    abstain_below: probability of the top class below which the answer is "I do not know"; None always answers
    int8: what was lost where the file computes with 8-bit integers; such a file has no proof, and None elsewhere
    """

    network: str
    classes: tuple[str, ...] = Field(min_length=1)
    preprocessing: dict[str, JsonValue]
    created: str
    proof: dict[str, JsonValue] | None = None
    golden: tuple[GoldenCase, ...] = ()
    golden_bound: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    abstain_below: float | None = Field(default=None, gt=0, le=1)
    int8: Int8 | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> About:
        try:
            preprocessing = self.prepared()
            created = datetime.fromisoformat(self.created)
        except DataError as fault:
            raise ValueError(str(fault)) from None
        if created.utcoffset() is None or created.utcoffset():
            raise ValueError(f"created is {self.created!r}; give UTC, as 2026-01-31T12:00:00+00:00")
        if self.int8 is not None and self.proof is not None:
            raise ValueError("a model of 8-bit integers is not exact and carries no proof; leave proof out")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name; give each its own")
        for case in self.golden:
            _check_case(case, preprocessing, len(self.classes))
        return self

    def prepared(self) -> Preprocessing:
        """The preprocessing as a value."""
        return Preprocessing.from_json(self.preprocessing)


class Manifest(About):
    """Everything in the file beside the graph.

    format: version of this layout; striate: version that wrote it; graph_sha256: of the graph's bytes in the file
    """

    format: Literal[1]
    striate: str
    input: Tensor
    output: Tensor
    graph_sha256: Sha256

    def input_of(self, images: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """What the file's input takes for uint8 images (N, C, H, W): the pixels themselves, or normalised."""
        return images if self.input.dtype == "uint8" else normalise(images, self.prepared())


def golden_case(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, logits: NDArray[np.floating[Any]]
) -> GoldenCase:
    """The golden case of one image (C, H, W) and the original network's float64 logits (classes,) for it."""
    return GoldenCase(
        pixels=base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode(),
        tensor_sha256=tensor_sha256(pixels, preprocessing),
        logits=tuple(float(value).hex() for value in logits),
    )


def tensor_sha256(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> str:
    """Digest of the normalised tensor of one image: equal digests are equal bits."""
    return hashlib.sha256(normalise(pixels[None], preprocessing).astype("<f4").tobytes()).hexdigest()


def parse(text: str) -> Manifest:
    """Read a manifest from its JSON.  Raises: ArtifactError in one line."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise ArtifactError(f"manifest: {where}: {first['msg']}; ship the network again with this version") from None


def _check_case(case: GoldenCase, preprocessing: Preprocessing, classes: int) -> None:
    try:
        size = len(base64.b64decode(case.pixels, validate=True))
    except binascii.Error as fault:
        raise ValueError(f"golden case: pixels are not base64 ({fault})") from None
    try:
        case.expected()
    except OverflowError:
        raise ValueError("golden case: a logit is beyond float64") from None
    if size != np.prod(preprocessing.shape) or len(case.logits) != classes:
        raise ValueError(
            f"golden case: {size} pixels and {len(case.logits)} logits do not fit "
            f"{preprocessing.shape} and {classes} classes"
        )
