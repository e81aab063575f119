"""Networks that a person spells: a notation, a family, a callable, an .onnx file."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from striate.errors import CaptureError, UsageError
from striate.graph import Network
from striate.ops import Shape

CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def spelled_network(net: str, input_shape: Shape | None = None, classes: int | None = None) -> Network:
    """The network that `net` spells; all of `read_network` but a run folder.  Raises: as there."""
    if Path(net).suffix == ".onnx":
        from striate.graph.from_onnx import from_onnx

        return from_onnx(Path(net), input_shape)
    if input_shape is None:
        raise UsageError(f"{net}: the size of the input is not known; give it, as in --input 3x224x224")
    if CALLABLE.fullmatch(net):
        return captured(net, input_shape, strict=True)[0]
    from striate.notation import read

    return read(net, input_shape, classes)


def captured(target: str, input_shape: Shape, *, strict: bool) -> tuple[Network, tuple[str, ...]]:
    """The network of what "package.module:callable" returns, and what is to be said of how it was captured.

    strict: as in `striate.graph.from_torch.capture`, and with the weights' values; else the architecture alone.
    Raises: CaptureError.
    """
    from striate.graph.from_torch import capture

    module = call(target)
    network = capture(module, input_shape, name=target, with_weights=strict, strict=strict)
    trains = getattr(module, "training", False)
    remark = f"{target}: is in training mode; this is what it computes at test time, as after .eval()"
    return network, (remark,) if trains else ()


def call(target: str) -> Any:
    """What "package.module:callable" returns; the current folder is searched first, as Python does.

    Raises: CaptureError if it cannot be imported or called without arguments.
    """
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as fault:
        raise CaptureError(f"{target}: cannot be imported ({fault}); run where the module lies") from None
    finally:
        sys.path.remove(here)
    make = getattr(module, attribute, None)
    if not callable(make):
        raise CaptureError(f"{target}: {module_name} has no callable {attribute!r}; name a function or class")
    try:
        return make()
    except TypeError as fault:
        raise CaptureError(f"{target}: cannot be called without arguments ({fault}); wrap it in a function") from None


def parse_shape(text: str) -> Shape:
    """(3, 224, 224) from "3x224x224".  Raises: UsageError."""
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(f"input {text!r} is not channels x height x width; write it as in 3x224x224")
    return shape
