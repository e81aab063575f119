"""Is batch normalisation folded rightly? striate and torch.fx on networks that are known to go wrong.

Each network is given random BatchNorm statistics, folded, and compared with itself in float64 on random images.
"""

from __future__ import annotations

import torch
from _record import record
from torch import nn
from torch.fx.experimental.optimization import fuse

from striate.graph.from_torch import capture
from striate.graph.to_torch import to_module
from striate.ops import BatchNorm
from striate.rewrite import rewrite

IMAGES, SEED = 8, 0


class Shared(nn.Module):
    """One convolution used twice, each time before its own batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """bn2(conv(relu(bn1(conv(x)))))."""
        return self.bn2(self.conv(torch.relu(self.bn1(self.conv(x)))))


class Functional(nn.Module):
    """Batch normalisation called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """F.batch_norm(conv(x), ...)."""
        bn = self.bn
        return nn.functional.batch_norm(
            self.conv(x), bn.running_mean, bn.running_var, bn.weight, bn.bias, False, 0.1, bn.eps
        )


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Conv2d(6, 9, 3), nn.BatchNorm2d(9), nn.ReLU()),
    "grouped, no bias": lambda: nn.Sequential(nn.Conv2d(6, 9, 3, groups=3, bias=False), nn.BatchNorm2d(9), nn.ReLU()),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6), nn.ReLU()),
    "dropout between": lambda: nn.Sequential(nn.Conv2d(6, 9, 3), nn.Dropout(0.5), nn.BatchNorm2d(9)),
    "dense, no gamma and beta": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(6 * 11 * 13, 5), nn.BatchNorm1d(5, affine=False)
    ),
    "shared convolution": Shared,
    "functional batch_norm": Functional,
}


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 and eval mode, with statistics that hide nothing: negative gammas, wide variances."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the common base of all three
                part.running_mean.normal_(0, 3)
                part.running_var.uniform_(0.01, 9)
                if part.affine:
                    part.weight.normal_()
                    part.bias.normal_()
    return module.double().eval()


def striate_fold(module: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """Our fold, as a module again, and how many batch normalisations are left."""
    network = rewrite(capture(module, shape)).network
    return to_module(network).eval(), sum(isinstance(node.op, BatchNorm) for node in network)


def fx_fold(module: nn.Module, _: tuple[int, ...]) -> tuple[nn.Module, int]:
    """torch.fx's fold, and how many batch normalisations it still calls."""
    fused = fuse(module)
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    called = [
        n for n in fused.graph.nodes if n.op == "call_module" and isinstance(fused.get_submodule(n.target), kinds)
    ]
    functional = [n for n in fused.graph.nodes if n.target is nn.functional.batch_norm]
    return fused, len(called) + len(functional)


def measure(name: str, fold: object) -> dict[str, object]:
    """Largest error of the folded network against the module in float64, in units of the largest output."""
    torch.manual_seed(SEED)
    module, shape = randomised(NETWORKS[name]()), (6, 11, 13)
    x = torch.randn(IMAGES, *shape, dtype=torch.float64)
    with torch.no_grad():
        want = module(x)
        try:
            folded, left = fold(module, shape)  # type: ignore[operator]
            error = float((folded(x) - want).abs().max() / want.abs().max())
        except Exception as fault:  # noqa: BLE001 - a peer's failure is a result here
            return {"failed": f"{type(fault).__name__}: {' '.join(str(fault).split())[:90]}"}
    return {"relative_error": error, "batch_norms_left": left}


def main() -> None:
    """Measure every network with both."""
    folds = {"striate": striate_fold, "torch.fx fuse": fx_fold}
    results = {name: {who: measure(name, fold) for who, fold in folds.items()} for name in NETWORKS}
    record(
        "folding",
        {
            "question": "is batch normalisation folded rightly?",
            "torch": torch.__version__,
            "dtype": "float64",
            "n": IMAGES,
            "seed": SEED,
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
