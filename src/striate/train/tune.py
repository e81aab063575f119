"""A few seconds of measuring before a run: threads, memory order, compiling, and how many epochs fit a time.

What is found is written into the recipe, so that a resumed run does not measure again and ends in the same bits.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection

from torch import nn

from striate.choice import Choice
from striate.data.dataset import Dataset
from striate.errors import RecipeError
from striate.train.binding import prepare, stepper_for
from striate.train.estimate import evaluation_seconds, one_step, step_seconds, work_left
from striate.train.machine import has_compiler, quiet_machine
from striate.train.recipe import Recipe
from striate.train.step import Stepper

PROBE_SECONDS = 3.0
WORTH_SECONDS = 60.0  # a shorter run is not probed: the probe would be a large part of it
COMPILE_WORTH_SECONDS = 600.0  # compiling takes up to a minute itself
LEAST_GAIN = 0.03  # differences below it are noise
TIME_KEPT = 0.95  # of a planned time; the rest is for checkpoints and slower moments
PROBED = ("threads", "channels_last", "compile")


def tune(module: nn.Module, dataset: Dataset, recipe: Recipe, asked: Recipe) -> tuple[Choice, ...]:
    """Measure what `asked` left open, on copies of the network; `recipe` is its resolved form.

    Returns one choice for each value that was measured, which replaces the one in the resolved recipe.
    Raises: RecipeError where a time is planned and epochs are given too.
    """
    if recipe.time_seconds and asked.epochs != "auto":
        raise RecipeError("recipe: time_seconds and epochs are both given; give one of them")
    trial = _Trial(module, dataset, recipe)
    seconds = trial.seconds(2)
    run_seconds = recipe.time_seconds or trial.work() * seconds
    still_open = [name for name in PROBED if name in asked.unresolved()]
    choices: list[Choice] = []
    if still_open and run_seconds >= WORTH_SECONDS:
        choices += _probe(trial, still_open, run_seconds)
    if recipe.time_seconds:
        choices.append(_planned(_Trial(module, dataset, recipe.changed(**{c.name: c.value for c in choices}))))
    return tuple(choices)


class _Trial:
    """Steps of one candidate on copies, in turn with those of others."""

    def __init__(self, module: nn.Module, dataset: Dataset, recipe: Recipe) -> None:
        self.module, self.dataset, self.recipe = module, dataset, recipe
        fixed = recipe.changed(whiten=False, recoveries=0)  # neither changes a step's time
        self.stepper: Stepper = stepper_for(prepare(copy.deepcopy(module), fixed), dataset, fixed)
        self.taken: list[float] = []
        self._steps = 0

    def seconds(self, steps: int = 1) -> float:
        """The shortest of all steps but the first, after so many more."""
        with quiet_machine(int(self.recipe.threads), str(self.recipe.device)):
            for _ in range(steps):
                self.taken.append(one_step(self.stepper, self._steps % self.stepper.feed.steps))
                self._steps += 1
        return min(self.taken[1:] or self.taken)

    def work(self) -> float:
        """Steps of the whole run, counted as `seconds` measures them."""
        return work_left(self.stepper, 0)

    def other(self, **values: object) -> _Trial:
        """A candidate that differs in these values."""
        return _Trial(self.module, self.dataset, self.recipe.changed(**values))


def _probe(base: _Trial, still_open: Collection[str], run_seconds: float) -> list[Choice]:
    """Compare each alternative with the usual choice, the best so far staying."""
    alternatives: dict[str, list[object]] = {
        "threads": _fewer_threads(int(base.recipe.threads)),
        "channels_last": [not base.recipe.channels_last],
        "compile": [True] if run_seconds >= COMPILE_WORTH_SECONDS and _can_compile(base.recipe) else [],
    }
    best, choices = base, list[Choice]()
    for name in (name for name in PROBED if name in still_open):
        said: list[str] = []
        for value in alternatives[name]:
            candidate = best.other(**{name: value})
            mine, theirs = _compared(best, candidate)
            said.append(
                f"{1e3 * mine:.3g} ms a step with {getattr(best.recipe, name)}, {1e3 * theirs:.3g} with {value}"
            )
            if theirs < mine * (1 - LEAST_GAIN):
                best = candidate
        choices.append(Choice(name, getattr(best.recipe, name), "; ".join(said) or _why_not(name, run_seconds)))
    return choices


def _compared(one: _Trial, other: _Trial) -> tuple[float, float]:
    """Seconds of a step of both, measured in turn for a share of the probe's time, each three times at least."""
    end = time.perf_counter() + PROBE_SECONDS / len(PROBED)
    other.seconds()  # warms up, and compiles
    seconds = one.seconds(), other.seconds()
    for _ in range(2):
        seconds = one.seconds(), other.seconds()
    while time.perf_counter() < end:
        seconds = one.seconds(), other.seconds()
    return seconds


def _fewer_threads(threads: int) -> list[object]:
    """Half the threads, for machines whose cores are two threads each."""
    return [threads // 2] if threads > 1 else []


def _can_compile(recipe: Recipe) -> bool:
    return recipe.device == "cuda" or has_compiler()


def _why_not(name: str, run_seconds: float) -> str:
    if name == "threads":
        return "the only core this process may use"
    if run_seconds < COMPILE_WORTH_SECONDS:
        return f"the run is too short to gain by it: about {run_seconds:.0f} s"
    return "there is no C++ compiler"


def _planned(trial: _Trial) -> Choice:
    """As many epochs as fit the time, validations and the test included."""
    recipe, steps = trial.recipe, trial.stepper.feed.steps
    with quiet_machine(int(recipe.threads), str(recipe.device)):
        a_step = step_seconds(trial.stepper.rehearsal())
        an_image = evaluation_seconds(trial.stepper, trial.dataset)
    sized = trial.work() / trial.stepper.total_steps  # smaller images make the average step cheaper or dearer
    an_epoch = steps * a_step * sized + len(trial.dataset.validation) * an_image
    at_end = (len(trial.dataset.validation) + len(trial.dataset.test or ())) * an_image
    left = max(0.0, TIME_KEPT * recipe.time_seconds - at_end)
    epochs = max(round(left / an_epoch, 2), 1 / steps)
    reason = (
        f"{max(1, round(epochs * steps)):,} steps of {1e3 * a_step * sized:.3g} ms as measured now, and their "
        f"validations, in {TIME_KEPT:.0%} of {recipe.time_seconds:,.0f} s; fixed now, whatever the machine does later"
    )
    return Choice("epochs", epochs, reason)
