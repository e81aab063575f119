"""Image file -> uint8 pixels: the one decode and resize that training, prediction and serving share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from striate.data.ahead import map_ahead
from striate.data.encoded import Content, Encoded
from striate.data.preprocess import Preprocessing
from striate.data.quiet import quiet_pillow
from striate.data.resize import fit_image, resized_size
from striate.errors import DataError, ImageTooLargeError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
MAX_PIXELS = 2**26  # 67 megapixels: above every common camera, 201 MB as RGB
GRAY_MODES = ("1", "L", "LA", "I;16", "I;16B")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0, section 8
EXIF_ORIENTATION = 0x0112
FIRST_ON_ITS_SIDE = 5  # of the orientations: from here on, height and width change places
SPARE = 3  # Pillow on reducing_gap: from 3 on, hardly to be told from resampling the whole image
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: Path | bytes | Encoded, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decode one image file and bring it to the size and channels of ``preprocessing``.

    In this order: size and frame count checked in the header; pixels decoded; EXIF orientation applied;
    12- and 16-bit gray scaled to 0 .. 255 and rounded; transparency laid on white; converted to gray (ITU-R 601
    luma) or RGB; resized (see ``resize.fit_image``). Colour profiles are not applied; 16-bit colour keeps its
    high byte. A JPEG of six times the size and more is decoded at a part of its size (see ``_shrink``).

    Shapes: result (C, H, W) uint8.
    Raises: DataError, naming the file, if it is absent, unreadable, truncated, animated, too large, or of a
    format or mode not listed here.
    """
    image = _encoded(source)
    with reading(image) as opened:
        _shrink(opened, preprocessing)
        flat = upright(opened)
    return fit_image(flat, preprocessing, image.name)


def decode_all(
    paths: Iterable[Path | Encoded], preprocessing: Preprocessing, threads: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Decode files ahead in threads (default: one a core); the order of ``paths`` is kept.

    At most ``2 threads`` results wait in memory. Raises: DataError of the first bad file, in order.
    """
    return map_ahead(lambda path: decode(path, preprocessing), paths, threads)


def decode_each(
    images: Iterable[Path | Encoded], preprocessing: Preprocessing, threads: int | None = None
) -> Iterator[NDArray[np.uint8] | DataError]:
    """As ``decode_all``, with a bad file's error in its place instead of raised."""
    return map_ahead(lambda image: decoded_or_fault(image, preprocessing), images, threads)


def decoded_or_fault(image: Path | Encoded, preprocessing: Preprocessing) -> NDArray[np.uint8] | DataError:
    """``decode``, or what is wrong with the image."""
    try:
        return decode(image, preprocessing)
    except DataError as fault:
        return fault


def header(source: Path | bytes | Encoded) -> tuple[int, int, bool]:
    """(height, width, is gray) from the file's header, before orientation; no pixel is decoded.

    A palette counts as colour. Raises: DataError as ``decode``.
    """
    with reading(_encoded(source)) as image:
        return image.height, image.width, image.mode in GRAY_MODES


@contextmanager
def reading(image: Encoded, *, is_checked: bool = True) -> Iterator[Image.Image]:
    """Open an image whose header is allowed; whatever a damaged file makes Pillow raise inside is one DataError.

    is_checked=False opens it as it is, for a look at why it is not allowed.
    """
    try:
        with quiet_pillow, _opened(image) as opened:
            if is_checked:
                check_header(opened, image.name)
            yield opened
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(image.name) from None
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise DataError(f"{image.name}: not an image of a known format ({formats}); remove or convert it") from None
    except Exception as fault:  # Pillow's readers raise a dozen types, SyntaxError and struct.error among them
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise DataError(f"{image.name}: unreadable image ({reason}); replace or remove it") from fault


def check_header(image: Image.Image, name: str) -> None:
    """Raises: DataError if the image is too large, of a mode without a fixed range, or animated."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise DataError(f"{name}: pixels of mode {image.mode} have no fixed range; save it as 8-bit gray or RGB")
    if (count := frames(image)) > 1:
        raise DataError(f"{name}: holds {count} frames; save the one that matters as its own file")


def frames(image: Image.Image) -> int:
    """Number of pictures; a phone's MPO is a JPEG with previews or a second lens behind it, and counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; what is not a number of these counts as 1."""
    value = image.getexif().get(EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(image: Image.Image) -> Image.Image:
    """Decode an opened image: EXIF orientation applied, any allowed mode -> L or RGB of 8 bits."""
    image.load()
    turn = TURNS.get(orientation(image))  # asked after loading: Pillow turns TIFF itself and forgets the tag
    image = _narrow(image)
    image = image if turn is None else image.transpose(turn)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("L" if image.mode in GRAY_MODES else "RGB")


def _shrink(image: Image.Image, preprocessing: Preprocessing) -> None:
    """Let the JPEG decoder leave out detail that the resize would average away: 1/2, 1/4 or 1/8 of each side.

    Only where the sides divide evenly, so that every pixel keeps its place, and where what is left is at least
    ``SPARE`` times as large as the resized image. 12 megapixels are decoded to 224 px in a quarter of the time, and
    values differ little from those of the whole image: docs/predict.md has the numbers.
    """
    if not isinstance(image, JpegImageFile):
        return
    is_turned = orientation(image) >= FIRST_ON_ITS_SIDE
    size = (image.width, image.height) if is_turned else (image.height, image.width)
    target = resized_size(size, (preprocessing.height, preprocessing.width), preprocessing.fit)
    for part in (8, 4, 2):
        if all(side % part == 0 and side >= SPARE * part * wanted for side, wanted in zip(size, target, strict=True)):
            image.draft(None, (image.width // part, image.height // part))
            return


def bits_per_sample(image: Image.Image) -> int:
    """8, or 12 or 16 for what Pillow holds in 16 bits."""
    if not image.mode.startswith("I;16"):
        return 8
    return int(_tiff_tag(image, BITS_PER_SAMPLE, 16))


def _narrow(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits -> 8 bits: round(255 v / (2**bits - 1))."""
    if not image.mode.startswith("I;16"):
        return image
    full = 2 ** bits_per_sample(image) - 1
    wide = np.minimum(np.asarray(image).astype(np.uint32), full)
    if _tiff_tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO:  # Pillow inverts 8 bits and fewer, not 16
        wide = full - wide
    return Image.fromarray(((wide * 255 + full // 2) // full).astype(np.uint8))


def _tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    value = getattr(image, "tag_v2", {}).get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _encoded(source: Path | bytes | Encoded) -> Encoded:
    if isinstance(source, Encoded):
        return source
    return Encoded("image bytes" if isinstance(source, bytes) else str(source), source)


def _opened(image: Encoded) -> Image.Image:
    content: Content = image.content
    if isinstance(content, DataError):
        raise content
    if isinstance(content, bytes):
        return Image.open(BytesIO(content), formats=FORMATS)
    if not content.is_file():  # also keeps pipes and devices from blocking
        raise DataError(f"{content}: no such file; check the path")
    return Image.open(content, formats=FORMATS)


def _too_large(name: str) -> ImageTooLargeError:
    return ImageTooLargeError(f"{name}: more than {MAX_PIXELS:,} pixels; make it smaller first")
