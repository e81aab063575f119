"""What an audit costs, which known copies it finds, and what a Parquet table costs to load.

Needs ../shared/data (TrashNet, CIFAR-10). Each run is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _record import ROOT, record, summary
from PIL import Image, ImageEnhance

from striate.data.audit.hashing import (
    MAX_HASH_DISTANCE,
    MIN_CORRELATION,
    correlation,
    near_pairs,
    perceptual_hash,
    thumbnail,
)

DATA = ROOT.parent / "shared" / "data"
RUNS = 5
COPIED_IMAGES = 300
RUN = """
import json, resource, sys, time
from striate.data import load
from striate.data.audit import audit
start = time.perf_counter()
found = {"audit": audit, "load": load}[sys.argv[1]](sys.argv[2])
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def main() -> int:
    """Measure and record."""
    if not DATA.is_dir():
        print("bench/audit.py needs ../shared/data beside the repository")
        return 0
    trashnet, cifar = DATA / "trashnet" / "splits.csv", DATA / "cifar10" / "train.parquet"
    record(
        "audit",
        {
            "question": "What do an audit and a Parquet table cost, and which known copies are found?",
            "threads": len(os.sched_getaffinity(0)),
            "n": RUNS,
            "results": {
                "audit_trashnet_2527_images": measured("audit", trashnet),
                "load_cifar10_train_50000_images": measured("load", cifar),
                "near_search_100000_hashes_seconds": search_seconds(100_000),
                "share_of_copies_found": shares_found(),
            },
            "excluded": "starting Python and importing; the file cache is warm after the first run",
            "verdict": "no target was set; the numbers are for the next comparison",
        },
    )
    return 0


def measured(what: str, source: Path) -> dict[str, object]:
    """Seconds and peak memory of RUNS processes."""
    numbers = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-c", RUN, what, str(source)], capture_output=True, text=True, check=True
        )
        numbers.append(json.loads(done.stdout))
    seconds, peaks = zip(*numbers, strict=True)
    return {"seconds": summary(seconds), "peak_rss_mb": summary(peaks)}


def search_seconds(count: int) -> float:
    """One comparison of all pairs of random hashes."""
    hashes = np.random.default_rng(0).integers(0, 2**63, count, np.uint64)
    start = time.perf_counter()
    for _ in near_pairs(hashes, MAX_HASH_DISTANCE):
        pass
    return round(time.perf_counter() - start, 1)


def shares_found() -> dict[str, float]:
    """Of copies made of TrashNet's pictures, the share that counts as nearly the same at the first level."""
    paths = sorted((DATA / "trashnet").glob("*/*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(paths))[:COPIED_IMAGES]
    found: dict[str, list[bool]] = {name: [] for name in copies(Image.new("RGB", (9, 9)))}
    for i in chosen:
        with Image.open(paths[i]) as image:
            original = image.convert("RGB")
        for name, copy in copies(original).items():
            distance = (perceptual_hash(original) ^ perceptual_hash(copy)).bit_count()
            likeness = correlation(thumbnail(original)[None], thumbnail(copy)[None])[0]
            found[name].append(distance <= MAX_HASH_DISTANCE and likeness >= MIN_CORRELATION)
    return {name: round(float(np.mean(hits)), 3) for name, hits in found.items()}


def copies(image: Image.Image) -> dict[str, Image.Image]:
    """What happens to pictures on their way."""
    width, height = image.size
    cut = max(1, width // 50), max(1, height // 50)
    return {
        "half_size": image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BILINEAR),
        "stretched_to_square": image.resize((128, 128), Image.Resampling.BILINEAR),
        "jpeg_quality_30": recompressed(image),
        "brightness_times_1.2": ImageEnhance.Brightness(image).enhance(1.2),
        "contrast_times_0.7": ImageEnhance.Contrast(image).enhance(0.7),
        "gray": image.convert("L").convert("RGB"),
        "2_percent_cut_off_each_side": image.crop((cut[0], cut[1], width - cut[0], height - cut[1])),
        "turned_by_2_degrees": image.rotate(2, Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0))),
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }


def recompressed(image: Image.Image) -> Image.Image:
    """Saved as JPEG once more."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    sys.exit(main())
