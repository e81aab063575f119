"""Optimizers behind one small interface: a step at a rate, and the buffers that a checkpoint carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from striate.train.recipe import Recipe
from striate.train.update.muon import Muon

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

Parameters = Mapping[str, nn.Parameter]


class Optimizer(Protocol):
    """Updates the parameters it was made for, from their gradients."""

    def step(self, rate: float) -> None:
        """One update. rate: the schedule's, of the present step; a group's own is a fixed multiple of it."""

    def buffers(self) -> dict[str, Tensor]:
        """Its whole state but the parameters, by parameter name: live tensors, to copy from and into."""


@dataclass(frozen=True, slots=True)
class Sgd:
    """SGD with Nesterov momentum: v = m v + g + d w;  w = w - r (g + d w + m v), at the group's rate r = factor rate.

    Groups are torch's, each with a "factor"; r d is the same in all that decay.
    Source: Sutskever et al. 2013, in torch's form, whose velocity does not contain the rate.
    """

    parameters: Parameters
    inner: torch.optim.SGD

    def step(self, rate: float) -> None:
        """One update."""
        for group in self.inner.param_groups:
            group["lr"] = rate * group["factor"]
        self.inner.step()

    def buffers(self) -> dict[str, Tensor]:
        """Velocities; empty without momentum."""
        state = self.inner.state
        return {name: state[p]["momentum_buffer"] for name, p in self.parameters.items() if p in state}


def optimizer_for(module: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the parameters that are trained; the recipe must be resolved.

    With "muon", convolution filters go to Muon and all else to SGD: biases, norms, dense layers, and filters of
    grouped convolutions, whose rows do not read the same inputs.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if recipe.optimizer == "sgd":
        return sgd(module, trained, recipe)
    filters = {name: trained.pop(name) for name in _filters(module) if name in trained}
    return Muon(
        filters,
        sgd(module, trained, recipe) if trained else None,
        factor=recipe.muon_lr / float(recipe.peak_lr),
        momentum=recipe.muon_momentum,
        fixed_norm=recipe.muon_norm == "fixed",
        weight_decay=recipe.weight_decay,
    )


def sgd(module: nn.Module, parameters: Parameters, recipe: Recipe) -> Sgd:
    """SGD over some parameters of a module; one-dimensional ones are not decayed.

    One-dimensional are the biases and the scales and shifts of normalisation. Momentum starts as zeros, which
    gives the same first step as none and makes the state complete from the start. Fused: the fastest of
    torch's three forms on a CPU (bench/trainer.py's network: 0.46 ms against 0.64 and 0.72).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    factors = _factors(module, recipe)
    for name, parameter in parameters.items():
        factor = factors.get(name, 1.0)
        decay = recipe.weight_decay / factor if parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    inner = torch.optim.SGD(
        [{"params": ps, "factor": factor, "weight_decay": decay} for (factor, decay), ps in groups.items()],
        lr=0.0,  # set at each step
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
    if recipe.momentum > 0:
        for parameter in parameters.values():
            inner.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return Sgd(parameters, inner)


def _filters(module: nn.Module) -> list[str]:
    """Names of the weights of convolutions whose every filter reads every channel."""
    places = module.named_modules()
    return [_join(place, "weight") for place, p in places if isinstance(p, CONVOLUTIONS) and p.groups == 1]


def _factors(module: nn.Module, recipe: Recipe) -> dict[str, float]:
    """The rates that are not the schedule's own, as multiples of it, by parameter name."""
    factors: dict[str, float] = {}
    for place, part in module.named_modules():
        if isinstance(part, NORMS):
            factors |= {_join(place, name): recipe.norm_lr_factor for name, _ in part.named_parameters(recurse=False)}
        if isinstance(part, nn.Linear):
            factors[_join(place, "weight")] = recipe.dense_lr_factor
    return factors


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
