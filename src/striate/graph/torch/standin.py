"""The stand-in tensor that a module's forward runs on: a shape, and the place in the network that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from striate.errors import CaptureError
from striate.graph.moves import Moves, shape_of
from striate.ops import Shape

Place = tuple[str, nn.Module | None]
"""Module path and the part of the module there; "" and None outside."""

BATCH = 2  # of the stand-in: two, so that no code takes the batch for a single image


class Recorder(Protocol):
    """Who writes down what is done to stand-ins: `trace.Trace`."""

    @property
    def place(self) -> Place:
        """The part of the module that runs."""
        ...

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Write down one call of a torch function, and return what stands for its result."""
        ...


class Standin(Tensor):
    """A tensor with shape and dtype and no values; `tensor_name` is its name in the network being recorded.

    base: shape of that tensor for one image. moves: slices, reshapes and permutations on the way from it to this one,
        which become layers when something else reads them: two that cancel become nothing.
    pads, fill: padding (last axis first, as in F.pad) and its value, that a window after it takes upon itself.
    place: the part of the module that it was made in; its moves and padding become layers of that part.
    memory: shared by all views of one tensor; counts the writes in place. seen: the count that this view knows.
    """

    recorder: Recorder
    tensor_name: str
    base: Shape
    moves: Moves
    pads: tuple[int, ...]
    fill: float
    place: Place
    memory: list[int]
    seen: int

    @staticmethod
    def of(
        recorder: Recorder, tensor_name: str, shape: Shape, moves: Moves = (), view_of: Standin | None = None
    ) -> Standin:
        """The stand-in for the tensor `tensor_name` of `shape` (without the batch) after `moves`."""
        return Standin.full(recorder, tensor_name, (BATCH, *shape_of(moves, shape)), shape, moves, view_of)

    @staticmethod
    def full(
        recorder: Recorder,
        tensor_name: str,
        sizes: Shape,
        base: Shape,
        moves: Moves = (),
        view_of: Standin | None = None,
    ) -> Standin:
        """The same, which shows `sizes` (with the batch) to the module."""
        made: Standin = Tensor._make_wrapper_subclass(Standin, sizes, dtype=torch.float32)
        made.recorder, made.tensor_name, made.base, made.moves = recorder, tensor_name, base, moves
        made.pads, made.fill, made.place = (), 0.0, recorder.place
        made.memory = [0] if view_of is None else view_of.memory
        made.seen = made.memory[0]
        return made

    @property
    def sizes(self) -> Shape:
        """Its shape with the batch."""
        with torch._C.DisableTorchFunctionSubclass():
            return tuple(int(n) for n in self.shape)

    @property
    def image_shape(self) -> Shape:
        """Its shape without the batch."""
        return self.sizes[1:]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record the call: every torch function that is given a stand-in arrives here."""
        if func in METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        standin = next(a for a in flat((args, tuple((kwargs or {}).values()))) if isinstance(a, Standin))
        return standin.recorder.record(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Nothing is ever computed with a stand-in."""
        raise CaptureError(f"{func}: reached the arithmetic of a tensor that has no values")


METADATA = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.device.__get__,
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__,  # type: ignore[attr-defined]
    Tensor.layout.__get__,  # type: ignore[attr-defined]
    Tensor.is_quantized.__get__,  # type: ignore[attr-defined]
    Tensor.is_nested.__get__,  # type: ignore[attr-defined]
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.is_complex,
    Tensor.get_device,
    Tensor.element_size,
    Tensor.__len__,
}


def flat(value: Any) -> list[Any]:
    """All values in nested tuples, lists and dictionaries."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [one for part in value for one in flat(part)]
    return [value]
