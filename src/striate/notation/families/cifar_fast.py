"""The network that reaches 94 % on CIFAR-10 in seconds of a GPU: Jordan 2024, arXiv:2404.00498, sec. 3 (airbench94).

A 2x2 convolution without padding for whitening filters and their negatives, three blocks of two 3x3 convolutions
with the pooling directly behind the first, where it saves three quarters of the work that follows, a last pooling,
a dense layer without bias, and logits scaled by 1/9. The paper's last pooling is over 3x3, which at 25 to 32 px is the
whole map; here it is the whole map at every size, so that training may begin with smaller images. The recipe that
trains it freezes the first filters (whiten), lets the others pass their input on (init = "dirac") and fixes the scales
of normalisation (bn_scale).
"""

from __future__ import annotations

from collections.abc import Container

from striate.geometry import Window
from striate.graph import INPUT, Builder, Network
from striate.notation.families.steps import act, conv, max_pool, norm
from striate.ops import AdaptiveMaxPool, Add, Affine, Conv, Flatten, Linear, Shape

CHANNELS = (64, 256, 256)
STEM_KERNEL = 2
LOGIT_SCALE = 1 / 9


def cifar_fast(
    input_shape: Shape,
    classes: int = 10,
    *,
    channels: tuple[int, int, int] = CHANNELS,
    deeper: Container[int] = (),
) -> Network:
    """The network for images of 9 px and more; `deeper` counts the blocks, from 1, that have a third convolution."""
    net = Builder("cifar_fast", input_shape)
    window = Window(STEM_KERNEL)
    filters = 2 * input_shape[0] * STEM_KERNEL**2
    x = net.add(Conv(input_shape[0], filters, (window, window), 1, True), INPUT, name="whiten")
    x = act(net, x, "whiten_gelu", "gelu")
    for number, width in enumerate(channels, start=1):
        x = _block(net, x, f"block{number}", width, is_deeper=number in deeper)
    x = net.add(Flatten(), net.add(AdaptiveMaxPool((1, 1)), x, name="pool"), name="flatten")
    x = net.add(Linear(net.shape(x)[0], classes, bias=False), x, name="head")
    return net.build(net.add(Affine(LOGIT_SCALE), x, name="scale"))


def _block(net: Builder, x: str, name: str, width: int, *, is_deeper: bool) -> str:
    """Two convolutions; a third with a shortcut around the last two, as in airbench96, where it is deeper."""
    x = max_pool(net, conv(net, x, f"{name}.conv1", width, 3), f"{name}.pool", 2, stride=2)
    x = shortcut = act(net, norm(net, x, f"{name}.norm1"), f"{name}.gelu1", "gelu")
    x = conv(net, x, f"{name}.conv2", width, 3)
    x = act(net, norm(net, x, f"{name}.norm2"), f"{name}.gelu2", "gelu")
    if is_deeper:
        x = norm(net, conv(net, x, f"{name}.conv3", width, 3), f"{name}.norm3")
        x = act(net, net.add(Add(), x, shortcut, name=f"{name}.add"), f"{name}.gelu3", "gelu")
    return x
