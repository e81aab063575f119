"""A network as a torch module to train: genuine torch layers, under the names that the network's weights have.

`forward` walks the nodes. `state_dict()` has exactly the network's weight names (and torch's num_batches_tracked), so
that weights of the same architecture from elsewhere load into it, and its own load elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate import ops
from striate.errors import NetworkError
from striate.geometry import Window
from striate.graph.build import TORCH_ROLES
from striate.graph.check import infer_shapes
from striate.graph.network import INPUT, Network, Node
from striate.graph.torch.layers import PLAIN, Function
from striate.ops import Shape


@dataclass(frozen=True, slots=True)
class Step:
    """One node as the walk needs it: where its layer stands, what it reads and writes, what nobody reads after it.

    pad: applied to the input first, where the layer cannot say its padding itself
    """

    path: str
    pad: Callable[[Tensor], Tensor] | None
    reads: tuple[str, ...]
    writes: str
    spent: tuple[str, ...]


class NetworkModule(nn.Module):
    """The torch module of a network; made by `to_module`.

    network: the architecture and the weights it started from. `trained()` gives it with the weights of now.
    steps: the walk, one for each node in order.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._keys: dict[str, str] = {}
        shapes = infer_shapes(network)
        last_use = {name: node.name for node in network for name in node.inputs}
        placed: dict[tuple[object, ...], tuple[str, _Layer]] = {}
        self.steps: list[Step] = []
        for node in network:
            key = (node.op, *sorted(node.weights.items())) if node.weights else (node.name,)
            if key not in placed:
                layer = _layer(node, shapes[node.inputs[0]])
                placed[key] = self._place(node, layer), layer
            path, layer = placed[key]
            spent = tuple({name for name in node.inputs if last_use[name] == node.name and name != network.output})
            pad = layer.pad if isinstance(layer, _Padded) else None
            self.steps.append(Step(path, pad, node.inputs, node.name, spent))

    def forward(self, x: Tensor) -> Tensor:
        """The network's result for a batch x (N, C, H, W)."""
        values = {INPUT: x}
        for step in self.steps:
            values[step.writes] = self.run(step, *[values[name] for name in step.reads])
            for name in step.spent:
                del values[name]
        return values[self.network.output]

    def run(self, step: Step, *inputs: Tensor) -> Tensor:
        """One step of the walk, by whatever layer stands at its path now: a replaced layer is the one that runs."""
        if step.pad is not None:
            inputs = (step.pad(inputs[0]),)
        result: Tensor = self.get_submodule(step.path)(*inputs)
        return result

    def trained(self) -> Network:
        """The network with the weights, and batch normalisation's eps and momentum, that the module has now."""
        state = self.state_dict()
        arrays = {name: state[key].detach().cpu().numpy().copy() for name, key in self._keys.items()}
        nodes = tuple(
            _as_trained(node, self.get_submodule(step.path))
            for node, step in zip(self.network, self.steps, strict=True)
        )
        return replace(self.network, nodes=nodes).with_weights(arrays)

    def _place(self, node: Node, layer: _Layer) -> str:
        """Register the layer where its weights' names put it, give it the network's weights, and return its path."""
        module = layer.layer if isinstance(layer, _Padded) else layer
        holder: nn.Module = self
        *outer, last = _path_of(node).split(".")
        for name in outer:
            if not isinstance(getattr(holder, name, None), nn.Module):
                holder.add_module(name, nn.Module())
            holder = holder.get_submodule(name)
        while hasattr(holder, last):  # a name that torch's modules use themselves, or a second layer there
            last += "_"
        holder.add_module(last, module)
        for role, name in node.weights.items():
            attribute = TORCH_ROLES.get(role, role)
            self._give(module, attribute, name)
            self._keys.setdefault(name, ".".join((*outer, last, attribute)))
        if isinstance(node.op, ops.BatchNorm):
            module.num_batches_tracked = torch.zeros((), dtype=torch.long)
        return ".".join((*outer, last))

    def _give(self, layer: nn.Module, attribute: str, name: str) -> None:
        if name in self._keys:  # another layer has it too: tie them
            setattr(layer, attribute, self.get_parameter(self._keys[name]))
            return
        array = torch.from_numpy(np.array(self.network.weights[name]))
        learnt = isinstance(getattr(layer, attribute), nn.Parameter)
        setattr(layer, attribute, nn.Parameter(array) if learnt else array)


