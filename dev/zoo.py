"""The convolutional networks of torchvision and timm that dev/coverage.py and dev/folding_peers.py look at."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from striate.errors import StriateError
from striate.graph.from_torch import capture

SPATIAL_CONVOLUTIONS = 4
CANDIDATES = 12  # models of a family that are looked at, the first by name
PIXELS = (64, 96)  # inputs that are tried before a model's own
TRANSFORMERS = ("maxvit", "swin_", "vit_")
ATTENTION = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm, torch.einsum,
             nn.functional.scaled_dot_product_attention, nn.functional.multi_head_attention_forward}  # fmt: skip


class Seen(TorchFunctionMode):
    """What of the calls of a forward tells a convolutional network from others."""

    def __init__(self) -> None:
        super().__init__()
        self.attends = False
        self.convolutions = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func is torch.conv2d:
            self.convolutions += max(args[1].shape[2:]) > 1
        if func in ATTENTION:
            tensors = [a for a in args if isinstance(a, torch.Tensor) and not isinstance(a, nn.Parameter)]
            self.attends |= len(tensors) > 1 or func is torch.einsum
        return func(*args, **(kwargs or {}))

    @property
    def convolutional(self) -> bool:
        """At least four convolutions with kernels above 1, and no product of two computed tensors (attention)."""
        return self.convolutions >= SPATIAL_CONVOLUTIONS and not self.attends


def versions() -> str:
    """Of the libraries that the models are from."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "timm"))


def torchvision_models() -> Iterator[tuple[str, str]]:
    """(family, name) of its classifiers that are no vision transformers."""
    for name in torchvision.models.list_models(module=torchvision.models):
        if not name.startswith(TRANSFORMERS):
            yield torchvision.models.get_model_builder(name).__module__.rpartition(".")[2], name


def timm_models() -> Iterator[tuple[str, str | None]]:
    """(family, name): of every module of timm its smallest convolutional model, None where it has none."""
    for family in timm.list_modules():
        names = [name for name in timm.list_models(module=family) if not name.startswith("test_")][:CANDIDATES]
        sizes = {name: parameters_if_convolutional(name) for name in names}
        if names:
            yield family, min((n for n in names if sizes[n]), key=lambda n: sizes[n], default=None)


def parameters_if_convolutional(name: str) -> int:
    """How many a timm model has; 0 where it is not convolutional, or cannot be made and run without values."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False).eval()
    except Exception:  # noqa: BLE001 - some compute numbers while they are made
        return 0
    seen = Seen()
    try:
        with seen:
            capture(model, model.pretrained_cfg["input_size"], with_weights=False, strict=False)
    except StriateError:  # then torch must run it; a capture is five times as fast
        seen = Seen()
        try:
            with torch.device("meta"), seen, torch.inference_mode():
                model(torch.empty(2, *model.pretrained_cfg["input_size"]))
        except Exception:  # noqa: BLE001
            return 0
    return sum(p.numel() for p in model.parameters()) if seen.convolutional else 0


def made(library: str, name: str) -> tuple[nn.Module, int]:
    """The untrained model, and the size of its input."""
    if library == "timm":
        model = timm.create_model(name, pretrained=False)
        return model, model.pretrained_cfg["input_size"][-1]
    extra = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return torchvision.models.get_model(name, weights=None, **extra), 224


def build(library: str, name: str) -> tuple[nn.Module, int]:
    """The untrained model in float64, with batch statistics that are not 0 and 1, and the size of its input."""
    torch.manual_seed(0)
    model, pixels = made(library, name)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:  # noqa: SLF001
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2.0)
    return model.double().eval(), pixels


def smallest_input(model: nn.Module, own: int) -> tuple[torch.Tensor, Any]:
    """Two images of the first of a few sizes that the model runs at, and its answer.

    Raises: what the model raises at its own size.
    """
    for pixels in (*PIXELS, own):
        x = torch.randn(2, 3, pixels, pixels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        try:
            with torch.inference_mode():
                return x, model(x)
        except Exception:  # too small for it; its own size is the last word
            if pixels == own:
                raise
    raise AssertionError
