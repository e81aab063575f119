"""Measure how long the full probe of ResNet-18 takes on 64 images of 224 px, and its peak memory.

Goals: under 60 s on 2 cores, under 2 GB.

usage: probe.py [IMAGES]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch
from _record import record

from striate.graph import initialise
from striate.notation import read
from striate.probe import activations, batch_norm, consistency, equivariance, evidence, receptive_field

THREADS = 2
SHAPE = (3, 224, 224)
GOALS = {"seconds": 60.0, "megabytes": 2000}


def main(images: int) -> None:
    """Run every probe once and record the seconds of each."""
    torch.set_num_threads(THREADS)
    network = initialise(read("resnet18", SHAPE), 0)
    x = np.random.default_rng(0).normal(size=(images, *SHAPE)).astype(np.float32)
    seconds = {}
    for probe in (equivariance, consistency, receptive_field, batch_norm, activations, evidence):
        start = time.perf_counter()
        probe(network, x)
        seconds[probe.__name__] = round(time.perf_counter() - start, 2)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    record(
        "probe",
        {
            "question": "how long does the full probe of ResNet-18 at 224 px take?",
            "goals": GOALS,
            "images": images,
            "seconds": seconds,
            "total_seconds": round(sum(seconds.values()), 2),
            "megabytes": round(megabytes),
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
