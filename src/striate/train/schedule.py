"""The learning rate as a pure function of the step."""

from __future__ import annotations

from math import cos, pi

from striate.train.recipe import Recipe


def learning_rate(step: int, total_steps: int, recipe: Recipe) -> float:
    """Return the rate of one step: a linear rise to the peak, then a fall to nearly zero.

    w = round(warmup_share * total_steps);  rise: peak (step + 1) / w  for step < w
    t = (step - w) / (total_steps - w);     fall: peak (1 - t), or peak (1 + cos(pi t)) / 2

    The peak is reached by step w - 1 and held by step w; the last step still moves: t < 1.
    step: counted over the whole run from 0. The recipe must be resolved.
    Source: Smith and Topin 2017, arXiv:1708.07120 (one cycle), without its momentum cycle.
    """
    peak = float(recipe.peak_lr)
    warmup_steps = round(recipe.warmup_share * total_steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    t = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if recipe.decay == "cosine":
        return peak * (1 + cos(pi * t)) / 2
    return peak * (1 - t)
