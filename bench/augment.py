"""What does each augmentation cost? Batches of the feed with it, against the same batches without any.

.venv/bin/python bench/augment.py [--rounds 30] [--side 32]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _record import record, summary

from striate.data.augmentation import Augmentation
from striate.data.dataset import Part
from striate.data.preprocess import Preprocessing
from striate.train.feed import Feed, Normaliser, Pixels

IMAGES, BATCH, THREADS = 2048, 128, 2
SPECS = {
    "none": Augmentation(),
    "flip and shift": Augmentation(flip=True, shift_px=4),
    "crop": Augmentation(crop_area=0.25),
    "brightness, contrast, saturation": Augmentation(brightness=0.4, contrast=0.4, saturation=0.4),
    "hue": Augmentation(hue=0.1),
    "RandAugment, 2 operations": Augmentation(randaugment_ops=2),
    "cutout": Augmentation(cutout_px=8),
    "erasing, a quarter of the images": Augmentation(erase_share=0.25),
    "mixup": Augmentation(mixup=0.2),
    "cutmix": Augmentation(cutmix=1.0),
}


def feed_of(spec: Augmentation, side: int) -> Feed:
    """Random images, and the augmentation."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 3, side, side), np.uint8)
    part = Part(images, np.arange(IMAGES) % 10, np.array([""] * IMAGES))
    preprocessing = Preprocessing(3, side, side, "crop", (0.5,) * 3, (0.25,) * 3)
    return Feed(Pixels.of(part), Normaliser.of(preprocessing, channels_last=True), spec, 0, IMAGES // BATCH)


def main() -> None:
    """Take one batch of each in turn, so that all meet the same moments of the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    feeds = {name: feed_of(spec, options.side) for name, spec in SPECS.items()}
    samples: dict[str, list[float]] = {name: [] for name in feeds}
    for number in range(-1, options.rounds):  # the first one warms up
        for name, feed in feeds.items():
            start = time.perf_counter()
            feed.batch(max(0, number), 3)
            if number >= 0:
                samples[name].append(time.perf_counter() - start)
    record(
        f"augment_{options.side}",
        {
            "question": "what does each augmentation cost an image?",
            "n": options.rounds,
            "images": f"3x{options.side}x{options.side}, batches of {BATCH}, {THREADS} threads",
            "us_an_image": {name: summary(np.array(of) / BATCH * 1e6) for name, of in samples.items()},
            "excluded": ["one batch of each before", "the network's own step"],
        },
    )


if __name__ == "__main__":
    main()