@dataclass(frozen=True, slots=True)
class _Padded:
    """A layer behind a padding that it cannot say itself; only the layer is a module, so names stay as they are."""

    windows: tuple[Window, ...]
    fill: float
    layer: nn.Module

    def __call__(self, x: Tensor) -> Tensor:
        """Pad, then the layer."""
        result: Tensor = self.layer(self.pad(x))
        return result

    def pad(self, x: Tensor) -> Tensor:
        """Pad, up to the end of an overhanging last window; F.pad counts from the last axis."""
        pads: list[int] = []
        for axis, w in enumerate(reversed(self.windows), start=1):
            last = w.pad_hi
            if w.ceil_mode:
                size = x.shape[-axis]
                last = max(last, w.first(w.out_size(size) - 1) + w.extent - size)
            pads += [w.pad_lo, last]
        return F.pad(x, pads, value=self.fill)


_Layer = nn.Module | _Padded


def to_module(network: Network) -> NetworkModule:
    """Build the torch module of `network`, with its weights, in training mode; no random number is drawn.

    Raises: NetworkError without weights, or on a layer that torch has no form for.
    """
    if set(network.weight_specs()) - set(network.weights):
        raise NetworkError(f"{network.name}: has no weights to train from; initialise the network first")
    return NetworkModule(network)


def _as_trained(node: Node, layer: nn.Module) -> Node:
    """The node with what a recipe may have set on its layer."""
    if not isinstance(node.op, ops.BatchNorm):
        return node
    eps, momentum = (float(getattr(layer, what)) for what in ("eps", "momentum"))
    return replace(node, op=replace(node.op, eps=eps, momentum=momentum))


def _path_of(node: Node) -> str:
    """Where the module of a node stands: the path that its weights' names share, else the node's name."""
    names = [name.rpartition(".") for name in node.weights.values()]
    if names and len({prefix for prefix, _, _ in names}) == 1 and names[0][0]:
        return names[0][0]
    return node.name


def _layer(node: Node, shape: Shape) -> _Layer:
    with torch.device("meta"):  # shapes only: the weights come from the network, and torch draws none
        make = LAYERS.get(type(node.op))
        if make is None:
            raise NetworkError(f"{node.name}: {node.op.kind} has no torch layer yet; it cannot be trained")
        try:
            return make(node.op, shape)
        except NetworkError as fault:
            raise NetworkError(f"{node.name}: {fault}") from None


def _conv(op: ops.Conv, _: Shape) -> _Layer:
    kinds: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    explicit = any(w.pad_lo != w.pad_hi or w.pad_lo < 0 for w in op.windows)
    layer: nn.Module = kinds[len(op.windows) - 1](
        op.in_channels,
        op.out_channels,
        op.kernel,
        stride=tuple(w.stride for w in op.windows),
        padding=0 if explicit else tuple(w.pad_lo for w in op.windows),
        dilation=tuple(w.dilation for w in op.windows),
        groups=op.groups,
        bias=op.bias,
    )
    return _Padded(op.windows, 0.0, layer) if explicit else layer


def _linear(op: ops.Linear, _: Shape) -> nn.Module:
    return nn.Linear(op.in_features, op.out_features, bias=op.bias)


def _batch_norm(op: ops.BatchNorm, shape: Shape) -> nn.Module:
    kinds: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layer: nn.Module = kinds[len(shape) - 1](op.channels, eps=op.eps, momentum=op.momentum, affine=op.affine)
    return layer


def _max_pool(op: ops.MaxPool, _: Shape) -> _Layer:
    kinds: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
    explicit = _pads_explicitly(op.windows)
    layer: nn.Module = kinds[len(op.windows) - 1](
        tuple(w.kernel for w in op.windows),
        stride=tuple(w.stride for w in op.windows),
        padding=0 if explicit else tuple(w.pad_lo for w in op.windows),
        dilation=tuple(w.dilation for w in op.windows),
        ceil_mode=not explicit and op.windows[0].ceil_mode,
    )
    return _Padded(op.windows, -inf, layer) if explicit else layer


