"""Torch's ways of running a shipped network, to compare engines with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.graph import Network

if TYPE_CHECKING:
    from torch import nn

    from striate.runtime.engines.setting import Batch


def _eager(module: nn.Module) -> nn.Module:
    return module


def _fuse(module: nn.Module) -> nn.Module:
    from torch.fx.experimental import optimization

    fused: nn.Module = optimization.fuse(module)
    return fused


def _compile(module: nn.Module) -> Callable[..., Any]:
    import torch

    return torch.compile(module, dynamic=False, options={"freezing": True})


PEERS: Mapping[str, Callable[[nn.Module], Callable[..., Any]]] = MappingProxyType(
    {"torch eager": _eager, "torch.fx fuse": _fuse, "torch.compile": _compile}
)
"""Name -> what is made of the module. All have their weights and images in channels_last, which is torch's fastest."""


def open_peer(network: Network, peer: str, threads: int) -> Callable[[Batch], NDArray[np.float32]]:
    """The network as a torch module, computed by `threads` threads in this whole process."""
    import torch

    from striate.graph.to_torch import to_module

    torch.set_num_threads(threads)
    module = to_module(network).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    chosen = PEERS[peer](module)

    def run(x: Batch) -> NDArray[np.float32]:
        images = torch.from_numpy(np.asarray(x, np.float32)).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            logits: NDArray[np.float32] = chosen(images).numpy()
        return logits

    return run
