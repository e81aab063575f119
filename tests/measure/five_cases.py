"""Five modules whose cost tools get wrong, each with its numbers worked out by hand from the definitions.

A MAC of a convolution: H_o W_o O (C / g) K_h K_w; of a transposed one: H_i W_i C (O / g) K_h K_w, since every input
value meets every tap once; of a dense layer: O F. Biases are parameters and no MACs; shared tensors count once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shared(nn.Module):
    """One kernel applied three times, twice by one module and once by another that has the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.first(x)))


class Functional(nn.Module):
    """Layers called as functions, which no hook on a module sees."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(6, 3, 3, 2))
        self.dense = nn.Parameter(torch.ones(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.kernel, stride=(2, 1)))
        return F.linear(x.mean((2, 3)), self.dense)


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], nn.Module]
    input: tuple[int, ...]
    macs: int
    parameters: int


CASES = (
    Case("transposed, stride 2", lambda: nn.ConvTranspose2d(5, 7, 2, 2), (5, 6, 9), 6 * 9 * 5 * 7 * 4, 5 * 7 * 4 + 7),
    Case(
        "grouped transposed",
        lambda: nn.ConvTranspose2d(6, 6, 3, 2, padding=1, groups=3, bias=False),
        (6, 5, 8),
        5 * 8 * 6 * 2 * 9,
        6 * 2 * 9,
    ),
    Case("shared module and tensor", Shared, (4, 7, 11), 3 * 7 * 11 * 4 * 4 * 9, 4 * 4 * 9),
    Case("functional", Functional, (3, 9, 8), 4 * 7 * 6 * 3 * 6 + 5 * 6, 6 * 18 + 30),
    Case(
        "non-square",
        lambda: nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(2, 0), dilation=(1, 2), bias=False),
        (3, 11, 13),
        6 * 9 * 8 * 3 * 15,
        8 * 3 * 15,
    ),
)
"""In each, every size is another number, so that no two can be confused."""


def by_striate(case: Case) -> tuple[int, int]:
    """(MACs, parameters).  Raises: CaptureError where striate has no such layer."""
    from striate.graph.from_torch import capture
    from striate.measure import inspect_network

    found = inspect_network(capture(case.make(), case.input, with_weights=False))
    return found.macs, found.parameters


def by_flop_counter(case: Case) -> tuple[int, None]:
    """torch's counter at the dispatcher; it counts 2 for a MAC."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        case.make()(torch.ones(1, *case.input))
    return counter.get_total_flops() // 2, None


def by_torchinfo(case: Case) -> tuple[int, int]:
    """torchinfo's mult-adds and parameters."""
    from torchinfo import summary

    found = summary(case.make(), input_size=(1, *case.input), verbose=0)
    return found.total_mult_adds, found.total_params


def by_fvcore(case: Case) -> tuple[int, int]:
    """fvcore's "flops", which are MACs, and parameters."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    module = case.make()
    counted = FlopCountAnalysis(module, torch.ones(1, *case.input))
    counted.unsupported_ops_warnings(False)
    counted.uncalled_modules_warnings(False)
    return counted.total(), parameter_count(module)[""]
