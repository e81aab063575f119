"""How long will it take? A few steps on a copy answer before the first real one."""

from __future__ import annotations

import copy
import time
from statistics import median

from striate.data.dataset import Dataset, Part
from striate.train.evaluate import evaluate
from striate.train.optimizer import optimizer_for
from striate.train.step import Stepper

STEPS = 3
BUDGET_SECONDS = 3.0  # a large network is measured by fewer steps


def estimate_seconds(stepper: Stepper, dataset: Dataset, done_steps: int) -> float:
    """Estimate the rest of a run: training steps, a validation each epoch, the test at the end.

    Measured on deep copies of network and momentum, after one step to warm up; the run's own state is not
    touched. Checkpoints are not counted.
    """
    module = copy.deepcopy(stepper.module)
    trial = Stepper(module, optimizer_for(module, stepper.recipe), stepper.feed, stepper.recipe, stepper.total_steps)
    steps = stepper.feed.steps
    step_seconds = [trial(0, 0).seconds]
    while len(step_seconds) <= STEPS and sum(step_seconds) < BUDGET_SECONDS:
        step_seconds.append(trial(0, len(step_seconds) % steps).seconds)
    left = stepper.total_steps - done_steps
    evaluated = -(-left // steps) * len(dataset.validation) + (len(dataset.test) if dataset.test else 0)
    return left * median(step_seconds[1:] or step_seconds) + evaluated * _evaluation_seconds(trial, dataset)


def _evaluation_seconds(trial: Stepper, dataset: Dataset) -> float:
    """Seconds an image takes in evaluation."""
    part = dataset.validation
    few = Part(part.images[:256], part.labels[:256], part.names[:256])
    start = time.perf_counter()
    evaluate(trial.module, few, dataset.preprocessing, channels_last=trial.recipe.channels_last)
    return (time.perf_counter() - start) / len(few)
