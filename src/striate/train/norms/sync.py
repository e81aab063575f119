"""Batch normalisation over the whole batch when its images are spread over processes.

The ranks exchange count, mean and sum of squared deviations of each channel, merged in float64 by the formula for
samples of unequal size (Chan, Golub & LeVeque 1979), so that large means lose nothing. torch's own SyncBatchNorm is for
GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from striate.train.team.distributed import Team


class OverRanks:
    """Batch normalisation whose batch is that of all ranks; `team` None, for a while, makes it local again."""

    team: Team | None
    training: bool
    momentum: float | None
    eps: float
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, ...) of this rank, normalised, in the same shape."""
        if self.team is None or not self.training:
            result: Tensor = super().forward(x)  # type: ignore[misc]  # the other base is a torch layer
            return result
        count, mean, squares = pooled(x, self.team)
        self._follow(mean, squares / max(count - 1, 1))
        normalised: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, mean, squares / count, count, self
        )
        return normalised

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; variance (C,) with Bessel's correction."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


@torch.no_grad()
def pooled(x: Tensor, team: Team) -> tuple[float, Tensor, Tensor]:
    """Count, mean (C,) and sum of squared deviations (C,) over all ranks' x (N, C, ...), in float64.

    M = sum n_r m_r / n;  S = sum [S_r + n_r (m_r - M)^2], in the order of the ranks: the same bits on each.
    """
    n, mean, squares = x.numel() // x.shape[1], *_moments(_wide(x))
    own = torch.cat([mean.new_tensor([n]), mean, squares])  # (1 + 2C,)
    every = team.gather(own)  # (ranks, 1 + 2C)
    counts, (means, squares) = every[:, :1], every[:, 1:].chunk(2, dim=1)
    total = counts.sum()
    whole_mean = (counts * means).sum(0) / total
    return float(total), whole_mean, (squares + counts * (means - whole_mean).square()).sum(0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and sum of squared deviations (C,) of x (N, C, ...), in float64.

    In two passes, corrected for the rounding of the first mean: torch's sums keep their digits, where the statistics
    inside its batch norm lose two with channels last, and `var_mean` takes ten times as long (docs/log.md).
    """
    axes, n = _axes(x), x.numel() // x.shape[1]
    rough = x.sum(axes) / n
    centred = x - rough.view(-1, *[1] * (x.ndim - 2))
    drift = centred.sum(axes).double() / n
    return rough.double() + drift, (centred * centred).sum(axes).double() - n * drift.square()


class _Normalise(Function):
    """y = gamma (x - m) / sqrt(v + eps) + beta, where m and v depend on the x of every rank.

    dx = gamma r (dy - sum dy / n - (x - m) r^2 sum dy (x - m) / n), r = 1 / sqrt(v + eps), sums over all ranks;
    dgamma and dbeta are this rank's share of the sum.  Source: Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 3.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's context takes any attribute
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: float,
        layer: OverRanks,
    ) -> Tensor:
        dtype = _wide(x[:0]).dtype
        scale = torch.rsqrt(variance + layer.eps)
        ctx.save_for_backward(x, weight, mean.to(dtype), scale.to(dtype))
        ctx.count, ctx.team = count, layer.team
        return F.batch_norm(x, mean.to(dtype), variance.to(dtype), weight, bias, False, 0.0, layer.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, mean, scale = ctx.saved_tensors
        axes, view = _axes(x), (-1, *[1] * (x.ndim - 2))
        slopes, centred = _wide(slope), _wide(x) - mean.view(view)
        sums = torch.stack([slopes.sum(axes), (slopes * centred).sum(axes)])  # (2, C)
        to_weight, to_bias = (sums[1] * scale, sums[0]) if weight is not None else (None, None)
        over_all = (ctx.team.sum(sums.to(torch.float64, copy=True)) / ctx.count).to(sums.dtype)
        factor = scale if weight is None else scale * weight
        to_x = torch.addcmul(slopes, centred, (-over_all[1] * scale.square()).view(view))
        to_x.sub_(over_all[0].view(view)).mul_(factor.view(view))
        return to_x.to(x.dtype), to_weight, to_bias, None, None, None, None


def _axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _wide(x: Tensor) -> Tensor:
    """At least float32: sums in bfloat16 would lose most of their digits."""
    return x if x.dtype == torch.float64 else x.float()
