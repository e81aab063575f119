"""Train, kill with SIGKILL at random moments, resume, until the run ends; compare it with one never killed.

usage: kill_driver.py FOLDER KILLS SEED
Prints one JSON line. A process of its own: it loads torch once and forks a child for each attempt, which is
safe because the parent itself never computes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from torch import nn

from striate.data.sources import from_arrays, load
from striate.train.loop import build, resume, train
from striate.train.recipe import Recipe
from striate.train.resolve import resolve
from striate.train.run.state import Run

COMPARED = ("weights.safetensors", "metrics.jsonl", "recipe.json", "dataset.json", "choices.json")
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


def problem():
    """600 images of the built-in sample, and a recipe that writes a checkpoint after every step."""
    part = load("sample")[0].train
    dataset, _ = from_arrays(part.images[:600], part.labels[:600], layout="NCHW", validation_share=0.2)
    threads = int(os.environ.get("STRIATE_KILL_THREADS", "1"))  # two beside other tests would fight over the cores
    options = {"optimizer": "muon", "averaging": "ema", "sampling": "balanced"}  # all the state there can be
    wanted = Recipe(
        epochs=1.6, batch_images=64, flip=True, cutout_px=4, threads=threads, checkpoint_seconds=0, **options
    )
    recipe, _ = resolve(wanted, images=len(dataset.train), channels=1, size=(28, 28), classes=dataset.classes, cores=2)
    return dataset, recipe


def attempt(path: Path) -> None:
    """Start the run, or continue it if it has begun."""
    dataset, recipe = problem()
    if Run(path).begun:
        resume(path, network, lambda _: dataset)
    else:
        train(build(network, recipe, dataset.classes), dataset, recipe, Run(path))


def forked(path: Path, seconds: float | None) -> bool:
    """One attempt in a child, killed after some seconds; returns whether it was killed.

    Raises: RuntimeError if the child failed on its own.
    """
    child = os.fork()
    if child == 0:
        try:
            attempt(path)
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


def result_without_times(path: Path) -> dict[str, object]:
    values = json.loads((path / "result.json").read_text())
    return {name: value for name, value in values.items() if name not in TIMES}


def main(folder: Path, kills: int, seed: int) -> None:
    dice, done, runs, differing = random.Random(seed), 0, 0, []
    whole = folder / "whole"
    start = time.perf_counter()
    forked(whole, None)
    whole_seconds = time.perf_counter() - start
    while done < kills:
        run = folder / "run"
        while not Run(run).finished:
            wait = dice.uniform(0, whole_seconds) if done < kills else None
            done += forked(run, wait)
        runs += 1
        differing += [name for name in COMPARED if (run / name).read_bytes() != (whole / name).read_bytes()]
        differing += ["result.json"] * (result_without_times(run) != result_without_times(whole))
        shutil.rmtree(run)
    sys.stdout.write(
        json.dumps({"kills": done, "runs": runs, "whole_seconds": whole_seconds, "differing": differing}) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
