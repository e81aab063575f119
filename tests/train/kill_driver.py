"""Train, kill with SIGKILL at random moments, resume, until the run ends; compare it with one never killed.

The kills are spread over the cases, each with 0, 1 and 2 loader workers; what they are compared with has none.

usage: kill_driver.py FOLDER KILLS SEED
Prints one JSON line. A process of its own: it loads torch once and forks a child for each attempt, which is
safe because the parent itself never computes.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import torch._dynamo  # noqa: F401  # the optimizer loads it: once here, not in each child, for kills to fall into
from torch import nn

from striate.data.sources import from_arrays, load
from striate.train.loop import build, resume, train
from striate.train.recipe import Recipe
from striate.train.resolve import resolve
from striate.train.run.state import Run

COMPARED = ("weights.safetensors", "metrics.jsonl", "shift.jsonl", "dataset.json", "choices.json")
WORKERS = (0, 1, 2)
CASES: dict[str, dict[str, object]] = {  # all the state and all the chance that a run can have
    "muon, ema": {"optimizer": "muon", "averaging": "ema", "sampling": "balanced", "cutout_px": 4},
    "lookahead, ghost batches": {
        "averaging": "lookahead", "ghost_batch_images": 16, "bn_precise": "always", "mixup": 0.3, "cutmix": 0.5,
    },
    "whitened, growing images": {
        "whiten": True, "resize_from": 0.6, "clip_norm": 1.0, "class_weights": "balanced", "record_shift": True,
        "randaugment_ops": 2, "erase_share": 0.3,
    },
}  # fmt: skip
TIMES = ("train_seconds", "images_per_s")


def network(_: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """8C3-BN-R-MP2-16C3-BN-R-D-GAP-10, with the dropout that makes chance part of the run."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, len(classes)),
    )


@functools.cache
def images():
    """600 images of the built-in sample: read once, before the first child, and without torch."""
    part = load("sample")[0].train
    return from_arrays(part.images[:600], part.labels[:600], layout="NCHW", validation_share=0.2)[0]


def problem(case: str, workers: int):
    """The images, and a recipe that writes a checkpoint after every step."""
    dataset = images()
    threads = int(os.environ.get("STRIATE_KILL_THREADS", "1"))  # two beside other tests would fight over the cores
    fixed = {"epochs": 1.6, "batch_images": 64, "flip": True, "checkpoint_seconds": 0}
    wanted = Recipe(threads=threads, loader_workers=workers, **fixed, **CASES[case])
    recipe, _ = resolve(wanted, images=len(dataset.train), channels=1, size=(28, 28), classes=dataset.classes, cores=2)
    return dataset, recipe


def attempt(path: Path, case: str, workers: int) -> None:
    """Start the run, or continue it if it has begun."""
    dataset, recipe = problem(case, workers)
    if Run(path).begun:
        resume(path, network, lambda _: dataset)
    else:
        train(build(network, recipe, dataset.classes), dataset, recipe, Run(path))


def forked(path: Path, case: str, workers: int, seconds: float | None) -> bool:
    """One attempt in a child, killed after some seconds; returns whether it was killed.

    Raises: RuntimeError if the child failed on its own.
    """
    child = os.fork()
    if child == 0:
        try:
            attempt(path, case, workers)
        finally:
            if sys.exc_info()[0]:
                traceback.print_exc()
            os._exit(int(sys.exc_info()[0] is not None))  # without the parent's clean-up
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"the child failed with status {status}")
    return status == signal.SIGKILL


def outcome(path: Path) -> dict[str, object]:
    """All that a run wrote, but for times and for how many workers it had."""
    found: dict[str, object] = {name: (path / name).read_bytes() for name in COMPARED if (path / name).exists()}
    for name, own in (("result.json", TIMES), ("recipe.json", ("loader_workers",))):
        values = json.loads((path / name).read_text())
        found |= {f"{name}: {key}": value for key, value in values.items() if key not in own}
    return found


def main(folder: Path, kills: int, seed: int) -> None:
    dice, start, _ = random.Random(seed), time.perf_counter(), images()
    whole, seconds = dict[str, dict[str, object]](), dict[str, float]()
    for case in CASES:
        begun = time.perf_counter()
        forked(folder / case, case, 0, None)
        whole[case], seconds[case] = outcome(folder / case), time.perf_counter() - begun
    turns = list(itertools.product(CASES, WORKERS))
    most = -(-kills // len(turns))  # of one run, so that all have their turn
    done, runs, differing, run = dict.fromkeys(turns, 0), 0, list[str](), folder / "run"
    while sum(done.values()) < kills:
        case, workers = turn = min(turns, key=done.__getitem__)
        killed, runs = 0, runs + 1
        while not Run(run).finished:
            wait = dice.uniform(0, seconds[case]) if killed < most and sum(done.values()) < kills else None
            was_killed = forked(run, case, workers, wait)
            killed, done[turn] = killed + was_killed, done[turn] + was_killed
        found = outcome(run)
        differing += [f"{turn}: {name}" for name in whole[case] | found if whole[case].get(name) != found.get(name)]
        shutil.rmtree(run)
    report = {
        "kills": {f"{case}; {workers} workers": count for (case, workers), count in done.items()},
        "runs": runs,
        "seconds": time.perf_counter() - start,
        "whole_seconds": seconds,
        "differing": differing,
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
