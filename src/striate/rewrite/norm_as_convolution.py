"""Write a batch normalisation of the network's input as a depthwise 1 x 1 convolution, where nothing can take it.

    y[c] = s[c] x[c] + t[c]:   W[c, 0] = s[c];   b[c] = t[c]

It is the same arithmetic: a multiplication and an addition a value, and no batch normalisation is left. This is what
becomes of the preparation of pixels in front of a stem that pads: the zeros of the padding are zeros after the
preparation, which no weight of the stem can say; folding it all the same takes a constant channel
(`absorb_input_norm`), which costs more than it saves. ONNX Runtime 1.32, one thread, a stem 64C7s2 on 224 px: this form
as fast as preparation outside the file, the constant channel some per cent slower.

Legal: the norm reads the network's input, maps (C, H, W), and is an affine map with real numbers.
Keeps: function, and the layer's name.
"""

from __future__ import annotations

from striate.geometry import Window
from striate.graph import INPUT, Network, Node
from striate.ops import BatchNorm, Conv
from striate.rewrite.affine import fault
from striate.rewrite.edit import Change, View, everywhere
from striate.rewrite.note import Note
from striate.rewrite.push_batch_norm import why_not

NAME = "norm_as_convolution"


def norm_as_convolution(network: Network) -> tuple[Network, tuple[Note, ...]]:
    """Return the network with norms of its input as depthwise convolutions, and what became of each."""
    return everywhere(network, NAME, _spell)


def _spell(view: View, bn: Node) -> Change | str | None:
    if not isinstance(bn.op, BatchNorm) or bn.inputs[0] != INPUT or len(view.network.input_shape) == 1:
        return None
    weights = view.weights(bn)
    if reason := fault(bn.op, weights):
        return reason
    channels, *axes = view.network.input_shape
    scale, shift = bn.op.scale_shift(weights)
    op = Conv(channels, channels, tuple(Window(1) for _ in axes), groups=channels)
    arrays = {"weight": scale.reshape(channels, 1, *(1,) * len(axes)), "bias": shift}
    node, arrays = view.weighted(bn.name, op, bn.inputs, arrays, bn)
    reason = why_not(view, bn)
    what = "written as a depthwise 1 x 1 convolution" + (f", since it {reason}" if reason else "")
    return Change(bn.name, what, {bn.name: (node,)}, arrays)
