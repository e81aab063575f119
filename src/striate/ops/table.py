"""Every kind of layer, one row each: to add a layer, write its file and its row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from striate.ops.activation import Activation, Softmax
from striate.ops.base import Op
from striate.ops.batch_norm import BatchNorm
from striate.ops.conv import Conv
from striate.ops.linear import Linear
from striate.ops.merge import Add, Concat, Mul
from striate.ops.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool
from striate.ops.shaping import Dropout, Flatten, Identity

OPS: Mapping[str, type[Op]] = MappingProxyType(
    {
        op.kind: op
        for op in (
            Conv,
            Linear,
            BatchNorm,
            Activation,
            Softmax,
            MaxPool,
            AvgPool,
            GlobalAvgPool,
            AdaptiveAvgPool,
            Flatten,
            Dropout,
            Identity,
            Add,
            Mul,
            Concat,
        )
    }
)
