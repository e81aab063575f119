"""What several ranks made of their shares of a batch, put together: loss, gradients, statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.train.norms.policy import local_statistics
from striate.train.team.distributed import Team


@dataclass(frozen=True, slots=True)
class Reduction:
    """Sums over the ranks; alone it does nothing.

    statistics: running means and variances that each rank moves by its own share; they become the ranks' mean, which is
    what ghost batches of the shares would have.
    """

    team: Team
    parameters: tuple[nn.Parameter, ...]
    statistics: tuple[Tensor, ...]

    @classmethod
    def of(cls, module: nn.Module, team: Team) -> Reduction:
        """Over the parameters that are trained and the statistics that are not of the whole batch already."""
        trained = tuple(p for p in module.parameters() if p.requires_grad)
        return cls(team, trained, tuple(local_statistics(module)) if team.size > 1 else ())

    def mean_loss(self, loss: Tensor, labels: Tensor, class_weights: Tensor | None) -> tuple[Tensor, float]:
        """This rank's summand of the whole batch's mean loss, to derive, and that mean.

        loss: the share's mean, sum of w l / sum of w with the class weights w of its labels; with shares for labels (or
        without weights) torch divides by the number of images. So does the whole: mean = sum_r d_r loss_r / sum_r d_r.
        """
        if self.team.size == 1:
            return loss, loss.item()
        weighs = class_weights is not None and labels.ndim == 1
        own = class_weights[labels].sum().double() if weighs else loss.new_tensor(len(labels), dtype=torch.float64)  # type: ignore[index]
        whole = self.team.sum(torch.stack([loss.detach().double() * own, own]))
        return loss * (own / whole[1]).to(loss.dtype), (whole[0] / whole[1]).item()

    @torch.no_grad()
    def sum_gradients(self) -> None:
        """Give each parameter the sum of the ranks' gradients, in one exchange; None stays where no rank has any."""
        if self.team.size == 1:
            return
        present = torch.tensor([p.grad is not None for p in self.parameters])
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        means = [each / self.team.size for each in self.statistics]
        parts = [*slopes, *means, present.to(slopes[0])]
        sizes = [part.numel() for part in parts]
        summed = torch.split(self.team.sum(torch.cat([part.reshape(-1) for part in parts])), sizes)
        for parameter, slope, total, ranks in zip(self.parameters, slopes, summed, summed[-1].tolist(), strict=False):
            if ranks:
                slope.copy_(total.view(slope.shape))
                parameter.grad = slope
        for own, total in zip(self.statistics, summed[len(slopes) : -1], strict=True):
            own.copy_(total.view(own.shape))

    def counts(self, right: int, images: int) -> tuple[int, int]:
        """Right answers and images of the whole batch."""
        if self.team.size == 1:
            return right, images
        whole = self.team.sum(torch.tensor([right, images])).tolist()
        return int(whole[0]), int(whole[1])