def _avg_pool(op: ops.AvgPool, _: Shape) -> _Layer:
    kinds: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
    explicit = _pads_explicitly(op.windows)
    overhangs = explicit and op.count_include_pad and any(w.ceil_mode for w in op.windows)
    if overhangs or any(w.dilation != 1 for w in op.windows):
        raise NetworkError("avg_pool with dilation, or counting uneven padding in ceil_mode, has no torch layer")
    layer: nn.Module = kinds[len(op.windows) - 1](
        tuple(w.kernel for w in op.windows),
        stride=tuple(w.stride for w in op.windows),
        padding=0 if explicit else tuple(w.pad_lo for w in op.windows),
        ceil_mode=not explicit and op.windows[0].ceil_mode,
        count_include_pad=op.count_include_pad,
    )
    if not explicit:
        return layer
    padded = _Padded(op.windows, 0.0, layer)
    if op.count_include_pad:
        return padded
    # Real pixels only are counted: divide by the share of each window that is real.
    return Function(lambda x: padded(x) / padded(torch.ones_like(x)), op.describe())


def _blur_pool(op: ops.BlurPool, shape: Shape) -> _Layer:
    """The kernel is a constant of the function, no buffer: nothing trains it and no state dict holds it."""
    convolutions: tuple[Any, ...] = (F.conv1d, F.conv2d, F.conv3d)
    convolve, channels = convolutions[len(op.windows) - 1], shape[0]
    explicit = any(w.pad_lo != w.pad_hi or w.pad_lo < 0 for w in op.windows)
    strides, taps = [w.stride for w in op.windows], op.taps
    padding = [0 if explicit else w.pad_lo for w in op.windows]

    def blur(x: Tensor) -> Tensor:
        kernel = torch.as_tensor(taps, dtype=x.dtype, device=x.device).expand(channels, 1, *taps.shape)
        result: Tensor = convolve(x, kernel, stride=strides, padding=padding, groups=channels)
        return result

    layer = Function(blur, op.describe())
    return _Padded(op.windows, 0.0, layer) if explicit else layer


def _pads_explicitly(windows: Sequence[Window]) -> bool:
    """Whether torch's pools cannot say the padding: uneven, negative, above half the kernel, ceil_mode on one axis."""
    said = all(w.pad_lo == w.pad_hi >= 0 and 2 * w.pad_lo <= w.kernel for w in windows)
    return not said or len({w.ceil_mode for w in windows}) != 1


def _global_avg_pool(op: ops.GlobalAvgPool, shape: Shape) -> nn.Module:
    axes = tuple(range(2, len(shape) + 1))
    return Function(partial(torch.mean, dim=axes, keepdim=op.keep_axes), f"mean over axes {axes}")


def _adaptive_avg_pool(op: ops.AdaptiveAvgPool, _: Shape) -> nn.Module:
    kinds: tuple[Any, ...] = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    layer: nn.Module = kinds[len(op.out) - 1](op.out)
    return layer


def _dropout(op: ops.Dropout, shape: Shape) -> nn.Module:
    if not op.whole_channels:
        return nn.Dropout(op.p)
    kinds: tuple[Any, ...] = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    layer: nn.Module = kinds[len(shape) - 1](op.p)
    return layer


LAYERS: Mapping[type[ops.Op], Callable[[Any, Shape], _Layer]] = {
    **PLAIN,
    ops.Conv: _conv,
    ops.Linear: _linear,
    ops.BatchNorm: _batch_norm,
    ops.MaxPool: _max_pool,
    ops.AvgPool: _avg_pool,
    ops.BlurPool: _blur_pool,
    ops.GlobalAvgPool: _global_avg_pool,
    ops.AdaptiveAvgPool: _adaptive_avg_pool,
    ops.Dropout: _dropout,
}
"""The torch layer of each kind, for an input of a shape."""
