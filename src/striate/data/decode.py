"""Image file -> uint8 pixels: the one decode and resize that training, prediction and serving share."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from striate.data.preprocess import Preprocessing
from striate.data.resize import fit_image
from striate.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")
MAX_PIXELS = 2**26  # 67 megapixels: above every common camera, 201 MB as RGB
GRAY_MODES = ("1", "L", "LA", "I;16", "I;16B")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def decode(source: Path | bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decode one image file and bring it to the size and channels of ``preprocessing``.

    In this order: size and frame count checked in the header; pixels decoded; EXIF orientation applied;
    16-bit gray divided by 257 and rounded; transparency laid on white; converted to gray (ITU-R 601 luma) or
    RGB; resized (see ``resize.fit_image``). Colour profiles are not applied; 16-bit colour keeps its high
    byte.

    Shapes: result (C, H, W) uint8.
    Raises: DataError, naming the file, if it is absent, unreadable, truncated, animated, too large, or of a
    format or mode not listed here.
    """
    name = _name(source)
    with _reading(name), _opened(source, name) as image:
        _check_header(image, name)
        image.load()
        flat = _flatten(ImageOps.exif_transpose(image))
    return fit_image(flat, preprocessing, name)


def decode_all(
    paths: Iterable[Path], preprocessing: Preprocessing, threads: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Decode files ahead in threads (default: one a core); the order of ``paths`` is kept.

    At most ``2 threads`` results wait in memory. Raises: DataError of the first bad file, in order.
    """
    threads = threads or os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    try:
        for path in paths:
            ahead.append(pool.submit(decode, path, preprocessing))
            if len(ahead) == 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def header(path: Path) -> tuple[int, int, bool]:
    """(height, width, is gray) from the file's header, before orientation; no pixel is decoded.

    A palette counts as colour. Raises: DataError as ``decode``.
    """
    name = _name(path)
    with _reading(name), _opened(path, name) as image:
        _check_header(image, name)
        return image.height, image.width, image.mode in GRAY_MODES


def _name(source: Path | bytes) -> str:
    return "image bytes" if isinstance(source, bytes) else str(source)


def _opened(source: Path | bytes, name: str) -> Image.Image:
    if isinstance(source, bytes):
        return Image.open(BytesIO(source), formats=FORMATS)
    if not source.is_file():  # also keeps pipes and devices from blocking
        raise DataError(f"{name}: no such file; check the path")
    return Image.open(source, formats=FORMATS)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes Pillow raise into one DataError that names the file."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: not an image of a known format ({', '.join(FORMATS)}); remove or convert it"
        ) from None
    except Exception as fault:  # Pillow's readers raise a dozen types, SyntaxError and struct.error among them
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise DataError(f"{name}: unreadable image ({reason}); replace or remove it") from fault


def _check_header(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise DataError(f"{name}: pixels of mode {image.mode} have no fixed range; save it as 8-bit gray or RGB")
    # A phone's MPO is a JPEG with previews or a second lens behind it: its first frame is the picture.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"{name}: holds {frames} frames; save the one that matters as its own file")


def _too_large(name: str) -> DataError:
    return DataError(f"{name}: more than {MAX_PIXELS:,} pixels; make it smaller first")


def _flatten(image: Image.Image) -> Image.Image:
    """Any allowed mode -> L or RGB."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("L" if image.mode in GRAY_MODES else "RGB")
