"""One update of the weights, and what must hold so that it can be repeated to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.data.random import bits
from striate.errors import RunError
from striate.train.feed import Feed
from striate.train.recipe import Recipe
from striate.train.schedule import learning_rate

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and leave it as found: for building weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_machine(threads: int) -> Iterator[None]:
    """Run with this many threads; put back the caller's thread count and random state afterwards."""
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(was)


@contextmanager
def flags_kept(module: nn.Module) -> Iterator[None]:
    """Put back each submodule's training flag afterwards."""
    was = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, flag in was:
            part.training = flag


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


def sgd(module: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum on the trainable parameters; one-dimensional ones are not decayed.

    One-dimensional are the biases and the scales and shifts of normalisation. Momentum starts as zeros, which
    gives the same first step as none and makes the state complete from the start. Fused: the fastest of
    torch's three forms on a CPU (bench/trainer.py's network: 0.46 ms against 0.64 and 0.72).
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=0.0,  # set at each step
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
    if recipe.momentum > 0:
        for parameter in trained:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def not_finite(module: nn.Module, momentum: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that training has driven out of the finite numbers, if there is one.

    Looked at are parameters, momentum and BatchNorm's statistics; a network's own buffers may hold infinity.
    """
    statistics = {
        f"{place}.{name}": buffer
        for place, part in module.named_modules()
        if isinstance(part, BatchNorm)
        for name, buffer in part.named_buffers()
    }
    tensors = dict(module.named_parameters()) | statistics | {f"momentum of {n}": b for n, b in momentum.items()}
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
    optimizer: torch.optim.SGD
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
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, labels = self.feed.batch(epoch, step)
        torch.default_generator.manual_seed(int(bits(self.recipe.seed, "step", epoch, step)[0] >> 1))
        logits = self.module(images)  # (B, K)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"training diverged: the loss is {value} at step {done_steps + 1} of {self.total_steps:,} "
                f"(epoch {epoch + 1}, learning rate {rate:.3g}); lower peak_lr (now {self.recipe.peak_lr}) "
                "and train into another --out"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        right = _right(logits, labels)
        return Outcome(value, right, len(labels), rate, time.perf_counter() - start)


def _right(logits: Tensor, labels: Tensor) -> int:
    return int((logits.detach().argmax(dim=1) == labels).sum())
