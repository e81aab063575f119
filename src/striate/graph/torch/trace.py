"""The record of what a module's forward does to the stand-in tensor that it runs on."""

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
from striate.graph.moves import plain, then
from striate.graph.network import INPUT, Network, fresh
from striate.graph.torch.standin import BATCH, Place, Standin, flat
from striate.ops import Array, Op, Pad, Permute, Shape, Unknown

Handler = Callable[..., Any]


class _FollowsError(CaptureError):
    """What is not known because an unknown layer stands before it."""


class Trace:
    """The network as recorded so far.

    names: state-dict name of every tensor of the module, by identity. functions: what each torch function records.
    strict: refuse what striate does not know; else record it as unknown.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        names: Mapping[int, str],
        functions: Mapping[Any, Any],
        *,
        strict: bool = True,
    ) -> None:
        self._builder = Builder(name, shape)
        self._names = dict(names)
        self._functions = functions
        self._final: set[Handler] = set(functions.get(NEVER_UNKNOWN, ()))
        self._strict = strict
        self._tensors: dict[str, Tensor] = {}
        self._kept: list[Tensor] = []
        self._stack: list[Place] = []
        self._moved: dict[tuple[str, Op], str] = {}
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

    @property
    def place(self) -> Place:
        """The part that runs."""
        return self._stack[-1] if self._stack else ("", None)

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
        read = [one for one in flat((args, tuple(kwargs.values()))) if isinstance(one, Standin)]
        for one in read:
            self._check_current(one, called)
        try:
            return self._handled(handler, called, read, args, kwargs)
        except CaptureError as fault:
            if self._strict or handler in self._final:
                raise
            return self._unknown(func, called, args, kwargs, fault)

    def _handled(self, handler: Handler | None, called: str, read: list[Standin], args: Any, kwargs: Any) -> Any:
        shown = "; striate inspect shows what is known without it" if self._strict else ""
        if handler is None:
            raise CaptureError(f"{self.where()}: calls {called}, which striate has no layer for yet{shown}")
        if any(one.sizes[:1] != (BATCH,) for one in read) and handler not in self._final:
            raise _FollowsError(
                f"{self.where()}: calls {called} on a tensor that has lost the axis of the batch{shown}"
            )
        for one in read:
            self._ready(one, handler)
        try:
            result = handler(self, *args, **kwargs)
            in_place = writes_in_place(called, handler, self, args, kwargs)
        except (TypeError, AttributeError) as fault:  # of a stored tensor, say, that maps are an argument to
            raise CaptureError(f"{self.where()}: calls {called} in a form striate does not read ({fault})") from fault
        return _written(kwargs["input"] if "input" in kwargs else args[0], result) if in_place else result

    def _check_current(self, one: Standin, called: str) -> None:
        if one.seen != one.memory[0]:
            raise CaptureError(
                f"{self.where()}: {called} reads a tensor that was changed in place through another view of it; "
                "use the form that is not in place"
            )

    def _ready(self, one: Standin, handler: Handler) -> None:
        """Make layers of what waits before `one`, unless `handler` takes it as it is."""
        if one.pads and not getattr(handler, "takes_pads", False):
            self._settle_pads(one)
        if one.moves and not getattr(handler, "takes_moves", False):
            self.settle(one)

    def settle(self, one: Standin, *, but_order: bool = False) -> Standin:
        """Make layers of the padding and the moves that wait before `one`; it stands for their result from now on.

        What another reader had moved likewise is read again, not moved again.
        but_order: leave a last permutation waiting.
        """
        if one.pads:
            self._settle_pads(one)
        waits = but_order and bool(one.moves) and isinstance(one.moves[-1], Permute)
        moves, order = (one.moves[:-1], one.moves[-1:]) if waits else (one.moves, ())
        name = one.tensor_name
        for op in plain(moves, one.base):
            key = (name, op)
            if key not in self._moved:
                self._moved[key] = self._append(op, (name,), op.kind, {}, one.place)
            name = self._moved[key]
        one.tensor_name, one.moves = name, order
        one.base = self._builder.shape(name)
        return one

    def _settle_pads(self, one: Standin) -> None:
        """The padding as a layer; the sizes that the module sees have it already."""
        axes = len(one.base)
        widths = [*one.pads, *(0,) * (2 * axes - len(one.pads))]
        before, after = tuple(reversed(widths[::2])), tuple(reversed(widths[1::2]))
        pad = Pad(before, after, value=one.fill)
        one.tensor_name = self._append(pad, (one.tensor_name,), "pad", {}, one.place)
        one.base, one.pads, one.fill = self._builder.shape(one.tensor_name), (), 0.0

    def moved(self, one: Standin, op: Op) -> Standin:
        """`one` after one more move, which is no layer yet; torch's result shares its memory."""
        if one.pads:
            self._settle_pads(one)
        return Standin.of(self, one.tensor_name, one.base, then(one.moves, one.base, op), one)

    def padded(self, one: Standin, pads: tuple[int, ...], fill: float) -> Standin:
        """`one` with padding that waits for a window to take it."""
        widths = [*pads, *(0,) * (2 * len(one.base) - len(pads))]
        sizes = [n + lo + hi for n, lo, hi in zip(one.base, reversed(widths[::2]), reversed(widths[1::2]), strict=True)]
        result = Standin.full(self, one.tensor_name, (BATCH, *sizes), one.base)
        result.pads, result.fill = pads, fill
        return result

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
        name = self._append(op, tuple(i.tensor_name for i in inputs), kind, weights or {})
        return Standin.of(self, name, self._builder.shape(name), view_of=view_of)

    def _append(
        self, op: Op, inputs: tuple[str, ...], kind: str, weights: Mapping[str, Tensor], place: Place | None = None
    ) -> str:
        path, part = place or self.place
        own = part is not None and path and not next(part.children(), None)
        name = self._free(path if own else f"{path}.{kind}" if path else kind)
        named = {role: self._weight(f"{name}.{role}", tensor) for role, tensor in weights.items()}
        return self._builder.add(op, *inputs, name=name, weights=named, path=path)

    def _unknown(self, func: Any, called: str, args: Any, kwargs: Any, why: CaptureError) -> Any:
        """Record the call as unknown; its result's shape is torch's own, found without values.

        Raises: CaptureError, the first fault, where even that cannot be found.
        """
        read = [self.settle(one) for one in flat((args, tuple(kwargs.values()))) if isinstance(one, Standin)]
        names = tuple(dict.fromkeys(one.tensor_name for one in read))
        try:
            with torch._C.DisableTorchFunctionSubclass():
                result = func(*_on_meta(args), **_on_meta(kwargs))
        except Exception as fault:  # it may need values, or be no function of tensors at all
            raise why from fault
        if not any(isinstance(one, Tensor) for one in flat(result)):
            raise why
        parts = [self._stand_in(one, called, names, why) for one in flat(result)]
        if isinstance(result, Tensor):
            in_place = called.endswith("_") and not called.endswith("__")
            return _written(args[0], parts[0]) if in_place else parts[0]
        return parts if isinstance(result, list) else tuple(parts)

    def _stand_in(self, one: Any, called: str, names: tuple[str, ...], why: CaptureError) -> Any:
        if not isinstance(one, Tensor):
            return one
        sizes = tuple(one.shape)
        each = sizes[0] // BATCH if sizes and sizes[0] % BATCH == 0 else 0
        shape = sizes[1:] if each == 1 else (each, *sizes[1:]) if each else sizes
        reason = "" if isinstance(why, _FollowsError) else str(why)
        name = self._append(Unknown(called.strip("_"), shape, len(names), reason), names, called.strip("_"), {})
        return Standin.full(self, name, sizes, shape)

    def rest(self, called: str, why: CaptureError, result: object = None) -> Standin:
        """Record what the module does from here on as one unknown layer, of which not even the shape is known.

        It reads the stand-ins in `result`, or all tensors that nothing reads yet.
        Raises: CaptureError, `why`, where no layer stands before it.
        """
        read = [self.settle(one).tensor_name for one in flat(result) if isinstance(one, Standin)]
        names = tuple(dict.fromkeys(read)) or self._builder.unread()
        if not names or names == (INPUT,):
            raise why
        name = self._append(Unknown(called, (), len(names), str(why)), names, called, {})
        return Standin.full(self, name, (BATCH,), ())

    def finish(self, result: Standin) -> Network:
        """The network whose output is `result`.  Raises: CaptureError where it was changed through another view."""
        self._check_current(result, "the result")
        return self._builder.build(self.settle(result).tensor_name)

    def arrays(self) -> dict[str, Array]:
        """The values of every weight met, copied to the CPU."""
        return {name: _values(name, tensor) for name, tensor in self._tensors.items()}

    def reshaped(self, tensor: Tensor, *shape: int) -> Tensor:
        """A weight of the module in another shape, under its own name."""
        with torch._C.DisableTorchFunctionSubclass():
            if tuple(tensor.shape) == shape:
                return tensor
            view = tensor.reshape(shape)
        name = self._names.get(id(tensor))
        if name is not None and tuple(self._tensors.get(name, view).shape) == shape:
            self._names[id(view)] = name
        self._kept += [tensor, view]  # alive, so that their identities stay their own
        return view

    def _weight(self, proposed: str, tensor: Tensor) -> str:
        """The name of a weight: the module's own, or `proposed` for one that the module computed on its way."""
        name = self._names.get(id(tensor))
        if name is None or tuple(self._tensors.get(name, tensor).shape) != tuple(tensor.shape):
            name = proposed
            self._names[id(tensor)] = name
        self._tensors[name] = tensor  # keeps it alive, so that its identity stays its own
        return name

    def _free(self, wanted: str) -> str:
        """`wanted`, with a number where it is taken or is no name of its own."""
        name = fresh(re.sub(r"\s", "_", wanted), self._taken, "_")
        self._taken.add(name)
        return name


