"""What each rank of a team does in test_distributed.py.

usage, under torchrun: team_driver.py FOLDER calculate RUN, or team_driver.py FOLDER run RUN RANK AFTER_STEP [SIGNAL]
Each writes what it found into FOLDER: NAME-RANKofSIZE.safetensors, and the run folder RUN.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from striate.data.sources import from_arrays
from striate.errors import RunError, StriateError
from striate.train.evaluation.evaluate import answers
from striate.train.feed import Feed, Normaliser, Pixels, augmentation_of, steps_per_epoch
from striate.train.loop import build, resume, train
from striate.train.machine import quiet_machine
from striate.train.norms.policy import set_up, spread, train_mode
from striate.train.observer import Observer
from striate.train.recipe import Recipe
from striate.train.resolve import resolve
from striate.train.run.state import Run
from striate.train.step import Stepper
from striate.train.team.distributed import Team, joined

CLASSES = ("left", "middle", "right")


def problem(**options: object):
    """61 striped images, whose batches of 7 or 8 no even team shares equally, and a recipe."""
    rng = np.random.default_rng(1)
    parts = []
    for images in (61, 20, 23):
        labels = np.arange(images) % len(CLASSES)
        pixels = rng.integers(0, 120, (images, 3, 9, 11), dtype=np.uint8)
        pixels[np.arange(images), :, :, 1 + 4 * labels] += 100
        parts.append((pixels, labels))
    dataset, _ = from_arrays(*parts[0], validation=parts[1], test=parts[2], classes=CLASSES, layout="NCHW")
    wanted = Recipe(
        **{"epochs": 2, "batch_images": 8, "peak_lr": 0.05, "threads": 1, "seed": 7, "checkpoint_seconds": 0} | options
    )
    return dataset, resolve(wanted, images=61, channels=3, size=(9, 11), classes=CLASSES, cores=1)[0]


def network(_: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """Two convolutions with batch normalisation, of which one reads a large mean; no dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 5, (3, 1), padding=(1, 0)),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 7, (2, 3), bias=False),
        nn.BatchNorm2d(7, momentum=0.3),
        nn.ReLU(),
        nn.MaxPool2d(3),
        nn.Flatten(),
        nn.Linear(42, 4),
        nn.BatchNorm1d(4, affine=False),
        nn.Linear(4, len(classes)),
    )


def gradients(team: Team, dtype: torch.dtype, step: int, mean: float, **options: object) -> dict[str, Tensor]:
    """Loss, gradients and running statistics of one step on a global batch, and the batch itself."""
    dataset, recipe = problem(**options)
    module = build(network, recipe, dataset.classes).to(dtype)
    with torch.no_grad():
        module[0].bias += mean  # far above the deviation, where sums of squares would cancel
    normaliser = Normaliser.of(dataset.preprocessing, channels_last=True)
    augmentation = augmentation_of(recipe, 3)
    feed = Feed(Pixels.of(dataset.train), normaliser, augmentation, 7, steps_per_epoch(61, 8), team=team)
    weights = torch.tensor([0.5, 1.0, 3.0]).to(dtype) if recipe.class_weights == "balanced" else None
    set_up(module, recipe)
    spread(module, recipe, team)
    train_mode(module)
    stepper = Stepper.of(module, feed, recipe, 16, weights)
    images, labels = feed.batch(1, step)
    labels = labels if labels.ndim == 1 else labels.to(dtype)
    with quiet_machine(1):
        loss, _ = stepper.gradients(images.to(dtype), labels)
    found = {name: parameter.grad.contiguous() for name, parameter in module.named_parameters()}
    found |= dict(module.named_buffers())
    return found | {"loss": torch.tensor(loss, dtype=torch.float64), "images": images.contiguous()}


