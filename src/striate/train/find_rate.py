"""The learning-rate finder: how the loss answers to a rate that rises from far too small to far too large.

Source: Smith 2017, arXiv:1506.01186, sec. 3.3 (the range test).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from striate.errors import DivergedError, RunError
from striate.train.machine import quiet_machine
from striate.train.norms.policy import train_mode
from striate.train.step import Stepper

LOWEST, HIGHEST = 1e-5, 10.0
STEPS = 100
KEPT = 0.9  # share of the old loss in the smoothed one
BLOWN_UP = 3.0  # times its least smoothed loss, where the test ends
LEAST_STEPS = 10
SUGGESTED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class RateCurve:
    """rates: of each step; losses: of its batch; smoothed: their running average (nats).

    lowest: the rate of the least smoothed loss, too much for a whole run; steepest: where it falls steepest over
    the logarithm of the rate. suggested: a tenth of the lowest, the usual distance (fastai's rule "minimum").
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float
    steepest: float
    lowest: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def find_rate(stepper: Stepper, steps: int = STEPS, tell: Callable[[int, float], None] | None = None) -> RateCurve:
    """Try rates from 1e-5 to 10, each a constant factor above the last, one step each, on copies of the weights.

    The network, the optimizer and the caller's random state are as before afterwards.
    tell: is given the number of each step that is done and its loss.
    Raises: RunError if the loss never fell.
    """
    trial = stepper.rehearsal()
    rates, losses, smoothed = [], list[float](), list[float]()
    with quiet_machine(int(stepper.recipe.threads), str(stepper.recipe.device)):
        train_mode(trial.module)
        for index in range(steps):
            rate = LOWEST * (HIGHEST / LOWEST) ** (index / (steps - 1))
            try:
                outcome = trial.update(*divmod(index, stepper.feed.steps), rate)
            except DivergedError:
                break
            rates.append(rate)
            losses.append(outcome.loss)
            smoothed = smooth(losses)
            if tell:
                tell(index + 1, outcome.loss)
            if smoothed[-1] > BLOWN_UP * min(smoothed):
                break
    return curve(rates, losses, smoothed)


def smooth(losses: list[float]) -> list[float]:
    """The exponential average a_i = 0.9 a_(i-1) + 0.1 l_i from a_0 = 0, each divided by 1 - 0.9^i for its start."""
    average, result = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = KEPT * average + (1 - KEPT) * loss
        result.append(average / (1 - KEPT**count))
    return result


def curve(rates: list[float], losses: list[float], smoothed: list[float]) -> RateCurve:
    """The curve with its readings.  Raises: RunError if it is too short or never falls."""
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    if lowest < LEAST_STEPS:
        raise RunError(f"the loss fell over none of {len(rates)} rates; look at data and network, or set peak_lr")
    slopes = np.gradient(smoothed, np.log(rates))[: lowest + 1]
    steepest = rates[int(np.argmin(slopes))]
    return RateCurve(
        tuple(rates), tuple(losses), tuple(smoothed), rates[lowest] * SUGGESTED_SHARE, steepest, rates[lowest]
    )
