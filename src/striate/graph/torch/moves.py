"""What torch functions that move values record: moves that wait on the stand-in until something reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from striate.errors import CaptureError
from striate.graph.torch.standin import BATCH, Standin
from striate.graph.torch.trace import Handler, Trace
from striate.ops import Permute, PixelShuffle, PixelUnshuffle, Reshape, Slice

H = TypeVar("H", bound=Handler)


def takes_moves(handler: H) -> H:
    """Mark a handler that reads `moves` itself."""
    handler.takes_moves = True  # type: ignore[attr-defined]
    return handler


def takes_pads(handler: H) -> H:
    """Mark a handler that reads `pads` itself."""
    handler.takes_pads = True  # type: ignore[attr-defined]
    return handler


def axis_of(x: Standin, dim: int) -> int:
    """A dimension counted from the front, the batch being 0."""
    return dim % len(x.sizes)


def _refuse(trace: Trace, what: str) -> CaptureError:
    return CaptureError(f"{trace.where()}: {what}")


@takes_moves
def _permute(trace: Trace, input: Standin, *dims: Any) -> Standin:
    order = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
    order = tuple(axis_of(input, d) for d in order)
    if order[0] != 0:
        raise _refuse(trace, "moves the batch to another axis; striate keeps it first")
    return trace.moved(input, Permute(tuple(d - 1 for d in order[1:])))


@takes_moves
def _transpose(trace: Trace, input: Standin, dim0: int, dim1: int) -> Standin:
    order = list(range(len(input.sizes)))
    a, b = axis_of(input, dim0), axis_of(input, dim1)
    order[a], order[b] = order[b], order[a]
    return _permute(trace, input, order)


@takes_moves
def _movedim(trace: Trace, input: Standin, source: int, destination: int) -> Standin:
    order = list(range(len(input.sizes)))
    order.insert(axis_of(input, destination), order.pop(axis_of(input, source)))
    return _permute(trace, input, order)


@takes_moves
def _flatten(trace: Trace, input: Standin, start_dim: int = 0, end_dim: int = -1) -> Standin:
    first, last = axis_of(input, start_dim), axis_of(input, end_dim)
    sizes = input.sizes
    return reshape(trace, input, (*sizes[:first], -1, *sizes[last + 1 :]))


@takes_moves
def _unflatten(trace: Trace, input: Standin, dim: int, sizes: Sequence[int]) -> Standin:
    axis = axis_of(input, dim)
    return reshape(trace, input, (*input.sizes[:axis], *sizes, *input.sizes[axis + 1 :]))


@takes_moves
def _reshape(trace: Trace, input: Standin, *shape: Any) -> Standin:
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise _refuse(trace, "reads the bits of a tensor as another type; striate knows floating point")
    return reshape(trace, input, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape)


@takes_moves
def _reshape_as(trace: Trace, input: Standin, other: Standin) -> Standin:
    return reshape(trace, input, other.sizes)


def reshape(trace: Trace, x: Standin, wanted: Sequence[int]) -> Standin:
    """`x` in another shape, which leaves the batch alone.  Raises: CaptureError."""
    total = 1
    for n in x.sizes:
        total *= n
    known = 1
    for n in wanted:
        known *= n if n != -1 else 1
    sizes = tuple(total // known if n == -1 else n for n in wanted) if known else tuple(wanted)
    if not sizes or sizes[0] != BATCH:
        raise _refuse(trace, f"reshapes to {tuple(wanted)}, across images; striate keeps the batch on axis 0")
    result = trace.moved(x, Reshape(sizes[1:]))
    flattens = len(sizes) == 2 and all(isinstance(op, Reshape) for op in result.moves)
    return trace.settle(result) if flattens else result


@takes_moves
def _squeeze(trace: Trace, input: Standin, dim: int | Sequence[int] | None = None) -> Standin:
    given = range(1, len(input.sizes)) if dim is None else (dim,) if isinstance(dim, int) else dim
    axes = {axis_of(input, d) for d in given}
    sizes = (n for axis, n in enumerate(input.sizes) if axis not in axes or n != 1)
    return reshape(trace, input, tuple(sizes))


@takes_moves
def _unsqueeze(trace: Trace, input: Standin, dim: int) -> Standin:
    sizes = list(input.sizes)
    sizes.insert(dim % (len(sizes) + 1), 1)
    return reshape(trace, input, sizes)


@takes_moves
def _getitem(trace: Trace, input: Standin, index: Any) -> Standin:
    """Whole numbers, slices, None and dots; no tensors."""
    given = index if isinstance(index, tuple) else (index,)
    if any(isinstance(one, Standin) for one in given):
        raise _refuse(trace, "picks by a mask or an index that it computed from the image, and striate follows shapes "
                             "only; give the part before it as a module")  # fmt: skip
    if any(isinstance(one, Tensor | list) for one in given):
        raise _refuse(trace, "indexes by a list or tensor; striate knows slices and whole numbers")
    named = sum(one is not None and one is not Ellipsis for one in given)
    dots = next((i for i, one in enumerate(given) if one is Ellipsis), len(given))
    rest = (slice(None),) * (len(input.sizes) - named)
    full = (*given[:dots], *rest, *given[dots + 1 :])
    taken = [one for one in full if one is not None]
    if taken[0] != slice(None):
        raise _refuse(trace, "takes some images of the batch; striate describes one image, whichever it is")
    parts, sizes, axis = [], [], 0
    for one in full:
        if one is None:
            sizes.append(1)
            continue
        n = input.sizes[axis]
        axis += 1
        part = one if isinstance(one, slice) else slice(one % n, one % n + 1)
        start, stop, step = part.indices(n)
        parts.append((start or None, None if stop >= n else stop, step))
        if isinstance(one, slice):
            sizes.append(len(range(start, stop, step)))
    result = sliced(trace, input, parts[1:])
    return reshape(trace, result, sizes)


def sliced(trace: Trace, x: Standin, parts: Sequence[tuple[int | None, int | None, int]]) -> Standin:
    """`x` cut on every axis but the batch; the same stand-in where nothing is cut off."""
    return x if all(part == (None, None, 1) for part in parts) else trace.moved(x, Slice(tuple(parts)))


def _along(trace: Trace, x: Standin, axis: int, start: int, stop: int) -> Standin:
    if axis == 0:
        raise _refuse(trace, "splits the batch; striate describes one image, whichever it is")
    parts: list[tuple[int | None, int | None, int]] = [(None, None, 1)] * len(x.image_shape)
    parts[axis - 1] = (start or None, None if stop >= x.sizes[axis] else stop, 1)
    return sliced(trace, x, parts)


@takes_moves
def _narrow(trace: Trace, input: Standin, dim: int, start: int, length: int) -> Standin:
    axis = axis_of(input, dim)
    start %= input.sizes[axis]
    return _along(trace, input, axis, start, start + length)


@takes_moves
def _select(trace: Trace, input: Standin, dim: int, index: int) -> Standin:
    axis = axis_of(input, dim)
    at = index % input.sizes[axis]
    return _squeeze(trace, _along(trace, input, axis, at, at + 1), axis)


@takes_moves
def _split(trace: Trace, input: Standin, split_size_or_sections: Any, dim: int = 0) -> tuple[Standin, ...]:
    axis = axis_of(input, dim)
    size, given = input.sizes[axis], split_size_or_sections
    sections = [min(given, size - at) for at in range(0, size, given)] if isinstance(given, int) else list(given)
    ends = [sum(sections[: i + 1]) for i in range(len(sections))]
    return tuple(_along(trace, input, axis, end - n, end) for n, end in zip(sections, ends, strict=True))


@takes_moves
def _split_size(trace: Trace, input: Standin, split_size: Any, dim: int = 0) -> tuple[Standin, ...]:
    return tuple(_split(trace, input, split_size, dim))


@takes_moves
def _chunk(trace: Trace, input: Standin, chunks: int, dim: int = 0) -> tuple[Standin, ...]:
    size = input.sizes[axis_of(input, dim)]
    return tuple(_split(trace, input, -(-size // chunks), dim))


@takes_moves
def _tensor_split(trace: Trace, input: Standin, indices_or_sections: int, dim: int = 0) -> tuple[Standin, ...]:
    size = input.sizes[axis_of(input, dim)]
    each, more = divmod(size, indices_or_sections)
    return tuple(_split(trace, input, [each + (i < more) for i in range(indices_or_sections)], dim))


@takes_moves
def _unbind(trace: Trace, input: Standin, dim: int = 0) -> tuple[Standin, ...]:
    axis = axis_of(input, dim)
    return tuple(_select(trace, input, axis, i) for i in range(input.sizes[axis]))


@takes_moves
def _expand(trace: Trace, input: Standin, *sizes: Any) -> Standin:
    """Nothing moves: arithmetic spreads sizes of 1 by itself, and only it may read the result."""
    wanted = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], Sequence | torch.Size) else sizes
    if len(wanted) != len(input.sizes):
        raise _refuse(trace, f"expands {input.sizes} to {wanted}; striate keeps the number of axes")
    target = tuple(n if m == -1 else m for m, n in zip(wanted, input.sizes, strict=True))
    if target == input.sizes:
        return input
    settled = trace.settle(input)
    return Standin.full(trace, settled.tensor_name, target, settled.base, view_of=settled)


@takes_moves
def _expand_as(trace: Trace, input: Standin, other: Standin) -> Standin:
    return _expand(trace, input, other.sizes)


@takes_pads
@takes_moves
def _same(trace: Trace, input: Standin, *args: Any, **kwargs: Any) -> Standin:
    for one in (*args, *kwargs.values()):
        if isinstance(one, torch.dtype) and not one.is_floating_point:
            raise _refuse(trace, f"turns feature maps into {one}; striate knows floating point")
    return input


@takes_pads
@takes_moves
def clone(trace: Trace, input: Standin, **_: Any) -> Standin:
    """The same values in a memory of their own."""
    copy = Standin.full(trace, input.tensor_name, input.sizes, input.base, input.moves)
    copy.pads, copy.fill = input.pads, input.fill
    return copy


@takes_pads
@takes_moves
def _is_contiguous(trace: Trace, input: Standin, **_: Any) -> bool:
    return True


def _pixel_shuffle(trace: Trace, input: Standin, upscale_factor: int) -> Standin:
    return trace.add(PixelShuffle(upscale_factor), input, kind="pixel_shuffle")


def _pixel_unshuffle(trace: Trace, input: Standin, downscale_factor: int) -> Standin:
    return trace.add(PixelUnshuffle(downscale_factor), input, kind="pixel_unshuffle")


MOVES: Mapping[Any, Handler] = MappingProxyType(
    {
        **dict.fromkeys((torch.permute, Tensor.permute), _permute),
        **dict.fromkeys((torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes), _transpose),
        **dict.fromkeys((torch.movedim, Tensor.movedim, torch.moveaxis, Tensor.moveaxis), _movedim),
        **dict.fromkeys((torch.flatten, Tensor.flatten), _flatten),
        **dict.fromkeys((torch.unflatten, Tensor.unflatten), _unflatten),
        **dict.fromkeys((torch.reshape, Tensor.reshape, Tensor.view), _reshape),
        **dict.fromkeys((Tensor.reshape_as, Tensor.view_as), _reshape_as),
        **dict.fromkeys((torch.squeeze, Tensor.squeeze), _squeeze),
        **dict.fromkeys((torch.unsqueeze, Tensor.unsqueeze), _unsqueeze),
        Tensor.__getitem__: _getitem,
        **dict.fromkeys((torch.narrow, Tensor.narrow), _narrow),
        **dict.fromkeys((torch.select, Tensor.select), _select),
        torch.split: _split,
        Tensor.split: _split_size,
        **dict.fromkeys((torch.chunk, Tensor.chunk), _chunk),
        **dict.fromkeys((torch.tensor_split, Tensor.tensor_split), _tensor_split),
        **dict.fromkeys((torch.unbind, Tensor.unbind), _unbind),
        Tensor.expand: _expand,
        Tensor.expand_as: _expand_as,
        **dict.fromkeys((torch.clone, Tensor.clone), clone),
        **dict.fromkeys((Tensor.contiguous, Tensor.to, Tensor.cpu, Tensor.float, Tensor.detach, Tensor.type_as), _same),
        Tensor.is_contiguous: _is_contiguous,
        F.pixel_shuffle: _pixel_shuffle,
        F.pixel_unshuffle: _pixel_unshuffle,
    }
)
"""torch function -> what it records."""
