"""Muon: momentum whose direction is made orthogonal, for convolution filters, in float32.

A filter bank (out, in, *kernel) is a matrix of `out` rows. Its update is the orthogonal matrix nearest to the
momentum, so that every direction the gradient has shown moves at one speed, weak or strong.
Source: Jordan 2024, "Muon: an optimizer for hidden layers" (kellerjordan.github.io/posts/muon), and the trainer
airbench94_muon, which fixes the norm of the filters. Its bfloat16 is left out: without native support it is far slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of s, s^3, s^5: steep at 0, and within about 0.7 to 1.2 after five rounds. Source: Jordan 2024."""
ROUNDS = 5
LEAST_NORM = 1e-7  # a gradient of zeros stays zeros


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return U p(S) V^T for the matrix's U S V^T: every singular value near 1, the directions untouched.

    X = M / |M|_F;  five times  X = a X + (b A + c A A) X  with  A = X X^T, which maps singular values by
    s -> a s + b s^3 + c s^5 and needs products of matrices only (Newton-Schulz).

    Shapes: (rows, columns), both orientations; the products are made on the shorter side.
    """
    a, b, c = QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / (x.norm() + LEAST_NORM)
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


class Rest(Protocol):
    """The optimizer of what is no filter."""

    def step(self, rate: float) -> None:
        """One update."""

    def buffers(self) -> dict[str, Tensor]:
        """Its state."""


@dataclass(frozen=True, slots=True)
class Muon:
    """v = m v + g;  w = w - r O(g + m v), with O = `orthogonalised` over (out, in * kernel) and r = factor rate.

    fixed_norm: before each update w is scaled to norm sqrt(out). Behind each filter bank a normalisation takes the
    scale out again, so the function stays and the rate keeps its meaning. Otherwise w decays by r * weight_decay.
    rest: updates the other parameters at the schedule's rate.
    """

    filters: Mapping[str, nn.Parameter]
    rest: Rest | None
    factor: float
    momentum: float
    fixed_norm: bool
    weight_decay: float
    velocity: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.velocity.update({name: torch.zeros_like(p) for name, p in self.filters.items()})

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of the filters and of the rest."""
        if self.rest is not None:
            self.rest.step(rate)
        for name, weight in self.filters.items():
            if weight.grad is not None:
                self._update(weight, weight.grad, self.velocity[name], rate * self.factor)

    def buffers(self) -> dict[str, Tensor]:
        """Velocities of the filters, and the state of the rest."""
        return self.velocity | (self.rest.buffers() if self.rest is not None else {})

    def _update(self, weight: Tensor, gradient: Tensor, velocity: Tensor, rate: float) -> None:
        velocity.mul_(self.momentum).add_(gradient)
        ahead = gradient.add(velocity, alpha=self.momentum)
        if self.fixed_norm:
            weight.mul_(sqrt(len(weight)) / weight.norm())
        else:
            weight.mul_(1 - rate * self.weight_decay)
        weight.sub_(orthogonalised(ahead.reshape(len(ahead), -1)).view_as(weight), alpha=rate)