NEVER_UNKNOWN = "never unknown"
"""Key of the handlers whose refusal is final: what they would answer is no feature map."""


def _values(name: str, tensor: Tensor) -> Array:
    if tensor.is_meta:
        raise CaptureError(
            f"{name}: is on the meta device and has no values; load the weights, or use with_weights=False"
        )
    kept = tensor.detach().to("cpu", copy=True)
    array: Array = (kept.float() if kept.dtype == torch.bfloat16 else kept).numpy()
    return array


def _on_meta(value: Any) -> Any:
    """The arguments of a call with every tensor on the meta device, which has shapes and no values."""
    if isinstance(value, Standin):
        return torch.empty(value.sizes, device="meta")
    if isinstance(value, Tensor):
        return torch.empty_like(value, device="meta")
    if isinstance(value, dict):
        return {key: _on_meta(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        made = [_on_meta(one) for one in value]
        return made if isinstance(value, list) else tuple(made)
    return value


def writes_in_place(called: str, handler: Handler, trace: Trace, args: Any, kwargs: Any) -> bool:
    """Whether a call changes the tensor it is given: `relu_`, `__iadd__`, or an argument inplace=True."""
    if called in IN_PLACE_OPERATORS or (called.endswith("_") and not called.endswith("__")):
        return True
    signature = inspect.signature(handler)
    return "inplace" in signature.parameters and bool(
        signature.bind(trace, *args, **kwargs).arguments.get("inplace", False)
    )


IN_PLACE_OPERATORS = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__"}


def _written(target: Standin, result: Standin) -> Standin:
    """The tensor that was written to, which from now on is `result`; its other views are out of date."""
    target.tensor_name, target.base, target.moves = result.tensor_name, result.base, result.moves
    target.pads, target.fill = result.pads, result.fill
    target.memory[0] += 1
    target.seen = target.memory[0]
    return target
