"""Running a network and looking at every tensor on the way: in torch if it is there and has the layers, else in NumPy.

The network is a frozen value: whatever a probe does, it is left as found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from striate.errors import NetworkError
from striate.graph import Network, Node, infer_shapes, reference
from striate.ops import Array, Shape, Unknown

if TYPE_CHECKING:
    import torch

    from striate.graph.to_torch import NetworkModule

NO_MAPS = "the network has no feature maps"
BATCH_BYTES = 256 * 2**20
"""Memory that the tensors of one batch may take, all of them held."""


def ready(network: Network, images: Array, least: int = 1) -> tuple[Network, Array, tuple[str, ...]]:
    """What can be run of a network, the images as it reads them, and why the rest cannot: a line, or none.

    A layer of unknown kind, and all that depends on one, is left out.
    Raises: NetworkError as `need_images`, and where nothing is left.
    """
    unknown = next((node for node in network if isinstance(node.op, Unknown)), None)
    if unknown is None:
        return network, need_images(network, images, least), ()
    hidden: set[str] = set()
    for node in network:
        if isinstance(node.op, Unknown) or hidden.intersection(node.inputs):
            hidden.add(node.name)
    nodes = tuple(node for node in network if node.name not in hidden)
    reason = getattr(unknown.op, "why", "") or f"{unknown.op.describe()} is unknown to striate"
    why = f"{len(hidden)} of {len(network)} layers, {unknown.name} and what depends on it: {reason}"
    if not nodes:
        raise NetworkError(f"{network.name}: nothing is left to measure without {why}; write that part in known layers")
    kept = _part(network, nodes, nodes[-1].name)
    return kept, need_images(kept, images, least), (why,)


def need_images(network: Network, images: Array, least: int = 1) -> Array:
    """The images (N, C, H, W) as the network reads them, in the dtype of its weights.

    Raises: NetworkError where weights are missing, sizes differ, values are not finite, or images are fewer than
    `least`.
    """
    if set(network.weight_specs()) - set(network.weights):
        raise NetworkError(f"{network.name}: has no weights to probe; initialise or load the network first")
    if images.shape[1:] != network.input_shape:
        raise NetworkError(
            f"{network.name}: got images {images.shape}, needs (N, {', '.join(map(str, network.input_shape))}); "
            "decode them to this size"
        )
    if len(images) < least:
        raise NetworkError(f"{network.name}: got {len(images)} image(s), this probe needs {least}; give more")
    if not np.isfinite(images).all():
        raise NetworkError(f"{network.name}: the images hold values that are not finite; normalise them first")
    return np.ascontiguousarray(images, dtype=weight_dtype(network))


def weight_dtype(network: Network) -> np.dtype[np.floating]:
    """float64 where any weight is, else float32."""
    wide = any(array.dtype == np.float64 for array in network.weights.values())
    return np.dtype(np.float64 if wide else np.float32)


def batches(network: Network, images: Array, least: int = 1) -> Iterator[Array]:
    """The images in nearly equal batches, none of fewer than `least` images where there are as many."""
    one = 4 * sum(int(np.prod(shape)) for shape in infer_shapes(network).values())
    size = max(least, BATCH_BYTES // max(1, one))
    yield from np.array_split(images, max(1, min(-(-len(images) // size), len(images) // max(1, least))))


def up_to(network: Network, layer: str) -> Network:
    """The part of the network that `layer` depends on, with its weights; its output is `layer`'s."""
    needed = {layer}
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return _part(network, tuple(node for node in network if node.name in needed), layer)


def _part(network: Network, nodes: tuple[Node, ...], output: str) -> Network:
    """These nodes with their weights."""
    names = {name for node in nodes for name in node.weights.values()}
    kept = {name: array for name, array in network.weights.items() if name in names}
    return replace(network, nodes=nodes, output=output, weights=MappingProxyType(kept))


def map_layers(network: Network, input_shape: Shape | None = None) -> tuple[str, ...]:
    """Layers whose output is feature maps (C, H, W) of more than one unit."""
    shapes = infer_shapes(network, input_shape)
    return tuple(node.name for node in network if len(shapes[node.name]) == 3 and max(shapes[node.name][1:]) > 1)


