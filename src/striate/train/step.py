"""One update of the weights, and what must hold so that it can be repeated to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.data.random import bits
from striate.errors import RunError
from striate.train.feed import Feed
from striate.train.optimizer import Optimizer
from striate.train.recipe import Recipe
from striate.train.schedule import learning_rate

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def prepare(module: nn.Module, recipe: Recipe) -> nn.Module:
    """Give a network the recipe's BatchNorm constants and memory order, in place. Weights are not touched."""
    for part in module.modules():
        if isinstance(part, BatchNorm) and recipe.bn_momentum != "network":
            part.momentum = recipe.bn_momentum
        if isinstance(part, BatchNorm) and recipe.bn_eps != "network":
            part.eps = recipe.bn_eps
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    module.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs lack this form
    return module


def train_mode(module: nn.Module) -> None:
    """Training mode, except BatchNorm whose scale and shift are frozen: its statistics stay frozen too."""
    module.train()
    for part in module.modules():
        if isinstance(part, BatchNorm) and part.affine and not part.weight.requires_grad:
            part.eval()


def not_finite(module: nn.Module, buffers: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that training has driven out of the finite numbers, if there is one.

    Looked at are parameters, the optimizer's buffers and BatchNorm's statistics; a network's own buffers may hold
    infinity.
    """
    statistics = {
        f"{place}.{name}": buffer
        for place, part in module.named_modules()
        if isinstance(part, BatchNorm)
        for name, buffer in part.named_buffers()
    }
    tensors = dict(module.named_parameters()) | statistics | {f"momentum of {n}": b for n, b in buffers.items()}
    return next((name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step showed."""

    loss: float  # mean over the batch
    right: int
    images: int
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stepper:
    """The step as a function of (epoch, step), given the weights and momentum it updates."""

    module: nn.Module
    optimizer: Optimizer
    feed: Feed
    recipe: Recipe
    total_steps: int

    def __call__(self, epoch: int, step: int) -> Outcome:
        """Update the weights once. Dropout and the like draw from f(seed, epoch, step).

        Raises: RunError, before the update, if the loss is not finite.
        """
        start = time.perf_counter()
        done_steps = epoch * self.feed.steps + step
        rate = learning_rate(done_steps, self.total_steps, self.recipe)
        images, targets = self.feed.batch(epoch, step)
        torch.default_generator.manual_seed(int(bits(self.recipe.seed, "step", epoch, step)[0] >> 1))
        logits = self.module(images)  # (B, K)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"training diverged: the loss is {value} at step {done_steps + 1} of {self.total_steps:,} "
                f"(epoch {epoch + 1}, learning rate {rate:.3g}); lower peak_lr (now {self.recipe.peak_lr}) "
                "and train into another --out"
            )
        self.module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(rate)
        right = _right(logits, targets)
        return Outcome(value, right, len(targets), rate, time.perf_counter() - start)


def _right(logits: Tensor, targets: Tensor) -> int:
    """Answers that are the label, or of a mixed image the label of the larger share."""
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return int((logits.detach().argmax(dim=1) == labels).sum())
