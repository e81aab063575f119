"""A module's tensors to and from safetensors: plain, contiguous, by name; never pickle."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from striate.errors import RunError


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters and buffers of a module; the copies do not follow later steps."""
    return {name: plain(tensor) for name, tensor in module.state_dict().items()}


def plain(tensor: Tensor) -> Tensor:
    """A detached, contiguous copy on the CPU in the usual memory order, as a file needs it."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def restore(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a module in place; its memory order stays as it is.

    Raises: RunError that names the first tensor that is missing, left over or of another shape.
    """
    own = module.state_dict()
    for name in sorted(own.keys() ^ tensors.keys()):
        side = "the network lacks" if name in tensors else "the file lacks"
        raise RunError(f"{where}: {side} {name!r}; the network must be the one that was trained")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise RunError(
                f"{where}: {name} is {_shape(tensors[name])} in the file, {_shape(tensor)} in the network; "
                "the network must be the one that was trained"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The safetensors file that holds these tensors; equal tensors give equal bytes."""
    return safetensors.torch.save(dict(tensors))


def from_bytes(data: bytes, where: str) -> dict[str, Tensor]:
    """Read a safetensors file's content. Raises: RunError if it is truncated or no safetensors."""
    try:
        return safetensors.torch.load(data)
    except SafetensorError as fault:
        raise RunError(f"{where}: is no intact safetensors file ({fault})") from None


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a scalar"
