"""The learning rate as a pure function of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi
from types import MappingProxyType

from striate.train.recipe import Recipe

Fall = Callable[[float, Recipe], float]

FALLS: Mapping[str, Fall] = MappingProxyType(
    {
        "linear": lambda t, _: 1 - t,
        "cosine": lambda t, _: (1 + cos(pi * t)) / 2,
        "polynomial": lambda t, recipe: (1 - t) ** recipe.decay_power,
        "constant": lambda _, __: 1.0,
    }
)
"""How far between floor (0) and peak (1) the rate stands, t of the way from the peak to the end of the run."""


def size_at(epoch: int, epochs: int, recipe: Recipe, full: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) of the images in an epoch of a run with progressive resizing.

    A side of n px grows in steps of u = max(1, n // 8) px, linearly in the epoch e (counted from 0):
    n - u round((1 - resize_from) n (1 - e / (resize_until epochs)) / u),  and n from then on; never below 1.
    """
    left = 1 - recipe.resize_from
    grown = epoch / (recipe.resize_until * epochs) if recipe.resize_until else 1.0
    missing = left * max(0.0, 1 - grown)
    height, width = (max(1, n - max(1, n // 8) * round(missing * n / max(1, n // 8))) for n in full)
    return height, width


def learning_rate(step: int, total_steps: int, recipe: Recipe) -> float:
    """Return the rate of one step: a linear rise to the peak, then a fall to nearly the floor.

    w = round(warmup_share * total_steps);  rise: peak (a + (1 - a) (step + 1) / w)  for step < w, a = lr_start
    t = (step - w) / (total_steps - w);     fall: peak (b + (1 - b) f(t)), b = lr_floor, f by `decay` in `FALLS`
    "step" instead multiplies by decay_factor at each share of the whole run in decay_at, down to the floor at most.

    The peak is reached by step w - 1 and held by step w; the last step still moves: t < 1. "linear" from lr_start
    over the peak to lr_floor is the triangle of the fast recipes.
    step: counted over the whole run from 0. The recipe must be resolved.
    Source: Smith and Topin 2017, arXiv:1708.07120 (one cycle), without its momentum cycle.
    """
    peak, start, floor = float(recipe.peak_lr), recipe.lr_start, recipe.lr_floor
    warmup_steps = round(recipe.warmup_share * total_steps)
    if step < warmup_steps:
        return peak * (start + (1 - start) * (step + 1) / warmup_steps)
    if recipe.decay == "step":
        drops = sum(step >= share * total_steps for share in recipe.decay_at)
        return peak * max(floor, recipe.decay_factor**drops)
    t = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (floor + (1 - floor) * FALLS[recipe.decay](t, recipe))
