"""Measure whether striate's trainer, with all it does beside, keeps up with a bare PyTorch loop.

A  striate: uint8 images, flip and shift, label smoothing, per-step and per-epoch records, run folder, checkpoints
B  bare: the same network and optimizer, channels_last, float images ready in memory, no augmentation, no records
C  usual: NCHW, DataLoader over a dataset with a transform for each image, no augmentation, no records

One round = one epoch of 35 steps of 128 images in each, in turn; the order rotates from round to round.
usage: trainer.py [ROUNDS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from _record import record, summary
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from striate.data.preprocess import normalise
from striate.data.sources import from_arrays, load
from striate.train.loop import train
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.resolve import resolve
from striate.train.run.state import Run

if TYPE_CHECKING:
    from striate.data.dataset import Dataset

NETWORK = "32C3-BN-R-32C3-BN-R-MP2-64C3-BN-R-64C3-BN-R-MP2-F-10"
BATCH, STEPS, THREADS = 128, 35, 2
GOALS = {"striate / bare": 0.95, "striate / usual": 1.1}


def network() -> nn.Module:
    """NETWORK in plain torch."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 32), *block(32, 32), nn.MaxPool2d(2), *block(32, 64), *block(64, 64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(7 * 7 * 64, 10),
    )  # fmt: skip


def problem() -> Dataset:
    """35 x 128 training images of the built-in sample."""
    sample = load("sample")[0]
    part, n = sample.train, BATCH * STEPS
    held_out = (sample.validation.images, sample.validation.labels)
    return from_arrays(part.images[:n], part.labels[:n], validation=held_out, test=held_out, layout="NCHW")[0]


class Clock(Observer):
    """Wall time from before the first step to after the last checkpoint, per-step calls included."""

    losses: list[float]

    def on_start(self, plan: object) -> None:
        """Begin to count."""
        self.losses = []
        self.start = time.perf_counter()

    def on_step(self, step: object) -> None:
        """Do what a progress bar does: take the loss."""
        self.losses.append(step.loss)  # type: ignore[attr-defined]

    def on_epoch(self, row: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.start


def striate_seconds(dataset: Dataset) -> float:
    """A: one epoch by striate, into a run folder, with checkpoints as by default."""
    wanted = Recipe(epochs=1, batch_images=BATCH, flip=True, threads=THREADS)
    facts = {"channels": 1, "size": (28, 28), "classes": dataset.classes, "cores": THREADS}
    recipe, _ = resolve(wanted, images=len(dataset.train), **facts)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        train(network(), dataset, recipe, run, clock)
        timing = (run.path / "timing.jsonl").read_text(encoding="utf-8")
    return clock.seconds - _validation_seconds(timing)


def _validation_seconds(timing: str) -> float:
    return sum(json.loads(line)["validation_seconds"] for line in timing.splitlines())


def sgd(module: nn.Module, **form: bool) -> torch.optim.SGD:
    """The optimizer of B and C: the same rule as striate's."""
    return torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, **form)


def bare_seconds(images: Tensor, labels: Tensor) -> float:
    """B: one epoch by the shortest loop, with the optimizer form that is fastest on a CPU."""
    module = network().to(memory_format=torch.channels_last)
    optimizer = sgd(module, fused=True)
    start = time.perf_counter()
    for rows in torch.randperm(len(labels)).split(BATCH):
        optimizer.zero_grad()
        F.cross_entropy(module(images[rows]), labels[rows]).backward()
        optimizer.step()
    return time.perf_counter() - start


class Transformed(TorchDataset[tuple[Tensor, int]]):
    """The tutorial's form: an image at a time to a tensor, to [0, 1], normalised."""

    def __init__(self, dataset: Dataset) -> None:
        self.images, self.labels = dataset.train.images, dataset.train.labels
        self.mean = torch.tensor(dataset.preprocessing.mean)[:, None, None]
        self.std = torch.tensor(dataset.preprocessing.std)[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[i]).to(torch.float32).div(255)
        return image.sub_(self.mean).div_(self.std), int(self.labels[i])


def usual_seconds(dataset: Dataset) -> float:
    """C: one epoch by the tutorial's loop."""
    module = network()
    optimizer = sgd(module)
    loader = DataLoader(Transformed(dataset), batch_size=BATCH, shuffle=True)
    start = time.perf_counter()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        optimizer.step()
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Interleave the contenders and record their speeds and the ratios within each round."""
    torch.set_num_threads(THREADS)
    dataset = problem()
    images = torch.from_numpy(normalise(dataset.train.images, dataset.preprocessing))
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(dataset.train.labels)
    contenders = {
        "striate": lambda: striate_seconds(dataset),
        "bare": lambda: bare_seconds(images, labels),
        "usual": lambda: usual_seconds(dataset),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        names = list(contenders)
        for name in names[turn % 3 :] + names[: turn % 3]:
            images_per_s = BATCH * STEPS / contenders[name]()
            if turn:  # round 0 warms up
                speeds[name].append(images_per_s)
    ratios = {
        pair: summary([a / b for a, b in zip(*(speeds[name] for name in pair.split(" / ")), strict=True)])
        for pair in GOALS
    }
    record(
        "trainer",
        {
            "question": "does the trainer keep up with a bare PyTorch loop?",
            "network": NETWORK,
            "input": "1x28x28",
            "batch_images": BATCH,
            "threads": THREADS,
            "torch": torch.__version__,
            "dtype": "float32",
            "n": rounds,
            "results": {name: {"images_per_s": summary(values)} for name, values in speeds.items()},
            "ratios": ratios,
            "excluded": [
                "loading the data",
                "one warm-up round",
                "building network and optimizer",
                "striate: the time estimate, writing the run folder's start, validation, test",
            ],
            "verdict": {pair: {"goal": goal, "met": ratios[pair]["median"] >= goal} for pair, goal in GOALS.items()},
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
