"""ONNX operators that move values: moves that wait on a tensor until a layer reads it, as in a torch module."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod

import onnx

from striate.graph.onnx.adaptive import is_adaptive_maximum
from striate.graph.onnx.constants import axes_of, slices
from striate.graph.onnx.reading import BATCH, Reading, Value
from striate.ops import Permute, Reshape, Shape, Slice
from striate.ops.moving import Part


def flatten(r: Reading, node: onnx.NodeProto) -> None:
    """One vector an image."""
    axis = r.attribute(node, "axis", 1) % (len(r.shape(node)) + 1)
    if axis != 1:
        raise r.refusal(node, f"axis={axis}; supported is axis=1, one vector an image")
    r.move(node, Reshape((prod(r.shape(node)),)))


def reshape(r: Reading, node: onnx.NodeProto) -> None:
    """Another shape for each image."""
    shape = r.shape(node)
    target = r.attribute(node, "shape", []) or [int(n) for n in r.demand(node, 1, "shape").reshape(-1)]
    if not r.attribute(node, "allowzero", 0):
        sizes = (BATCH, *shape)
        target = [sizes[i] if n == 0 and i < len(sizes) else n for i, n in enumerate(target)]
    wanted = _without_batch(target, shape, r.batch)
    if wanted is None:
        spelled = ["N" if n == BATCH else n for n in target]
        raise r.refusal(
            node,
            f"from (N, {', '.join(map(str, shape))}) to {spelled} goes across images; striate keeps the batch first",
        )
    r.move(node, Reshape(wanted))


def _without_batch(target: list[int], shape: Shape, batch: int) -> Shape | None:
    """The target for one image; None where the batch does not stay the first axis."""
    if not target or any(n < -1 and n != BATCH for n in target) or BATCH in target[1:]:
        return None
    rest = tuple(target[1:])
    if target[0] == BATCH or target[0] == batch:
        return rest
    return rest if target[0] == -1 and -1 not in rest and prod(rest) == prod(shape) else None


def squeeze(r: Reading, node: onnx.NodeProto) -> None:
    """Axes of size 1 taken away."""
    shape = r.shape(node)
    given = [a % (len(shape) + 1) for a in axes_of(r, node)]
    axes = given or [i for i, n in enumerate(shape, start=1) if n == 1]
    if 0 in axes or any(shape[a - 1] != 1 for a in axes):
        raise r.refusal(node, f"axes={axes} of (N, {', '.join(map(str, shape))}) are not all of size 1")
    r.move(node, Reshape(tuple(n for i, n in enumerate(shape, start=1) if i not in axes)))


def unsqueeze(r: Reading, node: onnx.NodeProto) -> None:
    """Axes of size 1 put in."""
    given = axes_of(r, node)
    sizes: list[int] = [BATCH, *r.shape(node)]
    for axis in sorted(a % (len(sizes) + len(given)) for a in given):
        sizes.insert(axis, 1)
    if sizes[0] != BATCH:
        raise r.refusal(node, "puts an axis before the batch; striate keeps that first")
    r.move(node, Reshape(tuple(sizes[1:])))


def transpose(r: Reading, node: onnx.NodeProto) -> None:
    """The axes of an image in another order."""
    order = r.attribute(node, "perm", []) or list(reversed(range(len(r.shape(node)) + 1)))
    if order[0] != 0:
        raise r.refusal(node, "moves the batch to another axis; striate keeps it first")
    r.move(node, Permute(tuple(axis - 1 for axis in order[1:])))


def cut(r: Reading, node: onnx.NodeProto, value: Value, parts: list[slice], output: int = 0) -> None:
    """An output is `parts` of a tensor, one slice an axis."""
    r.give(node, cut_value(value, parts), output)


def cut_value(value: Value, parts: list[slice]) -> Value:
    """`parts` of a tensor, one slice an axis; the tensor itself where nothing is cut off."""
    found: list[Part] = []
    for part, n in zip(parts, value.shape, strict=True):
        start, stop, step = part.indices(n)
        found.append((start or None, None if stop >= n else stop, step))
    whole = all(part == (None, None, 1) for part in found)
    return value if whole else value.after_move(Slice(tuple(found)))


def slice_(r: Reading, node: onnx.NodeProto) -> None:
    """A part of the maps."""
    images, *parts = slices(r, node, len(r.shape(node)) + 1)
    first = images.indices(r.batch if r.batch != BATCH else 2**31 - 1)
    whole = first[0] == 0 and first[2] == 1 and first[1] >= (r.batch if r.batch != BATCH else 2**31 - 1)
    if not whole:
        raise r.refusal(node, "takes some images of the batch; striate describes one image, whichever it is")
    cut(r, node, r.moved(node), parts)


def split(r: Reading, node: onnx.NodeProto) -> None:
    """Parts side by side on one axis."""
    size = _size_along(r, node)
    count = len(node.output)
    given = r.constant(node, 1)
    each = -(-size // count)
    sizes = r.attribute(node, "split", []) if given is None else [int(n) for n in given.reshape(-1)]
    sizes = sizes or [min(each, size - i * each) for i in range(count)]
    if len(sizes) != count:
        raise r.refusal(node, f"has {count} outputs for parts of {sizes}")
    for output, part in enumerate(_parts(r, node, size, sizes)):
        cut(r, node, r.moved(node), part, output)


def split_to_list(r: Reading, node: onnx.NodeProto) -> None:
    """The same, as one list of tensors."""
    size, given = _size_along(r, node), r.demand(node, 1, "split")
    each = int(given.reshape(-1)[0])
    if each < 1 or (given.ndim == 0 and not r.attribute(node, "keepdims", 1)):
        raise r.refusal(node, f"splits into parts of {given.tolist()}; striate knows whole numbers from 1")
    sizes = [min(each, size - at) for at in range(0, size, each)] if given.ndim == 0 else [int(n) for n in given]
    r.lists[node.output[0]] = [cut_value(r.moved(node), part) for part in _parts(r, node, size, sizes)]


def of_list(r: Reading, node: onnx.NodeProto) -> None:
    """One tensor of a list."""
    found, place = r.lists.get(node.input[0]), int(r.demand(node, 1, "position").reshape(()))
    if found is None or not -len(found) <= place < len(found):
        raise r.refusal(node, f"takes tensor {place} of a list that striate does not know")
    r.give(node, found[place])


def _size_along(r: Reading, node: onnx.NodeProto) -> int:
    shape = r.shape(node)
    axis: int = r.attribute(node, "axis", 0) % (len(shape) + 1)
    if axis == 0:
        raise r.refusal(node, "splits the batch; striate describes one image, whichever it is")
    return shape[axis - 1]


def _parts(r: Reading, node: onnx.NodeProto, size: int, sizes: list[int]) -> Iterator[list[slice]]:
    if sum(sizes) != size or min(sizes) < 1:
        raise r.refusal(node, f"splits {size} into {sizes}; the parts must make up the whole")
    rank = len(r.shape(node))
    axis, start = r.attribute(node, "axis", 0) % (rank + 1) - 1, 0
    for n in sizes:
        parts = [slice(None)] * rank
        parts[axis] = slice(start, start + n)
        yield parts
        start += n


def gather(r: Reading, node: onnx.NodeProto) -> None:
    """One place of an axis, or places with even steps between them; the cells of an adaptive pool."""
    if is_adaptive_maximum(r, node):
        return
    value, indices = r.moved(node), r.demand(node, 1, "indices")
    axis = r.attribute(node, "axis", 0) % (len(value.shape) + 1)
    size = value.shape[axis - 1]
    places = [int(i) % size for i in indices.reshape(-1)]
    steps = {b - a for a, b in pairwise(places)} or {1}
    if axis == 0 or indices.ndim > 1 or len(steps) != 1 or min(steps) < 1:
        raise r.refusal(node, f"takes places {places[:8]} of axis {axis}; striate knows places with even steps")
    parts = [slice(None)] * len(value.shape)
    parts[axis - 1] = slice(places[0], places[-1] + 1, steps.pop())
    cut(r, node, value, parts)
    if indices.ndim == 0:
        kept = (n for i, n in enumerate(value.shape, start=1) if i != axis)
        r.move(node, Reshape(tuple(kept)), r.value_of(node.output[0]))


def expand(r: Reading, node: onnx.NodeProto) -> None:
    """Only to the size that it has; arithmetic spreads by itself."""
    shape, wanted = r.shape(node), [int(n) for n in r.demand(node, 1, "shape").reshape(-1)]
    sizes = [1] * (len(shape) + 1 - len(wanted)) + wanted
    if len(sizes) != len(shape) + 1 or any(n not in (1, m) for n, m in zip(sizes[1:], shape, strict=True)):
        raise r.refusal(node, f"spreads {shape} to {wanted}; leave that to the sum or product behind it")
    r.give(node, r.value(node))


def depth_to_space(r: Reading, node: onnx.NodeProto) -> None:
    """Channels to pixels: block by block (DCR) or channel by channel (CRD)."""
    b, mode = r.attribute(node, "blocksize", 1), r.attribute(node, "mode", "DCR")
    channels, h, w = r.shape(node)
    if b < 1 or channels % b**2:
        raise r.refusal(node, f"blocksize={b} does not fit {channels} channels")
    depth = channels // b**2
    split_to = (depth, b, b, h, w) if mode == "CRD" else (b, b, depth, h, w)
    order = (0, 3, 1, 4, 2) if mode == "CRD" else (2, 3, 0, 4, 1)
    _rearrange(r, node, split_to, order, (depth, h * b, w * b))


def space_to_depth(r: Reading, node: onnx.NodeProto) -> None:
    """Pixels to channels, block by block."""
    b = r.attribute(node, "blocksize", 1)
    channels, h, w = r.shape(node)
    if b < 1 or h % b or w % b:
        raise r.refusal(node, f"blocksize={b} does not fit maps of {h}x{w}")
    _rearrange(r, node, (channels, h // b, b, w // b, b), (2, 4, 0, 1, 3), (channels * b * b, h // b, w // b))


def _rearrange(r: Reading, node: onnx.NodeProto, split_to: Shape, order: Shape, merged: Shape) -> None:
    r.move(node, Reshape(split_to))
    for op in (Permute(order), Reshape(merged)):
        r.move(node, op, r.value_of(node.output[0]))
