"""The networks of Araujo, Norris and Sim (2019), written by hand from their TF-Slim definitions.

What counts here is every window: kernel, stride, and padding as TF-Slim sets it. SAME pads max((ceil(n / s) - 1) s + k
- n, 0) px in all, the smaller half before, so the padding depends on the size of the map. VALID pads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from striate.geometry import Window
from striate.graph import INPUT, Builder, Network
from striate.ops import Add, AvgPool, Concat, Conv, MaxPool

Size = int | tuple[int, int]


class Slim:
    """A builder with TF-Slim's habits; every layer is called after its endpoint."""

    def __init__(self, name: str, image_px: int, *, same: bool = False) -> None:
        self.net = Builder(name, (3, image_px, image_px))
        self.valid = "SAME" if same else "VALID"  # what a stem pads with where its network is not aligned
        self._unnamed = 0

    def conv(
        self,
        x: str,
        channels: int,
        kernel: Size,
        stride: int = 1,
        pad: str = "SAME",
        *,
        name: str = "",
        groups: int = 1,
    ) -> str:
        windows = self._windows(x, kernel, stride, pad)
        op = Conv(self.net.shape(x)[0], channels, windows, groups, bias=False)
        return self.net.add(op, x, name=name or self._free())

    def convs(self, x: str, *steps: tuple[int, Size] | tuple[int, Size, int, str]) -> str:
        for step in steps:
            x = self.conv(x, *step)
        return x

    def max_pool(self, x: str, kernel: int, stride: int, pad: str, *, name: str = "") -> str:
        return self.net.add(MaxPool(self._windows(x, kernel, stride, pad)), x, name=name or self._free())

    def avg_pool(self, x: str) -> str:
        return self.net.add(AvgPool(self._windows(x, 3, 1, "SAME")), x, name=self._free())

    def concat(self, name: str, *branches: str) -> str:
        return self.net.add(Concat(), *branches, name=name)

    def add(self, name: str, *branches: str) -> str:
        return self.net.add(Add(), *branches, name=name)

    def _windows(self, x: str, kernel: Size, stride: int, pad: str) -> tuple[Window, ...]:
        kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
        return tuple(_window(n, k, stride, pad) for n, k in zip(self.net.shape(x)[1:], kernels, strict=True))

    def _free(self) -> str:
        self._unnamed += 1
        return f"step{self._unnamed}"


