"""How long will it take? A few steps on a copy answer before the first real one."""

from __future__ import annotations

import time
from contextlib import suppress
from math import prod
from statistics import median

from striate.data.dataset import Dataset, Part
from striate.errors import DivergedError
from striate.train.evaluation.evaluate import answers
from striate.train.step import Stepper

STEPS = 3
BUDGET_SECONDS = 3.0  # a large network is measured by fewer steps


def estimate_seconds(stepper: Stepper, dataset: Dataset, done_steps: int) -> float:
    """Estimate the rest of a run: training steps, a validation each epoch, the test at the end.

    Measured on deep copies of weights and state, after one step to warm up; the run's own state is not
    touched. Checkpoints are not counted.
    """
    trial = stepper.rehearsal()
    epochs_left = -(-(stepper.total_steps - done_steps) // stepper.feed.steps)
    evaluated = epochs_left * len(dataset.validation) + (len(dataset.test) if dataset.test else 0)
    training = work_left(stepper, done_steps) * step_seconds(trial)
    return training + evaluated * evaluation_seconds(trial, dataset) / stepper.feed.team.size


def work_left(stepper: Stepper, done_steps: int) -> float:
    """Steps that are left, each counted by its images' pixels, in steps of the first epoch."""
    feed, total = stepper.feed, stepper.total_steps
    if feed.size_of is None:
        return total - done_steps
    done_epochs, first = divmod(done_steps, feed.steps)
    work = -first * prod(feed.size_of(done_epochs))
    for epoch in range(done_epochs, -(-total // feed.steps)):
        work += min(feed.steps, total - epoch * feed.steps) * prod(feed.size_of(epoch))
    return work / prod(feed.size_of(0))


def step_seconds(trial: Stepper) -> float:
    """Median seconds of a step, of a rehearsal that may be spent; one step more warms up."""
    seconds = [one_step(trial, 0)]
    many = trial.feed.team.size > 1  # they must all take equally many
    while len(seconds) <= STEPS and (many or sum(seconds) < BUDGET_SECONDS):
        seconds.append(one_step(trial, len(seconds) % trial.feed.steps))
    return median(seconds[1:] or seconds)


def one_step(trial: Stepper, step: int) -> float:
    """Seconds of one step of the first epoch, of a rehearsal that may be spent."""
    start = time.perf_counter()
    with suppress(DivergedError):  # a step that the run itself may have to take back lasts as long
        trial(0, step)
    return time.perf_counter() - start


def evaluation_seconds(trial: Stepper, dataset: Dataset) -> float:
    """Seconds an image takes in evaluation."""
    part = dataset.validation
    few = Part(part.images[:256], part.labels[:256], part.names[:256])
    start = time.perf_counter()
    answers(trial.module, few, dataset.preprocessing, channels_last=bool(trial.recipe.channels_last))
    return (time.perf_counter() - start) / len(few)
