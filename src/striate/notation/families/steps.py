"""The few layers that the families are made of, appended to a builder; each returns the new tensor's name."""

from __future__ import annotations

from striate.geometry import Window
from striate.graph import Builder
from striate.ops import Activation, BatchNorm, Conv, Linear, MaxPool


def conv(
    net: Builder, x: str, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> str:
    """A square convolution padded by (kernel - 1) / 2."""
    window = Window(kernel, stride, pad_lo=(kernel - 1) // 2, pad_hi=(kernel - 1) // 2)
    return net.add(Conv(net.shape(x)[0], channels, (window, window), groups, bias), x, name=name)


def norm(net: Builder, x: str, name: str) -> str:
    """Batch normalisation."""
    return net.add(BatchNorm(net.shape(x)[0]), x, name=name)


def act(net: Builder, x: str, name: str, curve: str = "relu") -> str:
    """An activation."""
    return net.add(Activation(curve), x, name=name)


def max_pool(net: Builder, x: str, name: str, kernel: int, *, stride: int, pad: int = 0) -> str:
    """A square max pooling."""
    window = Window(kernel, stride, pad_lo=pad, pad_hi=pad)
    return net.add(MaxPool((window, window)), x, name=name)


def dense(net: Builder, x: str, name: str, features: int) -> str:
    """A dense layer with bias."""
    return net.add(Linear(net.shape(x)[0], features), x, name=name)
