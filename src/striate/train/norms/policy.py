"""Batch normalisation's policy: constants, what is frozen, ghost batches, precise statistics, the gap between modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.train.machine import flags_kept
from striate.train.norms.sync import OverRanks
from striate.train.recipe import Recipe
from striate.train.result import Gap
from striate.train.team.distributed import Team

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


class StaysInEval:
    """A layer that `train()` does not reach: its running statistics are all it normalises by."""

    def train(self, mode: bool = True) -> nn.Module:
        """Stay in eval mode."""
        module: nn.Module = super().train(False)  # type: ignore[misc]  # the other base is a torch layer
        return module


class InGhostBatches:
    """Batch normalisation that splits a training batch into nearly equal parts of at most `ghost_images` images.

    Each part is normalised by its own mean and variance; the running statistics take the mean over the parts.
    Source: Hoffer et al. 2017, arXiv:1705.08741.
    """

    ghost_images: int
    training: bool
    momentum: float | None
    eps: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, ...) normalised, in the same shape."""
        parts = -(-len(x) // self.ghost_images) if self.ghost_images else 1
        if not self.training or parts == 1:
            result: Tensor = super().forward(x)  # type: ignore[misc]  # the other base is a torch layer
            return result
        means, variances, results = [], [], []
        for part in x.tensor_split(min(parts, len(x) // 2)):  # two images at least: one has no batch statistics
            means.append(torch.zeros_like(self.running_mean))
            variances.append(torch.zeros_like(self.running_var))
            results.append(F.batch_norm(part, means[-1], variances[-1], self.weight, self.bias, True, 1.0, self.eps))
        self.num_batches_tracked += 1
        share = 1.0 / int(self.num_batches_tracked) if self.momentum is None else self.momentum  # None: of all batches
        self.running_mean.lerp_(torch.stack(means).mean(0), share)
        self.running_var.lerp_(torch.stack(variances).mean(0), share)
        return torch.cat(results)


def set_up(module: nn.Module, recipe: Recipe) -> None:
    """Give each BatchNorm layer the recipe's policy, in place; weights and statistics are not touched."""
    for part in [p for p in module.modules() if isinstance(p, BatchNorm)]:
        if recipe.bn_momentum != "network":
            part.momentum = float(recipe.bn_momentum)
        if recipe.bn_eps != "network":
            part.eps = float(recipe.bn_eps)
        if recipe.bn_scale == "fixed" and part.affine:
            part.weight.requires_grad_(False)
        if recipe.bn_frozen:
            part.requires_grad_(False)
            _mix_in(part, StaysInEval)
            part.train()
        elif recipe.ghost_batch_images:
            _mix_in(part, InGhostBatches)
            part.ghost_images = recipe.ghost_batch_images  # type: ignore[assignment]  # torch's stub: a module


def spread(module: nn.Module, recipe: Recipe, team: Team) -> None:
    """Let each BatchNorm layer take the statistics of all ranks' images, in place, where the recipe says so.

    Ghost batches stay what they are: parts of one rank's share.
    """
    if team.size == 1 or not recipe.sync_batch_norm or recipe.ghost_batch_images:
        return
    for part in [p for p in module.modules() if isinstance(p, BatchNorm) and not _is_frozen(p)]:
        _mix_in(part, OverRanks)
        part.team = team  # type: ignore[assignment]  # torch's stub: a module


def local_statistics(module: nn.Module) -> Iterator[Tensor]:
    """Running means and variances that follow one rank's images only."""
    for _, part in live(module):
        if not issubclass(type(part), OverRanks) and part.running_mean is not None and part.running_var is not None:
            yield part.running_mean
            yield part.running_var


def train_mode(module: nn.Module) -> None:
    """Training mode, except BatchNorm whose scale and shift are frozen: its statistics stay frozen too."""
    module.train()
    for part in module.modules():
        if isinstance(part, BatchNorm) and _is_frozen(part):
            part.eval()


def live(module: nn.Module) -> list[tuple[str, BatchNorm]]:
    """The BatchNorm layers, with their places, whose statistics training moves."""
    return [
        (place, part)
        for place, part in module.named_modules()
        if isinstance(part, BatchNorm) and part.track_running_stats and not _is_frozen(part)
    ]


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Eval mode, but live BatchNorm layers normalise by the batch as it is; running statistics do not move."""
    parts = [part for _, part in live(module)]
    ghosts = [(part, part.ghost_images) for part in module.modules() if isinstance(part, InGhostBatches)]
    spread_parts = [(part, part.team) for part in module.modules() if isinstance(part, OverRanks)]
    momenta = [(part, part.momentum) for part in parts]
    counts = [(count, count.clone()) for part in parts if (count := part.num_batches_tracked) is not None]
    with flags_kept(module):
        module.eval()
        for part in parts:
            part.training, part.momentum = True, 0.0
        for ghost, _ in ghosts:
            ghost.ghost_images = 0
        for spread_part, _ in spread_parts:  # every rank reads the same images here
            spread_part.team = None
        try:
            yield
        finally:
            for part, momentum in momenta:
                part.momentum = momentum
            for ghost, images in ghosts:
                ghost.ghost_images = images
            for spread_part, team in spread_parts:
                spread_part.team = team
            for count, before in counts:
                count.copy_(before)


def make_precise(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of live BatchNorm layers to those of the given images, in place.

    Mean and variance (with Bessel's correction) over all values that a layer reads, pooled over the batches in
    float64; each layer reads what layers before it normalised by the statistics of the batch.
    batches: images (N, C, H, W) on the network's input.
    Source: Wu & Johnson 2021, arXiv:2105.07576, sec. 3.
    """
    pools = {part: _Pool() for _, part in live(module)}
    if not pools:
        return
    hooks = [part.register_forward_pre_hook(lambda part, args: pools[part].add(args[0])) for part in pools]
    try:
        with batch_statistics(module), torch.no_grad():
            for images in batches:
                module(images)
    finally:
        for hook in hooks:
            hook.remove()
    for part, pool in pools.items():
        if pool.count > 1 and part.running_mean is not None and part.running_var is not None:
            part.running_mean.copy_(pool.mean)
            part.running_var.copy_(pool.squares / (pool.count - 1))


@dataclass(slots=True)
class _Pool:
    """Mean and sum of squared deviations of each channel (C,), merged in float64.  Chan, Golub, LeVeque 1979."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    squares: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))

    def add(self, x: Tensor) -> None:
        """x (N, C, ...)."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = torch.var_mean(x.detach(), dim=axes, correction=0)
        n = x.numel() // x.shape[1]
        delta = mean.double() - self.mean.to(mean.device)
        total = self.count + n
        self.squares = self.squares.to(delta.device) + n * variance.double() + delta.square() * self.count * n / total
        self.mean = self.mean.to(delta.device) + delta * n / total
        self.count = total


def gap(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Gap | None:
    """Measure what train and eval mode of BatchNorm make of the same images; None without live BatchNorm.

    batches: images (N, C, H, W) on the network's input with labels (N,), in batches as in training.
    """
    if not live(module):
        return None
    taken = list(batches)
    images = sum(len(labels) for _, labels in taken)
    batch = _scores(module, taken, batched=True)
    running = _scores(module, taken, batched=False)
    return Gap(images, max(len(labels) for _, labels in taken), *batch, *running)


def _scores(module: nn.Module, taken: list[tuple[Tensor, Tensor]], batched: bool) -> tuple[float, float]:
    loss, right, images = 0.0, 0, 0
    with flags_kept(module), torch.inference_mode():
        module.eval()
        with batch_statistics(module) if batched else nullcontext():
            for pixels, labels in taken:
                logits = module(pixels)  # (N, K)
                loss += F.cross_entropy(logits, labels, reduction="sum").item()
                right += int((logits.argmax(1) == labels).sum())
                images += len(labels)
    return loss / images, right / images


def _is_frozen(part: BatchNorm) -> bool:
    held = part.affine and not part.weight.requires_grad and not part.bias.requires_grad
    return held or isinstance(part, StaysInEval)


def _mix_in(part: nn.Module, behaviour: type) -> None:
    """Give one layer another behaviour in place, so that paths, weights and hooks stay as they are."""
    if not isinstance(part, behaviour):
        part.__class__ = type(f"{behaviour.__name__}{type(part).__name__}", (behaviour, type(part)), {})