def visit(network: Network, x: Array, *, training: bool = False) -> Iterator[tuple[str, Array]]:
    """Every tensor in order, with the name of its layer; each is let go once nobody reads it any more.

    training: batch normalisation uses the statistics of the batch; dropout stays off.
    """
    if module := _module(network, training=training):
        yield from _visit_torch(module, x)
        return
    last_use = {name: node.name for node in network for name in node.inputs}
    values = {"input": x}
    for node in network:
        inputs, weights = [values[name] for name in node.inputs], network.weights_of(node)
        if training and node.op.kind == "batch_norm":
            weights = node.op.with_batch_statistics(inputs[0], weights)  # type: ignore[attr-defined]
        values[node.name] = node.op.forward(inputs, weights)
        yield node.name, values[node.name]
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del values[name]


def _visit_torch(module: NetworkModule, x: Array) -> Iterator[tuple[str, Array]]:
    import torch

    values = {"input": _channels_last(x)}
    for step in module.steps:
        with torch.no_grad():
            result = module.run(step, *[values[name] for name in step.reads])
        values[step.writes] = result
        yield step.writes, result.numpy()
        for name in step.spent:
            del values[name]


def _module(network: Network, *, training: bool) -> NetworkModule | None:
    """The network in torch; None where torch is not installed or has no form for one of the layers."""
    if not find_spec("torch"):
        return None
    import torch
    from torch import nn

    from striate.graph.to_torch import to_module

    try:
        module = to_module(network).eval()
    except NetworkError:
        return None
    if len(network.input_shape) == 3:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch does not type it
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for layer in module.modules():
        if training and isinstance(layer, kinds):
            layer.train()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def tensors(network: Network, x: Array, names: Collection[str], *, training: bool = False) -> dict[str, Array]:
    """Copies of the named tensors for one batch."""
    return {name: value.copy() for name, value in visit(network, x, training=training) if name in names}


def outputs(network: Network, images: Array, *, training: bool = False) -> Array:
    """The network's result for all images, batch after batch.  Shape (N, ...)."""
    parts = batches(network, images, 2 if training else 1)
    if module := _module(network, training=training):
        return _outputs_torch(module, parts)
    results = []
    for x in parts:
        for name, value in visit(network, x, training=training):
            if name == network.output:
                results.append(value.copy())
    return np.concatenate(results)


def _outputs_torch(module: NetworkModule, parts: Iterator[Array]) -> Array:
    import torch

    with torch.no_grad():
        return np.concatenate([module(_channels_last(x)).numpy() for x in parts])


def _channels_last(x: Array) -> torch.Tensor:
    """The batch in the memory order in which torch's convolutions are fastest."""
    import torch

    order = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    return torch.from_numpy(x).contiguous(memory_format=order)


def gradients(network: Network, x: Array, seeds: Mapping[str, Array], wanted: str = "input") -> dict[str, Array]:
    """For each layer of `seeds`: gradient of sum(seed * its tensor) at the tensor `wanted`, at test time."""
    module = _module(network, training=False)
    if module is None:
        return {name: _gradient_numpy(up_to(network, name), x, seed, wanted) for name, seed in seeds.items()}
    import torch

    values = {"input": torch.from_numpy(x).requires_grad_()}
    needed = set(seeds) | {wanted}
    for step in module.steps:
        values[step.writes] = module.run(step, *[values[name] for name in step.reads])
        for name in step.spent:
            if name not in needed:
                del values[name]
    found = {}
    for name, seed in seeds.items():
        total = (values[name] * torch.from_numpy(seed)).sum()
        (grad,) = torch.autograd.grad(total, values[wanted], retain_graph=True)
        found[name] = grad.numpy()
    return found


def _gradient_numpy(network: Network, x: Array, seed: Array, wanted: str) -> Array:
    values = reference.run(network, x)
    if wanted == "input":
        return reference.gradient(network, values, seed)[0]
    at: dict[str, Array] = {network.output: seed}
    for node in reversed(network.nodes):
        if node.name == wanted:
            break
        if node.name in at:
            inputs = [values[name] for name in node.inputs]
            parts, _ = node.op.backward(at[node.name], inputs, values[node.name], network.weights_of(node))
            for name, part in zip(node.inputs, parts, strict=True):
                at[name] = at[name] + part if name in at else part
    return at[wanted]


def rms(values: Array) -> float:
    """Root of the mean square, in float64."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else float("nan")
