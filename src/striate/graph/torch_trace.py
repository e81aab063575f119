"""The stand-in tensor that a module's forward runs on, and the record of what it did to it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import CaptureError
from striate.graph.build import Builder
from striate.graph.network import INPUT, Network
from striate.ops import Array, Op, Shape

BATCH = 2  # of the stand-in: two, so that no code takes the batch for a single image
Handler = Callable[..., Any]


class Standin(Tensor):
    """A tensor with shape and dtype and no values; `tensor_name` is its name in the network being recorded.

    pads: zero padding (last axis first, as in F.pad) that the next convolution takes into its windows.
    memory: shared by all views of one tensor; counts the writes in place. seen: the count that this view knows.
    """

    recorder: Trace
    tensor_name: str
    pads: tuple[int, ...]
    memory: list[int]
    seen: int

    @staticmethod
    def of(
        trace: Trace, tensor_name: str, shape: Shape, pads: tuple[int, ...] = (), view_of: Standin | None = None
    ) -> Standin:
        """The stand-in for the tensor `tensor_name` of `shape`, without the batch."""
        made: Standin = Tensor._make_wrapper_subclass(Standin, (BATCH, *shape), dtype=torch.float32)
        made.recorder, made.tensor_name, made.pads = trace, tensor_name, pads
        made.memory = [0] if view_of is None else view_of.memory
        made.seen = made.memory[0]
        return made

    @property
    def image_shape(self) -> Shape:
        """Its shape without the batch."""
        with torch._C.DisableTorchFunctionSubclass():
            return tuple(int(n) for n in self.shape[1:])

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record the call: every torch function that is given a stand-in arrives here."""
        if func in METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        standin = next(a for a in _flat((args, tuple((kwargs or {}).values()))) if isinstance(a, Standin))
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
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.__len__,
}


class Trace:
    """The network as recorded so far.

    names: state-dict name of every tensor of the module, by identity. functions: what each torch function records.
    """

    def __init__(self, name: str, shape: Shape, names: Mapping[int, str], functions: Mapping[Any, Handler]) -> None:
        self._builder = Builder(name, shape)
        self._names = dict(names)
        self._functions = functions
        self._tensors: dict[str, Tensor] = {}
        self._stack: list[tuple[str, nn.Module]] = []
        self._taken = {INPUT}
        self._failed = ""

    def input(self) -> Standin:
        """The stand-in for the image batch."""
        return Standin.of(self, INPUT, self._builder.shape())

    def enter(self, path: str, part: nn.Module) -> None:
        """A part of the module starts to run."""
        self._stack.append((path, part))

    def leave(self) -> None:
        """The part that runs is done, or has raised."""
        if sys.exception() is not None:
            self._failed = self._failed or self.where()
        self._stack.pop()

    def where(self) -> str:
        """The part that runs, or that raised first, in words."""
        if not self._stack:
            return self._failed or "it"
        path, part = self._stack[-1]
        kind = type(part).__name__
        return f"{path} ({kind})" if path else kind

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What `func` means for the network; its answer goes back to the module.  Raises: CaptureError."""
        handler = self._functions.get(func)
        called = getattr(func, "__name__", str(func))
        if handler is None:
            raise CaptureError(f"{self.where()}: calls {called}, which striate has no layer for yet")
        for one in _flat((args, tuple(kwargs.values()))):
            if isinstance(one, Standin):
                self._check_read(one, called, handler)
        try:
            result = handler(self, *args, **kwargs)
            in_place = writes_in_place(called, handler, self, args, kwargs)
        except TypeError as fault:
            raise CaptureError(f"{self.where()}: calls {called} in a form striate does not read ({fault})") from fault
        return _written(kwargs["input"] if "input" in kwargs else args[0], result) if in_place else result

    def _check_read(self, one: Standin, called: str, handler: Handler) -> None:
        if one.seen != one.memory[0]:
            raise CaptureError(
                f"{self.where()}: {called} reads a tensor that was changed in place through another view of it; "
                "use the form that is not in place"
            )
        if one.pads and not getattr(handler, "takes_pads", False):
            raise CaptureError(f"{self.where()}: pads with zeros before {called}; only a convolution may follow")

    def add(
        self,
        op: Op,
        *inputs: Standin,
        kind: str,
        weights: Mapping[str, Tensor] | None = None,
        view_of: Standin | None = None,
    ) -> Standin:
        """Append a layer that reads `inputs`, with the tensors of its roles, and answer with its stand-in.

        view_of: the input whose memory torch's result shares.
        """
        path, part = self._stack[-1] if self._stack else ("", None)
        own = part is not None and path and not next(part.children(), None)
        name = self._free(path if own else f"{path}.{kind}" if path else kind)
        named = {role: self._weight(f"{name}.{role}", tensor) for role, tensor in (weights or {}).items()}
        self._builder.add(op, *(i.tensor_name for i in inputs), name=name, weights=named, path=path)
        return Standin.of(self, name, self._builder.shape(name), view_of=view_of)

    def finish(self, result: Standin) -> Network:
        """The network whose output is `result`.  Raises: CaptureError where padding is left that no layer took."""
        self._check_read(result, "the result", self.finish)
        return self._builder.build(result.tensor_name)

    def arrays(self) -> dict[str, Array]:
        """The values of every weight met, copied to the CPU."""
        return {name: _values(name, tensor) for name, tensor in self._tensors.items()}

    def _weight(self, proposed: str, tensor: Tensor) -> str:
        """The name of a weight: the module's own, or `proposed` for one that the module computed on its way."""
        name = self._names.get(id(tensor))
        if name is None:
            name = proposed
            self._names[id(tensor)] = name
        self._tensors[name] = tensor  # keeps it alive, so that its identity stays its own
        return name

    def _free(self, wanted: str) -> str:
        """`wanted`, with a number where it is taken or is no name of its own."""
        wanted = re.sub(r"\s", "_", wanted)
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def _values(name: str, tensor: Tensor) -> Array:
    if tensor.is_meta:
        raise CaptureError(
            f"{name}: is on the meta device and has no values; load the weights, or use with_weights=False"
        )
    kept = tensor.detach().to("cpu", copy=True)
    array: Array = (kept.float() if kept.dtype == torch.bfloat16 else kept).numpy()
    return array


def writes_in_place(called: str, handler: Handler, trace: Trace, args: Any, kwargs: Any) -> bool:
    """Whether a call changes the tensor it is given: `relu_`, `__iadd__`, or an argument inplace=True."""
    if called in {"__iadd__", "__imul__"} or (called.endswith("_") and not called.endswith("__")):
        return True
    signature = inspect.signature(handler)
    return "inplace" in signature.parameters and bool(
        signature.bind(trace, *args, **kwargs).arguments.get("inplace", False)
    )


def _written(target: Standin, result: Standin) -> Standin:
    """The tensor that was written to, which from now on is `result`; its other views are out of date."""
    target.tensor_name, target.pads = result.tensor_name, result.pads
    target.memory[0] += 1
    target.seen = target.memory[0]
    return target


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [one for part in value for one in _flat(part)]
    return [value]
