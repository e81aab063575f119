"""Every torch function that capture reads, against torch itself in float64: the layers it becomes, and their result."""

from __future__ import annotations

import numpy as np
import pytest

from striate.graph import reference
from striate.graph.from_torch import capture

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning"),  # torch on its own speed; wanted here
]
C, H, W = 6, 8, 10


class Does(nn.Module):
    """What `work` makes of the images, with weights at hand."""

    def __init__(self, work):
        super().__init__()
        self.work = work
        self.of_channels = nn.Parameter(torch.randn(C, 1, 1))
        self.of_last = nn.Parameter(torch.randn(C))
        self.matrix = nn.Parameter(torch.randn(C, 4))
        self.dense = nn.Linear(C, 5)
        self.wide = nn.Linear(W, 3)
        self.up = nn.ConvTranspose2d(C, 4, (3, 2), stride=(2, 3), padding=1, output_padding=(1, 0), groups=2)
        self.slopes = nn.PReLU(C)

    def forward(self, x):
        return self.work(self, x)


def last(x):
    return x.permute(0, 2, 3, 1)


def first(x):
    return x.permute(0, 3, 1, 2)


def shuffled(_, x):
    return x.view(-1, 2, C // 2, H, W).transpose(1, 2).reshape(-1, C, H, W)


def in_blocks(_, x):
    return x.view(-1, C, H // 2, 2, W // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, 4 * C, H // 2, W // 2)


def patches(_, x):
    return x.reshape(-1, C, H // 2, 2, W // 5, 5).permute(0, 1, 3, 5, 2, 4).reshape(-1, C, 10, 8)


def radix(_, x):
    split = F.softmax(x.mean((2, 3)).view(-1, 1, 2, C // 2).transpose(1, 2), dim=1).reshape(-1, C)
    return x * split.view(-1, C, 1, 1)


def rms(_, x):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5)


def gated_half(_, x):
    a, b = last(x).split((2, 4), dim=-1)
    return first(torch.cat([torch.sigmoid(a) * a, b], dim=-1))


MOVES = {
    "channel shuffle": (shuffled, ["channel_shuffle"]),
    "pixel unshuffle by hand": (in_blocks, ["pixel_unshuffle", "channel_shuffle"]),
    "patches": (patches, ["reshape", "permute", "reshape"]),
    "there and back": (lambda _, x: torch.relu(first(last(x))), ["activation"]),
    "flatten": (lambda _, x: x.flatten(1), ["flatten"]),
    "turn, then flatten": (lambda _, x: last(x).flatten(1), ["permute", "flatten"]),
    "unflatten": (lambda _, x: x.unflatten(1, (2, 3)).sum(2), ["channel_reduce"]),
    "every other pixel": (lambda _, x: x[:, :, 1::2, ::3], ["slice"]),
    "space to depth": (
        lambda _, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2]], 1),
        ["slice", "slice", "slice", "concat"],
    ),
    "one channel": (lambda _, x: x[:, 2] .unsqueeze(1) * x, ["slice", "mul"]),
    "chunks": (lambda _, x: torch.cat(x.chunk(2, 1)[::-1], 1), ["slice", "slice", "concat"]),
    "narrow": (lambda _, x: x.narrow(1, 1, 3), ["slice"]),
    "unbind": (lambda _, x: sum(x.unflatten(1, (2, 3)).unbind(1)), None),
    "pixel shuffle": (lambda _, x: F.pixel_shuffle(x[:, :4], 2), ["slice", "pixel_shuffle"]),
    "movedim": (lambda _, x: x.movedim(1, -1).relu().movedim(-1, 1), ["activation"]),
    "shuffle, then half": (lambda m, x: shuffled(m, x)[:, :3].relu(), ["channel_shuffle", "slice", "activation"]),
    "slice behind a permutation": (gated_half, ["slice", "activation", "mul", "slice", "concat"]),
}  # fmt: skip

ARITHMETIC = {
    "layer scale": (lambda m, x: x * m.of_channels + x, ["scale", "add"]),
    "scale of the last axis": (lambda m, x: first(last(x) * m.of_last), ["scale"]),
    "shift": (lambda m, x: m.of_channels + x, ["shift"]),
    "numbers": (lambda _, x: (2 * x - 1) / 4 + (3 - x), ["affine"] * 4 + ["add"]),
    "reciprocal": (lambda _, x: 1 / (x.abs() + 1), ["activation", "affine", "power"]),
    "roots": (lambda _, x: torch.sqrt(x.abs()) + (x.abs() + 1).pow(0.3), None),
    "square": (lambda _, x: x**2 - torch.square(x) * 0.5, ["mul", "mul", "affine", "sub"]),
    "quotient": (lambda _, x: x / (x.abs().amax(1, keepdim=True) + 1), None),
    "addcmul": (lambda m, x: torch.addcmul(x, x, x, value=0.5), ["mul", "affine", "add"]),
    "gate and map spread over each other": (
        lambda _, x: x.mean((2, 3), keepdim=True) * x[:, :1], ["global_avg_pool", "slice", "mul"],
    ),
    "bounds": (lambda _, x: x.clamp(-0.3, 0.5) + x.clamp(min=0.1) + x.clamp(max=0.2) + x.clamp(min=0), None),
    "prelu": (lambda m, x: m.slopes(x), ["prelu"]),
    "dense over channels last": (lambda m, x: first(m.dense(last(x))), ["conv"]),
    "dense over columns": (lambda m, x: m.wide(x), ["permute", "conv", "permute"]),
    "matrix": (lambda m, x: first(last(x) @ m.matrix), ["conv"]),
    "tokens": (lambda m, x: m.dense(x.flatten(2).transpose(1, 2)), ["reshape", "conv", "permute"]),
    "transposed": (lambda m, x: m.up(x), ["conv_transpose"]),
    "columns beside each other": (lambda _, x: torch.cat([x, x[..., :3]], 3), ["permute", "slice", "permute", "concat",
                                                                              "permute"]),
}  # fmt: skip

REDUCTIONS = {
    "mean and most over channels": (
        lambda _, x: torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1),
        ["channel_reduce", "channel_reduce", "concat"],
    ),
    "global": (lambda _, x: x.mean((2, 3)) + x.amax((-2, -1)), ["global_avg_pool", "global_reduce", "add"]),
    "rows": (lambda _, x: x.mean(3, keepdim=True) + x.max(2, keepdim=True)[0].mean(3, keepdim=True), None),
    "sum of rows": (lambda _, x: x.sum(3), None),
    "channels last": (lambda _, x: last(x).mean(-1), None),
    "softmax over channels": (lambda _, x: x.softmax(1), ["softmax"]),
    "log softmax": (lambda _, x: F.log_softmax(x, 1) + torch.log_softmax(x, -1), None),
    "softmax over rows": (lambda _, x: F.softmax(x, dim=2), ["permute", "softmax", "permute"]),
    "attention over a split": (radix, None),
    "rms by hand": (rms, ["mul", "channel_reduce", "affine", "power", "mul"]),
    "rms": (lambda m, x: first(F.rms_norm(last(x), (C,), m.of_last, 1e-5)), None),
    "normalize": (lambda _, x: F.normalize(x, dim=1) + F.normalize(x, dim=-1), None),
    "layer norm": (lambda m, x: first(F.layer_norm(last(x), (C,), m.of_last)), ["layer_norm"]),
    "layer norm over columns": (lambda _, x: F.layer_norm(x, (W,)), ["permute", "layer_norm", "permute"]),
    "group norm": (lambda m, x: F.group_norm(x, 3, m.of_last), ["group_norm"]),
    "instance norm": (lambda _, x: F.instance_norm(x), ["group_norm"]),
    "response norm": (lambda _, x: F.local_response_norm(x, 3), ["local_response_norm"]),
    "length": (lambda _, x: torch.norm(x, p=2, dim=(2, 3)) + torch.linalg.vector_norm(x, dim=(2, 3)), None),
}  # fmt: skip

