"""Capture against torch.export: the same layers in the same order with the same shapes, and the same function."""

from __future__ import annotations

import numpy as np
import pytest

from striate.graph import infer_shapes, initialise, reference
from striate.graph.from_torch import capture
from striate.graph.to_torch import to_module
from striate.notation import read

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [pytest.mark.usefixtures("seeded"), pytest.mark.slow]


class Functional(nn.Module):
    """Functional calls, control flow on shapes, a gate, a shuffle, a layer used twice, a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(2, 1), dilation=(1, 2))
        self.norm = nn.GroupNorm(2, 8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 6, (3, 2), stride=(2, 1), groups=2)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = self.norm(self.stem(F.pad(x, (1, 0, 0, 2))))
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1))) + self.gate(x)
        x = x.view(x.size(0), 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        x = torch.cat([x[:, :4], F.silu(x[:, 4:])], dim=1)
        if x.shape[-1] > 3:
            x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
        return self.fc(F.relu(self.up(x), inplace=True).mean((2, 3)))


def family(name, shape):
    return to_module(initialise(read(name, shape), 0)), shape


NETWORKS = {
    "functional": lambda: (Functional(), (3, 19, 17)),
    "resnet18": lambda: family("resnet18", (3, 65, 47)),
    "mobilenet_v2": lambda: family("mobilenet_v2", (3, 40, 33)),
    "notation": lambda: family("8C3s2-BN-R-[8C3-BN-R-8C3-BN]-R-AP2-12C3-R-GAP-5", (3, 20, 26)),
}
ATEN = torch.ops.aten
KINDS = {
    ATEN.conv2d.default: "conv",
    ATEN.conv_transpose2d.input: "conv_transpose",
    ATEN.linear.default: "linear",
    ATEN.batch_norm.default: "batch_norm",
    ATEN.group_norm.default: "group_norm",
    ATEN.max_pool2d.default: "max_pool",
    ATEN.avg_pool2d.default: "avg_pool",
    ATEN.relu.default: "activation",
    ATEN.relu_.default: "activation",
    ATEN.hardtanh.default: "activation",
    ATEN.hardtanh_.default: "activation",
    ATEN.sigmoid.default: "activation",
    ATEN.silu.default: "activation",
    ATEN.add.Tensor: "add",
    ATEN.add_.Tensor: "add",
    ATEN.mul.Tensor: "mul",
    ATEN.cat.default: "concat",
}
"""What is one layer here and one call there. Moves, padding and pools of one pixel are spelled differently."""


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_shapes_and_function_are_those_of_torch_export(name):
    module, shape = NETWORKS[name]()
    module = module.double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    program = torch.export.export(module, (x,))
    exported = [
        (KINDS[node.target], tuple(node.meta["val"].shape[1:]))
        for node in program.graph.nodes
        if node.op == "call_function" and node.target in KINDS
    ]
    network = capture(module, shape)
    shapes = infer_shapes(network)
    captured = [(node.op.kind, shapes[node.name]) for node in network if node.op.kind in set(KINDS.values())]
    assert captured == exported
    assert len(captured) >= 8
    with torch.inference_mode():
        want = program.module()(x).numpy()
    np.testing.assert_allclose(reference.output(network, x.numpy()), want, rtol=1e-10, atol=1e-10 * np.abs(want).max())
