"""One image looked at: what its header says, whether it decodes, and three prints by which copies are found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from striate.data.audit.hashing import perceptual_hash, thumbnail
from striate.data.decode import bits_per_sample, check_header, frames, orientation, reading, upright
from striate.data.encoded import MAX_FILE_BYTES, Encoded
from striate.data.resize import to_image
from striate.errors import DataError, ImageTooLargeError

DIGEST_BYTES = 16  # of BLAKE2b: two different images of 10**9 agree with a probability below 10**-20


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself: size as stored, mode and bits as Pillow names them, EXIF orientation 1 to 8."""

    format: str
    mode: str
    bits: int
    height: int
    width: int
    orientation: int
    frames: int
    is_transparent: bool


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One image: its header, its prints where it decodes, and otherwise why it does not.

    kind: "" for a sound image, else "unreadable" (no header), "animated", "refused" (size or mode) or "damaged"
    (the header is sound, the pixels are not). Digests are of the file's bytes and of the upright pixels.
    """

    header: Header | None
    kind: str = ""
    reason: str = ""
    bytes_digest: bytes = b""
    pixels_digest: bytes = b""
    hash: int = 0
    thumbnail: NDArray[np.uint8] | None = None


def look(image: Encoded) -> Look:
    """Look at one encoded image. Never raises for a bad one."""
    try:
        content = _bytes(image)
    except DataError as fault:
        return Look(None, "unreadable", str(fault))
    digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
    loaded, header, kind = Encoded(image.name, content), None, "unreadable"
    try:
        with reading(loaded, is_checked=False) as opened:
            header = _header(opened)
            kind = "animated" if header.frames > 1 else "refused"
            check_header(opened, image.name)
            kind = "damaged"
            header = replace(header, orientation=orientation(opened))  # only now: for some PNG it needs the pixels
            picture = upright(opened)
    except ImageTooLargeError as fault:
        return Look(header, "refused", str(fault), digest)
    except DataError as fault:
        return Look(header, kind, str(fault), digest)
    return _prints(header, picture, digest)


def look_at_pixels(pixels: NDArray[np.uint8]) -> Look:
    """Look at one image (1 or 3, H, W) of an array, whose bytes are its pixels."""
    _, height, width = pixels.shape
    image = to_image(pixels)
    header = Header("array", image.mode, 8, height, width, 1, 1, is_transparent=False)
    return _prints(header, image, b"")


def _prints(header: Header, image: Image.Image, bytes_digest: bytes) -> Look:
    """Gray counts as the RGB it stands for, so that a copy saved in colour is found."""
    rgb = image.convert("RGB")
    digest = hashlib.blake2b(f"{rgb.size}".encode(), digest_size=DIGEST_BYTES)
    digest.update(rgb.tobytes())
    small = thumbnail(rgb)
    return Look(header, "", "", bytes_digest or digest.digest(), digest.digest(), perceptual_hash(rgb), small)


def _header(image: Image.Image) -> Header:
    """What is known without decoding a pixel, for the size is not checked yet."""
    return Header(
        format=str(image.format),
        mode=image.mode,
        bits=_bits(image),
        height=image.height,
        width=image.width,
        orientation=1,
        frames=frames(image),
        is_transparent=image.has_transparency_data,
    )


def _bits(image: Image.Image) -> int:
    """Bits a sample as stored: Pillow narrows 16-bit colour, and only its raw mode still tells."""
    raw_modes = {
        str(tile[3] if isinstance(tile[3], str) else tile[3][0]) for tile in getattr(image, "tile", []) if tile[3]
    }
    return 16 if any(";16" in mode for mode in raw_modes) and image.mode[:1] != "I" else bits_per_sample(image)


def _bytes(image: Encoded) -> bytes:
    if isinstance(image.content, DataError):
        raise image.content
    if isinstance(image.content, bytes):
        return image.content
    return _file_bytes(image.content)


def _file_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path}: {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check it") from fault