WINDOWS = {
    "wide padding": (lambda _, x: F.avg_pool2d(F.pad(x, (2, 0, 0, 3)), 2), ["pad", "avg_pool"]),
    "uneven padding": (lambda _, x: F.avg_pool2d(F.pad(x, (1, 0, 2, 1)), (3, 2)), ["avg_pool"]),
    "padding for a maximum": (lambda _, x: F.max_pool2d(F.pad(x, (1, 0), value=float("-inf")), 2), ["max_pool"]),
    "padding that is no window's": (lambda _, x: F.pad(x, (1, 2, 0, 3), value=0.5).relu(), ["pad", "activation"]),
    "reflection": (lambda _, x: F.pad(x, (1, 2, 3, 0), mode="reflect"), ["pad"]),
    "cropped": (lambda _, x: F.pad(x, (-1, 0, 0, -2)), ["pad"]),
    "nearest": (lambda _, x: F.interpolate(x, scale_factor=(2, 3)), ["resize"]),
    "linear": (lambda _, x: F.interpolate(x, (5, 13), mode="bilinear", align_corners=True), ["resize"]),
    "adaptive": (lambda _, x: F.adaptive_avg_pool2d(x, (3, 4)) + F.adaptive_max_pool2d(x, (3, 4)), None),
}


@pytest.mark.parametrize("case", [*MOVES.items(), *ARITHMETIC.items(), *REDUCTIONS.items(), *WINDOWS.items()],
                         ids=lambda case: case[0])  # fmt: skip
def test_it_is_captured_as_these_layers_and_computes_the_same(case):
    _, (work, kinds) = case
    module = Does(work).double().eval()
    network = capture(module, (C, H, W))
    if kinds is not None:
        assert [node.op.kind for node in network] == kinds
    x = torch.randn(2, C, H, W, dtype=torch.float64)
    with torch.inference_mode():
        want = module(x).numpy()
    got = reference.output(network, x.numpy())
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)  # sums of up to 80 values of size 1, in two orders


def test_what_moves_waits_and_is_made_once_however_many_read_it():
    class Shuffles(nn.Module):
        def forward(self, x):
            return shuffled(self, x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shuffle, self.conv = Shuffles(), nn.Conv2d(3, 5, 1)

        def forward(self, x):
            a, b = self.shuffle(x).chunk(2, 1)
            return torch.cat([a, self.conv(b)], 1)

    network = capture(Net(), (C, H, W))
    assert [(node.name, node.op.kind) for node in network] == [
        ("channel_shuffle", "channel_shuffle"),
        ("slice", "slice"),
        ("conv", "conv"),
        ("slice_2", "slice"),
        ("concat", "concat"),
    ]
