"""A torch module as a Network, captured by following its function calls without executing them.

The module's own `forward` runs once on a stand-in tensor that has a shape and nothing else. Every torch function that
meets it is looked up in a table, becomes a layer, and answers with the next stand-in, whose shape the layer itself
gives. So Python control flow on shapes just works, functional code is seen, nothing is computed, and a deep network
takes milliseconds where tracing compilers take seconds. `torch.export` is the second opinion in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from striate.errors import CaptureError, GeometryError, ShapeError
from striate.graph.network import INPUT, Network
from striate.graph.torch.functions import FUNCTIONS
from striate.graph.torch.standin import Standin
from striate.graph.torch.trace import Trace
from striate.ops import Shape


def capture(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    name: str | None = None,
    with_weights: bool = True,
    strict: bool = True,
) -> Network:
    """The network that `module` computes at test time for images of `input_shape` (C, H, W).

    with_weights: copy the weights' values; without them only the architecture is taken.
    strict: refuse a function that striate does not know; else it becomes an `Unknown` layer, which can be inspected,
        and so does all that a module does from where it raises, looks at values, or returns no single tensor.
    The module is left as it was: training flags of every part, buffers, hooks, gradients and random state. Hooks that
    the caller registered run, since they may change what a part returns; they are given tensors without values.
    Raises: CaptureError that names the function or module which striate does not know, or what the module raised.
    """
    shape: Shape = tuple(input_shape)
    called = name or type(module).__name__
    if not isinstance(module, nn.Module):
        raise CaptureError(f"{called}: is no torch module; give a torch.nn.Module")
    names = {id(t): key for key, t in reversed(list(module.state_dict(keep_vars=True).items()))}
    trace = Trace(called, shape, names, FUNCTIONS, strict=strict)
    with (
        evaluating(module),
        _buffers_kept(module),
        torch.random.fork_rng(devices=sorted({p.get_device() for p in module.parameters() if p.is_cuda})),
        _paths(module, trace),
        torch.no_grad(),
    ):
        result = _result(module, trace, called, shape, strict=strict)
    if result.tensor_name == INPUT and not result.moves and not result.pads:
        raise CaptureError(f"{called}: returns its input; a network needs at least one layer")
    network = trace.finish(result)
    return network.with_weights(trace.arrays()) if with_weights else network


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of `module` in eval mode, and back to its own flag afterwards."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, flag in flags:
            part.training = flag


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Give every buffer that a forward changes, such as a counter, its value back."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers() if not buffer.is_meta]
    try:
        yield
    finally:
        for buffer, value in kept:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


@contextmanager
def _paths(module: nn.Module, trace: Trace) -> Iterator[None]:
    """Tell `trace` which part of `module` is running."""
    path_of = {id(part): path for path, part in module.named_modules()}

    def enter(part: nn.Module, _: Any) -> None:
        trace.enter(path_of.get(id(part), ""), part)

    def leave(part: nn.Module, _: Any, __: Any) -> None:
        trace.leave()

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _result(module: nn.Module, trace: Trace, called: str, shape: Shape, *, strict: bool) -> Standin:
    """The one tensor that the module returns; where there is none and `strict` is off, an unknown layer's."""
    try:
        result = _call(module, trace, called, shape)
    except CaptureError as fault:
        if strict:
            raise
        return trace.rest("rest", fault)
    if isinstance(result, Standin):
        return result
    several = CaptureError(
        f"{called}: returns {type(result).__name__}, not one tensor; wrap it in a module that returns the logits"
    )
    if strict:
        raise several
    return trace.rest("results", several, result)


def _call(module: nn.Module, trace: Trace, called: str, shape: Shape) -> object:
    try:
        return module(trace.input())
    except CaptureError:
        raise
    except (ShapeError, GeometryError) as fault:
        raise CaptureError(f"{called}: does not fit an input of {'x'.join(map(str, shape))}: {fault}") from None
    except Exception as fault:  # the module is the caller's: whatever it raises is reported, not passed on
        text = " ".join(str(fault).split())
        raise CaptureError(
            f"{called}: {trace.where()} raised {type(fault).__name__}: {text}; call it on a real batch of "
            f"{'x'.join(map(str, shape))} images to see where"
        ) from fault
