"""One model by four roads: captured from torch, by our own writer, and by both of torch's exporters. One table."""

from __future__ import annotations

import importlib.util
import io
import warnings

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402 - torch is optional here
from torch import nn  # noqa: E402

from striate.graph import Network, initialise  # noqa: E402
from striate.graph.from_onnx import from_onnx  # noqa: E402
from striate.graph.from_torch import capture  # noqa: E402
from striate.graph.reference import output  # noqa: E402
from striate.graph.to_onnx import to_onnx  # noqa: E402
from striate.graph.to_torch import to_module  # noqa: E402
from striate.measure import inspect_network  # noqa: E402
from striate.notation import read  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"),
]
NOTHING = ("identity", "dropout")  # what does nothing at test time, which exporters leave out


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Gated(nn.Module):
    """Squeeze-excite, its gate made by dense layers or by convolutions."""

    def __init__(self, channels: int, *, dense: bool) -> None:
        super().__init__()
        make = nn.Linear if dense else lambda a, b: nn.Conv2d(a, b, 1)
        self.down, self.up, self.dense = make(channels, 4), make(4, channels), dense

    def forward(self, x):
        g = x.mean((2, 3), keepdim=not self.dense)
        g = torch.sigmoid(self.up(F.silu(self.down(g))))
        return x * (g[:, :, None, None] if self.dense else g)


class Shuffled(nn.Module):
    """ShuffleNet's unit: half of the channels pass, half are convolved; then all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left, self.norm(self.conv(right))), dim=1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class Tied(nn.Module):
    """A convolution and a dense layer that are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 3)

    def forward(self, x):
        return self.dense(self.dense(self.conv(self.conv(x)).mean((2, 3))))


def family(name: str) -> nn.Module:
    return to_module(initialise(read(name, (3, 64, 64), 10), seed=1))


MODELS = {
    "plain": (lambda: nn.Sequential(
        nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0)), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Conv2d(6, 4, 1, bias=False), nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4, 3)), (3, 13, 10)),
    "resnet18": (lambda: family("resnet18"), (3, 64, 64)),
    "mobilenet v2": (lambda: family("mobilenet_v2"), (3, 64, 64)),
    "squeeze-excite": (lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), Gated(6, dense=True), Gated(6, dense=False)), (3, 9, 8)),
    "uneven padding": (lambda: nn.Sequential(
        nn.ZeroPad2d((0, 1, 2, 1)), nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, (3, 4), padding="same"),
        nn.ReflectionPad2d((1, 0, 2, 1)), nn.Conv2d(6, 2, 3)), (3, 13, 10)),
    "transposed and resized": (lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=3, mode="bilinear"), nn.Upsample((7, 5), mode="bilinear", align_corners=True)),
        (4, 5, 7)),
    "channel shuffle": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Shuffled(), Shuffled()), (3, 9, 8)),
    "pixel shuffle": (lambda: nn.Sequential(
        nn.PixelShuffle(2), nn.Conv2d(2, 3, 3), nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 1),
        Called(lambda x: x[:, 1:, ::2, 1:-1]), nn.ReLU()), (8, 7, 8)),
    "norms by the image": (lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.InstanceNorm2d(4, affine=True)), (3, 9, 8)),
    "channels last": (lambda: nn.Sequential(
        Called(lambda x: x.permute(0, 2, 3, 1)), nn.LayerNorm(3), nn.Linear(3, 6), nn.GELU(), nn.Linear(6, 3),
        Called(lambda x: x.permute(0, 3, 1, 2)), Called(lambda x: x.mean((2, 3)))), (3, 9, 8)),
    "activations": (lambda: nn.Sequential(
        nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Mish(), nn.ReLU6(), nn.PReLU(3), nn.ELU(0.5),
        nn.GELU("tanh"), nn.Softplus(), nn.SELU(), nn.LogSigmoid(), nn.ReLU(), nn.ReLU(), nn.Sigmoid(), nn.Softmax(1)),
        (3, 5, 4)),
    "arithmetic": (lambda: nn.Sequential(
        Called(lambda x: 1 - (x * 2 - 1) / 3), Called(lambda x: x.amax(1, keepdim=True) * x),
        Called(lambda x: x.clamp(-1, 2) + x.abs()), Called(lambda x: -x.pow(2)), Called(lambda x: F.softmax(x, 2))),
        (3, 5, 4)),
    "shared": (Tied, (3, 9, 8)),
}  # fmt: skip
EXPORTERS = {
    "torchscript": {"dynamo": False, "do_constant_folding": False},
    "dynamo": {"dynamo": True, "external_data": False, "optimize": False, "verbose": False},
}
"""Without the exporters' optimisations, which fold batch normalisations into convolutions."""


def table(network: Network) -> list[tuple[object, ...]]:
    return [
        (layer.output, layer.local_fields, layer.seen, layer.parameters, layer.macs, layer.macs_on_pixels)
        for layer in inspect_network(network).layers
        if layer.kind not in NOTHING
    ]


def exported(module: nn.Module, shape, exporter: str) -> onnx.ModelProto:
    options = dict(EXPORTERS[exporter])
    if not options["dynamo"]:
        options["training"] = torch.onnx.TrainingMode.PRESERVE
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(2, *shape),), file, **options)
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.parametrize("road", ["ours", *EXPORTERS])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_table_by_every_road(name, road):
    if road == "dynamo" and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("torch's dynamo exporter needs onnxscript")
    make, shape = MODELS[name]
    module = make().eval()
    network = capture(module, shape)
    again = from_onnx(to_onnx(network) if road == "ours" else exported(module, shape, road))
    assert table(again) == table(network)
    x = np.random.default_rng(1).standard_normal((2, *shape))
    wanted, got = (output(one.astype(np.float64), x) for one in (network, again))
    assert np.allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_dynamos_optimiser_folds_batch_normalisation_and_says_nothing():
    """So a file exported by default has other layers than its module: a property of the file, not of the reading."""
    pytest.importorskip("onnxscript")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    file = io.BytesIO()
    torch.onnx.export(module, (torch.zeros(2, 3, 9, 8),), file, dynamo=True, external_data=False, verbose=False)
    assert [node.op.kind for node in from_onnx(onnx.load_model_from_string(file.getvalue()))] == ["conv"]
