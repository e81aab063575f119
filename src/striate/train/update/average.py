"""Averages of the weights over the steps: often better than the last weights, and what is evaluated and shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from striate.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Average:
    """a = k^n a + (1 - k^n) w for each trained parameter w, after every n-th step; it starts as w.

    ema: k = min(decay, (1 + t) / (10 + t)) after t steps, so that the first weights are soon forgotten.
    lookahead: k = decay (t / T)^(3 / n) of T steps, and w = a after it: the weights go on from their average.
    Sources: Polyak & Juditsky 1992 (averaging); Zhang et al. 2019, arXiv:1907.08610 (lookahead), with the rising
    decay of the trainer airbench94.
    """

    live: Mapping[str, nn.Parameter]
    decay: float
    every_steps: int
    writes_back: bool
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tensors.update({name: parameter.detach().clone() for name, parameter in self.live.items()})

    @torch.no_grad()
    def update(self, done_steps: int, total_steps: int) -> None:
        """Take in the weights after a step; done_steps counts it."""
        if done_steps % self.every_steps:
            return
        kept = self._kept(done_steps, total_steps)
        for name, parameter in self.live.items():
            self.tensors[name].lerp_(parameter, 1 - kept)
            if self.writes_back:
                parameter.copy_(self.tensors[name])

    def _kept(self, done_steps: int, total_steps: int) -> float:
        if self.writes_back:
            share: float = self.decay**self.every_steps * (done_steps / total_steps) ** 3
            return share
        return float(min(self.decay, (1 + done_steps) / (10 + done_steps)) ** self.every_steps)


def average_for(module: nn.Module, recipe: Recipe) -> Average | None:
    """The average that the resolved recipe asks for, over the parameters that are trained."""
    if recipe.averaging == "none":
        return None
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return Average(trained, float(recipe.average_decay), recipe.average_every, recipe.averaging == "lookahead")