def _window(n: int, kernel: int, stride: int, pad: str) -> Window:
    total = {
        "SAME": max((-(-n // stride) - 1) * stride + kernel - n, 0),
        "VALID": 0,
        "EXPLICIT": kernel - 1,  # conv2d_same: pads as for stride 1, whatever the stride
    }[pad]
    return Window(kernel, stride, pad_lo=total // 2, pad_hi=total - total // 2)


def alexnet_v2(px: int) -> Network:
    s = Slim("alexnet_v2", px)
    x = s.conv(INPUT, 64, 11, 4, "VALID", name="conv1")
    x = s.max_pool(x, 3, 2, "VALID", name="pool1")
    x = s.conv(x, 192, 5, name="conv2")
    x = s.max_pool(x, 3, 2, "VALID", name="pool2")
    for i, channels in enumerate((384, 384, 256), start=3):
        x = s.conv(x, channels, 3, name=f"conv{i}")
    return s.net.build(s.max_pool(x, 3, 2, "VALID", name="pool5"))


def _vgg(name: str, px: int, convolutions: Sequence[int]) -> Network:
    s, x = Slim(name, px), INPUT
    for stage, (channels, count) in enumerate(zip((64, 128, 256, 512, 512), convolutions, strict=True), start=1):
        for i in range(count):
            x = s.conv(x, channels, 3, name=f"conv{stage}_{i + 1}")
        x = s.max_pool(x, 2, 2, "VALID", name=f"pool{stage}")
    return s.net.build(x)


def vgg_a(px: int) -> Network:
    return _vgg("vgg_a", px, (1, 1, 2, 2, 2))


def vgg_16(px: int) -> Network:
    return _vgg("vgg_16", px, (2, 2, 3, 3, 3))


def mobilenet_v1(px: int) -> Network:
    s = Slim("mobilenet_v1", px)
    x = s.conv(INPUT, 32, 3, 2, name="Conv2d_0")
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    channels = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, (stride, out) in enumerate(zip(strides, channels, strict=True), start=1):
        inside = s.net.shape(x)[0]
        x = s.conv(x, inside, 3, stride, name=f"Conv2d_{i}_depthwise", groups=inside)
        x = s.conv(x, out, 1, name=f"Conv2d_{i}_pointwise")
    return s.net.build(x)


def _resnet(name: str, px: int, units: Sequence[int]) -> Network:
    """Bottleneck units; the last unit of blocks 1 to 3 strides, in its 3x3, and its shortcut is subsampled."""
    s = Slim(name, px)
    x = s.conv(INPUT, 64, 7, 2, "EXPLICIT", name="conv1")
    x = s.max_pool(x, 3, 2, "SAME", name="pool1")
    for block, (width, count) in enumerate(zip((64, 128, 256, 512), units, strict=True), start=1):
        for unit in range(1, count + 1):
            stride = 2 if unit == count and block < 4 else 1
            y = s.convs(x, (width, 1), (width, 3, stride, "EXPLICIT"), (4 * width, 1))
            if s.net.shape(x)[0] != 4 * width:
                x = s.conv(x, 4 * width, 1, stride)
            elif stride > 1:
                x = s.max_pool(x, 1, stride, "VALID")
            x = s.add(f"block{block}" if unit == count else f"block{block}/unit_{unit}", y, x)
    return s.net.build(x)


def resnet_v1_50(px: int) -> Network:
    return _resnet("resnet_v1_50", px, (3, 4, 6, 3))


def resnet_v1_101(px: int) -> Network:
    return _resnet("resnet_v1_101", px, (3, 4, 23, 3))


def resnet_v1_152(px: int) -> Network:
    return _resnet("resnet_v1_152", px, (3, 8, 36, 3))


def resnet_v1_200(px: int) -> Network:
    return _resnet("resnet_v1_200", px, (3, 24, 36, 3))


def inception_v2(px: int) -> Network:
    s = Slim("inception_v2", px)
    x = s.conv(INPUT, 24, 7, 2, groups=3)
    x = s.conv(x, 64, 1, name="Conv2d_1a_7x7")
    x = s.max_pool(x, 3, 2, "SAME", name="MaxPool_2a_3x3")
    x = s.conv(x, 64, 1, name="Conv2d_2b_1x1")
    x = s.conv(x, 192, 3, name="Conv2d_2c_3x3")
    x = s.max_pool(x, 3, 2, "SAME", name="MaxPool_3a_3x3")

    def mixed(name: str, x: str, a: int, b: tuple[int, int], c: tuple[int, int], d: int) -> str:
        return s.concat(
            name,
            s.conv(x, a, 1),
            s.convs(x, (b[0], 1), (b[1], 3)),
            s.convs(x, (c[0], 1), (c[1], 3), (c[1], 3)),
            s.conv(s.avg_pool(x) if name != "Mixed_5c" else s.max_pool(x, 3, 1, "SAME"), d, 1),
        )

    def reduction(name: str, x: str, b: tuple[int, int], c: tuple[int, int]) -> str:
        return s.concat(
            name,
            s.convs(x, (b[0], 1), (b[1], 3, 2, "SAME")),
            s.convs(x, (c[0], 1), (c[1], 3), (c[1], 3, 2, "SAME")),
            s.max_pool(x, 3, 2, "SAME"),
        )

    x = mixed("Mixed_3b", x, 64, (64, 64), (64, 96), 32)
    x = mixed("Mixed_3c", x, 64, (64, 96), (64, 96), 64)
    x = reduction("Mixed_4a", x, (128, 160), (64, 96))
    x = mixed("Mixed_4b", x, 224, (64, 96), (96, 128), 128)
    x = mixed("Mixed_4c", x, 192, (96, 128), (96, 128), 128)
    x = mixed("Mixed_4d", x, 160, (128, 160), (128, 160), 96)
    x = mixed("Mixed_4e", x, 96, (128, 192), (160, 192), 96)
    x = reduction("Mixed_5a", x, (128, 192), (192, 256))
    x = mixed("Mixed_5b", x, 352, (192, 320), (160, 224), 128)
    return s.net.build(mixed("Mixed_5c", x, 352, (192, 320), (192, 224), 128))


def _stem_v3(s: Slim) -> str:
    x = s.conv(INPUT, 32, 3, 2, s.valid, name="Conv2d_1a_3x3")
    x = s.conv(x, 32, 3, 1, s.valid, name="Conv2d_2a_3x3")
    x = s.conv(x, 64, 3, name="Conv2d_2b_3x3")
    x = s.max_pool(x, 3, 2, s.valid, name="MaxPool_3a_3x3")
    x = s.conv(x, 80, 1, 1, s.valid, name="Conv2d_3b_1x1")
    x = s.conv(x, 192, 3, 1, s.valid, name="Conv2d_4a_3x3")
    return s.max_pool(x, 3, 2, s.valid, name="MaxPool_5a_3x3")


def _mixed_5(s: Slim, name: str, x: str, first: int, pooled: int) -> str:
    return s.concat(
        name,
        s.conv(x, first, 1),
        s.convs(x, (48, 1), (64, 5)),
        s.convs(x, (64, 1), (96, 3), (96, 3)),
        s.conv(s.avg_pool(x), pooled, 1),
    )


def inception_v3(px: int) -> Network:
    s = Slim("inception_v3", px)
    x = _stem_v3(s)
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _mixed_5(s, name, x, 64, pooled)
    x = s.concat(
        "Mixed_6a",
        s.conv(x, 384, 3, 2, "VALID"),
        s.convs(x, (64, 1), (96, 3), (96, 3, 2, "VALID")),
        s.max_pool(x, 3, 2, "VALID"),
    )
    for name, c in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = s.concat(
            name,
            s.conv(x, 192, 1),
            s.convs(x, (c, 1), (c, (1, 7)), (192, (7, 1))),
            s.convs(x, (c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))),
            s.conv(s.avg_pool(x), 192, 1),
        )
    x = s.concat(
        "Mixed_7a",
        s.convs(x, (192, 1), (320, 3, 2, "VALID")),
        s.convs(x, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, "VALID")),
        s.max_pool(x, 3, 2, "VALID"),
    )
    for name in ("Mixed_7b", "Mixed_7c"):
        b, c = s.conv(x, 384, 1), s.convs(x, (448, 1), (384, 3))
        crosses = [s.conv(y, 384, k) for y in (b, c) for k in ((1, 3), (3, 1))]
        x = s.concat(name, s.conv(x, 320, 1), *crosses, s.conv(s.avg_pool(x), 192, 1))
    return s.net.build(x)


def inception_v4(px: int) -> Network:
    s = Slim("inception_v4", px)
    x = s.conv(INPUT, 32, 3, 2, "VALID", name="Conv2d_1a_3x3")
    x = s.conv(x, 32, 3, 1, "VALID", name="Conv2d_2a_3x3")
    x = s.conv(x, 64, 3, name="Conv2d_2b_3x3")
    x = s.concat("Mixed_3a", s.max_pool(x, 3, 2, "VALID"), s.conv(x, 96, 3, 2, "VALID"))
    long = s.convs(x, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, "VALID"))
    x = s.concat("Mixed_4a", s.convs(x, (64, 1), (96, 3, 1, "VALID")), long)
    x = s.concat("Mixed_5a", s.conv(x, 192, 3, 2, "VALID"), s.max_pool(x, 3, 2, "VALID"))
    for letter in "bcde":
        x = s.concat(
            f"Mixed_5{letter}",
            s.conv(x, 96, 1),
            s.convs(x, (64, 1), (96, 3)),
            s.convs(x, (64, 1), (96, 3), (96, 3)),
            s.conv(s.avg_pool(x), 96, 1),
        )
    x = s.concat(
        "Mixed_6a",
        s.conv(x, 384, 3, 2, "VALID"),
        s.convs(x, (192, 1), (224, 3), (256, 3, 2, "VALID")),
        s.max_pool(x, 3, 2, "VALID"),
    )
    for letter in "bcdefgh":
        x = s.concat(
            f"Mixed_6{letter}",
            s.conv(x, 384, 1),
            s.convs(x, (192, 1), (224, (1, 7)), (256, (7, 1))),
            s.convs(x, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
            s.conv(s.avg_pool(x), 128, 1),
        )
    x = s.concat(
        "Mixed_7a",
        s.convs(x, (192, 1), (192, 3, 2, "VALID")),
        s.convs(x, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, "VALID")),
        s.max_pool(x, 3, 2, "VALID"),
    )
    for letter in "bcd":
        b, c = s.conv(x, 384, 1), s.convs(x, (384, 1), (448, (3, 1)), (512, (1, 3)))
        crosses = [s.conv(y, 256, k) for y in (b, c) for k in ((1, 3), (3, 1))]
        x = s.concat(f"Mixed_7{letter}", s.conv(x, 256, 1), *crosses, s.conv(s.avg_pool(x), 256, 1))
    return s.net.build(x)


def inception_resnet_v2(px: int, *, same: bool = False) -> Network:
    s = Slim("inception_resnet_v2_same" if same else "inception_resnet_v2", px, same=same)

    def residual(name: str, x: str, *branches: str) -> str:
        up = s.conv(s.concat(s._free(), *branches), s.net.shape(x)[0], 1)
        return s.add(name, up, x)

    x = _mixed_5(s, "Mixed_5b", _stem_v3(s), 96, 64)
    for i in range(10):
        branches = s.conv(x, 32, 1), s.convs(x, (32, 1), (32, 3)), s.convs(x, (32, 1), (48, 3), (64, 3))
        x = residual(f"block35_{i + 1}", x, *branches)
    x = s.concat(
        "Mixed_6a",
        s.conv(x, 384, 3, 2, s.valid),
        s.convs(x, (256, 1), (256, 3), (384, 3, 2, s.valid)),
        s.max_pool(x, 3, 2, s.valid),
    )
    for i in range(20):
        branches = s.conv(x, 192, 1), s.convs(x, (128, 1), (160, (1, 7)), (192, (7, 1)))
        x = residual(f"block17_{i + 1}", x, *branches)
    x = s.concat(
        "Mixed_7a",
        s.convs(x, (256, 1), (384, 3, 2, s.valid)),
        s.convs(x, (256, 1), (288, 3, 2, s.valid)),
        s.convs(x, (256, 1), (288, 3), (320, 3, 2, s.valid)),
        s.max_pool(x, 3, 2, s.valid),
    )
    for i in range(10):
        branches = s.conv(x, 192, 1), s.convs(x, (192, 1), (224, (1, 3)), (256, (3, 1)))
        x = residual(f"block8_{i + 1}", x, *branches)
    return s.net.build(s.conv(x, 1536, 1, name="Conv2d_7b_1x1"))


def inception_resnet_v2_same(px: int) -> Network:
    return inception_resnet_v2(px, same=True)


Make = Callable[[int], Network]