CASES: dict[str, tuple[torch.dtype, int, float, dict[str, object]]] = {  # step 0 has 7 images, step 3 has 8
    "single precision": (torch.float32, 0, 0.0, {}),
    "large means": (torch.float32, 0, 30.0, {}),
    "double precision": (torch.float64, 0, 30.0, {}),
    "class weights": (torch.float64, 0, 30.0, {"class_weights": "balanced"}),
    "mixed images": (
        torch.float64,
        0,
        30.0,
        {"mixup": 0.4, "cutmix": 1.0, "erase_share": 0.5, "class_weights": "balanced"},
    ),
    "clipped": (torch.float64, 0, 30.0, {"clip_norm": 0.01}),
    "each its own statistics": (torch.float64, 3, 30.0, {"sync_batch_norm": False}),
}


def save(folder: Path, name: str, team: Team, found: dict[str, Tensor]) -> None:
    """Write what one rank found."""
    safetensors.torch.save_file(
        {key: tensor.contiguous().clone() for key, tensor in found.items()},
        folder / f"{name}-{team.rank}of{team.size}.safetensors",
    )


def calculate(folder: Path, team: Team) -> None:
    """One step of each case; the answers of an evaluation of 23 images in batches of 5; how a fault is shared."""
    for name, (dtype, step, mean, options) in CASES.items():
        save(folder, name, team, gradients(team, dtype, step, mean, **options))
    dataset, recipe = problem()
    module = build(network, recipe, dataset.classes)
    with quiet_machine(1):
        got = answers(module, dataset.test, dataset.preprocessing, 5, team=team)
        few = answers(module, dataset.test, dataset.preprocessing, 64, team=team)  # one batch: a rank has none
    save(folder, "answers", team, {"logits": torch.from_numpy(got.logits), "few": torch.from_numpy(few.logits)})
    faults = [fault_of(team, partial(fail, team, ranks)) for ranks in ((0,), (1,), (0, 1))]
    faults.append(fault_of(team, lambda: team.require_equal({"w": torch.tensor([team.rank])}, "weights")))
    from striate.jobs.training import prepare_together  # slow to load, and only needed here

    faults.append(fault_of(team, lambda: prepare_together(Recipe(data=str(own_data(folder, team.rank))), team)))
    (folder / f"faults-{team.rank}of{team.size}.json").write_text(json.dumps(faults))


def own_data(folder: Path, rank: int) -> Path:
    """A file of images that no other rank has."""
    path = folder / f"{rank}.npz"
    pixels = np.random.default_rng(rank).integers(0, 256, (40, 7, 11), dtype=np.uint8)
    labels = np.arange(40) % 2
    np.savez(path, x_train=pixels[:30], y_train=labels[:30], x_test=pixels[30:], y_test=labels[30:])
    return path


def fail(team: Team, ranks: tuple[int, ...]) -> None:
    """A fault on some ranks."""

    def work() -> None:
        if team.rank in ranks:
            raise RunError("the disk is full")

    team.together(work)


def fault_of(team: Team, work: object) -> list[str] | None:
    """The kind and the words of the fault that `work` raises."""
    try:
        work()  # type: ignore[operator]
    except StriateError as fault:
        return [type(fault).__name__, str(fault)]
    return None


class StopAt(Observer):
    """Sends its own process a signal after a step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_step(self, step: object) -> None:
        """Leave at the step, or halt there."""
        if step.done_steps == self.step:  # type: ignore[attr-defined]
            os.kill(os.getpid(), self.number)


OPTIONS = {"optimizer": "muon", "averaging": "ema", "mixup": 0.2}


def run(folder: Path, team: Team, name: str, rank: int, step: int, number: int = signal.SIGKILL) -> None:
    """Train into FOLDER/NAME or continue there; one rank may kill or halt itself after a step."""
    dataset, recipe = problem(**OPTIONS)
    observer = StopAt(step, number) if team.rank == rank else Observer()
    path = folder / name
    if Run(path).begun:
        resume(path, network, lambda _: dataset, observer, team)
    else:
        module = build(network, recipe, dataset.classes)
        train(module, dataset, recipe, Run(path, processes=team.size), observer, team)


def main(folder: Path, task: str, *words: str) -> int:
    try:
        with joined() as team:
            if task == "calculate":
                calculate(folder, team)
                run(folder, team, words[0], -1, 0)
            else:
                run(folder, team, words[0], *map(int, words[1:]))
    except StriateError as fault:
        sys.stderr.write(f"striate: {fault}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
