"""Mutate sound image files and decode them: each must give an image or a DataError, quietly, in bounded memory.

    .venv/bin/python dev/fuzz_images.py [--count 10000] [--seed 0]

A mutation is a pure function of (seed, number), so that one that fails is replayed by its number alone.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import time
import warnings
from collections import Counter

import numpy as np
from PIL import Image

from striate.data import Preprocessing, decode
from striate.data.audit.look import look
from striate.data.encoded import Encoded
from striate.errors import DataError

MEMORY_LIMIT_BYTES = 2**31  # of address space: far above what the largest image that is allowed takes
TARGET = Preprocessing(3, 13, 17, "crop", (0.0,) * 3, (1.0,) * 3)
HEADER_BYTES = 96  # where sizes, counts and offsets stand


def seeds() -> dict[str, bytes]:
    """One small sound file of each kind that is decoded."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (31, 43, 3)).astype(np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (31, 43)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a picture", 72.0
    options = {
        "jpeg": (colour, {"format": "JPEG", "exif": exif, "dpi": (72, 72), "comment": b"c"}),
        "jpeg-progressive": (colour, {"format": "JPEG", "progressive": True}),
        "jpeg-cmyk": (colour.convert("CMYK"), {"format": "JPEG"}),
        "png": (colour, {"format": "PNG", "exif": exif}),
        "png-palette": (colour.convert("P"), {"format": "PNG", "transparency": 3}),
        "png-16": (deep, {"format": "PNG"}),
        "png-animated": (colour, {"format": "PNG", "save_all": True, "append_images": [colour.rotate(90)]}),
        "webp": (colour, {"format": "WEBP", "exif": exif}),
        "webp-lossless": (colour.convert("RGBA"), {"format": "WEBP", "lossless": True}),
        "gif": (colour, {"format": "GIF"}),
        "gif-animated": (colour, {"format": "GIF", "save_all": True, "append_images": [colour.rotate(90)]}),
        "bmp": (colour, {"format": "BMP"}),
        "bmp-palette": (colour.convert("P"), {"format": "BMP"}),
        "tiff": (colour, {"format": "TIFF", "exif": exif}),
        "tiff-lzw": (colour, {"format": "TIFF", "compression": "tiff_lzw"}),
        "tiff-jpeg": (colour, {"format": "TIFF", "compression": "jpeg"}),
        "tiff-16": (deep, {"format": "TIFF"}),
    }
    return {name: _saved(image, how) for name, (image, how) in options.items()}


def mutated(content: bytes, seed: int, number: int) -> bytes:
    """Bits flipped, bytes set to extremes in the header, a cut, a repeat, or several of these."""
    rng = np.random.default_rng([seed, number])
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        match rng.integers(0, 6):
            case 0:
                for place in rng.integers(0, len(data), rng.integers(1, 9)):
                    data[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                for place in rng.integers(0, min(HEADER_BYTES, len(data)), rng.integers(1, 5)):
                    data[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 2:
                place = int(rng.integers(0, min(HEADER_BYTES, len(data))))
                data[place : place + 4] = rng.choice(
                    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\xff\xff"]
                )
            case 3:
                del data[int(rng.integers(1, len(data))) :]
            case 4:
                start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 64))
                data[start:start] = data[start : start + length]
            case _:
                start, length = int(rng.integers(0, len(data))), int(rng.integers(1, 64))
                data[start : start + length] = rng.bytes(length)
        if not data:
            break
    return bytes(data)


def outcome(content: bytes) -> str:
    """Say "image" or "error"; whatever else happens is raised. A warning is an exception here."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        try:
            pixels = decode(content, TARGET)
        except DataError as fault:
            message, result = str(fault), "error"
        else:
            message, result = "", "image"
            assert (pixels.shape, pixels.dtype) == (TARGET.shape, np.uint8), f"{pixels.dtype} {pixels.shape}"
        assert "\n" not in message, "an error of several lines"
        looked = look(Encoded("x", content))
        assert (looked.kind == "") == (result == "image"), f"decode gives an {result}, the audit says {looked.kind!r}"
    assert not leaked, f"a warning leaked: {leaked[0].message}"
    return result


def main() -> int:
    """Run the mutations and print one JSON line; 1 if any misbehaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    files = seeds()
    names = list(files)
    tally: Counter[str] = Counter()
    slowest, failures, start = 0.0, [], time.perf_counter()
    for number in range(options.count):
        name = names[number % len(names)]
        began = time.perf_counter()
        try:
            tally[f"{name} {outcome(mutated(files[name], options.seed, number))}"] += 1
        except BaseException as fault:  # noqa: BLE001 - finding out what can come here is the purpose
            failures.append(f"{number} {name}: {type(fault).__name__}: {fault}")
            print(failures[-1], file=sys.stderr)
        slowest = max(slowest, time.perf_counter() - began)
    images = sum(count for key, count in tally.items() if key.endswith(" image"))
    result = {
        "mutations": options.count,
        "seed": options.seed,
        "images": images,
        "data_errors": sum(tally.values()) - images,
        "failures": failures[:20],
        "failed": len(failures),
        "slowest_ms": round(1000 * slowest),
        "seconds": round(time.perf_counter() - start, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "address_space_limit_mb": MEMORY_LIMIT_BYTES // 2**20,
    }
    print(json.dumps(result))
    return 1 if failures else 0


def _saved(image: Image.Image, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
