"""Every kind of layer, one row each: to add a layer, write its file and its row."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from striate.ops.activation import Activation, LogSoftmax, Softmax
from striate.ops.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from striate.ops.base import Op
from striate.ops.batch_norm import BatchNorm
from striate.ops.blur_pool import BlurPool
from striate.ops.conv import Conv
from striate.ops.elementwise import Affine, Div, PReLU, Scale, Shift, Sub
from striate.ops.linear import Linear
from striate.ops.merge import Add, Concat, Mul
from striate.ops.moving import ChannelShuffle, Permute, PixelShuffle, PixelUnshuffle, Reshape, Slice
from striate.ops.norm import GroupNorm, LayerNorm, LocalResponseNorm
from striate.ops.padding import Pad
from striate.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from striate.ops.power import Power
from striate.ops.reduce import ChannelReduce, GlobalReduce
from striate.ops.resize import Resize
from striate.ops.shaping import Dropout, Flatten, Identity
from striate.ops.transposed import ConvTranspose

OPS: Mapping[str, type[Op]] = MappingProxyType(
    {
        op.kind: op
        for op in (
            Conv,
            ConvTranspose,
            Linear,
            BatchNorm,
            GroupNorm,
            LayerNorm,
            LocalResponseNorm,
            Activation,
            PReLU,
            Softmax,
            LogSoftmax,
            MaxPool,
            AvgPool,
            BlurPool,
            GlobalAvgPool,
            AdaptiveAvgPool,
            AdaptiveMaxPool,
            GlobalReduce,
            ChannelReduce,
            Resize,
            Pad,
            Slice,
            Reshape,
            Permute,
            ChannelShuffle,
            PixelShuffle,
            PixelUnshuffle,
            Flatten,
            Dropout,
            Identity,
            Add,
            Mul,
            Sub,
            Div,
            Scale,
            Shift,
            Affine,
            Power,
            Concat,
        )
    }
)
