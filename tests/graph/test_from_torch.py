"""Capturing torch modules: the same function, nothing executed, the module left as it was, faults in one line."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import CaptureError
from striate.graph import initialise, reference
from striate.graph.from_torch import capture
from striate.graph.to_torch import to_module
from striate.notation import read

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning"),  # torch on its own speed; wanted here
]


class Block(nn.Module):
    """A residual block with a functional middle."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, (3, 5), padding=(1, 2), groups=channels)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.conv2(y)
        y += x
        return torch.relu(y)


class Odd(nn.Module):
    """Everything at once: functional calls, concat, a gate, control flow on shapes, one layer used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(2, 1), dilation=(1, 2))
        self.block = Block(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.same = nn.Conv2d(16, 6, 4, padding="same", dilation=(1, 2))
        self.drop = nn.Dropout2d(0.2)
        self.fc = nn.Linear(6 * 2 * 3, 4)

    def forward(self, x):
        x = F.pad(x, (1, 0, 0, 2))
        x = self.block(self.stem(x))
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = torch.cat([x, F.silu(self.block(x))], dim=1)
        x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
        if x.shape[-1] > 3:
            x = F.avg_pool2d(x, 2, count_include_pad=False)
        x = F.adaptive_avg_pool2d(self.drop(F.leaky_relu(self.same(x))), (2, 3))
        return self.fc(x.view(x.size(0), -1))


def warmed(module):
    """The module with running statistics that are not 0 and 1."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return module


def test_the_captured_network_computes_what_the_module_computes():
    module = warmed(Odd()).double().eval()
    network = capture(module, (3, 19, 17))
    x = torch.randn(2, 3, 19, 17, dtype=torch.float64)
    with torch.inference_mode():
        want = module(x).numpy()
    assert np.abs(reference.output(network, x.numpy()) - want).max() < 1e-12
    assert [node.name for node in network][:7] == [
        "stem", "block.conv1", "block.bn1", "block.relu", "block.conv2", "block.add", "block.relu_2",
    ]  # fmt: skip
    assert network.node("block.conv1_2").weights == network.node("block.conv1").weights


@pytest.mark.parametrize(
    ("net", "shape"), [("resnet18", (3, 65, 47)), ("vgg11_bn", (3, 32, 40)), ("mobilenet_v2", (3, 40, 33))]
)
def test_families_come_back_node_by_node(net, shape):
    network = initialise(read(net, shape), 0)
    back = capture(to_module(network), shape, name=net)
    assert [(n.name, n.op, n.inputs, dict(n.weights)) for n in back] == [
        (n.name, n.op, n.inputs, dict(n.weights)) for n in network
    ]
    assert all(np.array_equal(back.weights[name], array) for name, array in network.weights.items())


def test_nothing_is_executed_and_the_module_stays_as_it_was():
    module = warmed(Odd()).train()
    module.block.bn1.eval()  # frozen on purpose: its own flag must come back
    flags = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    ran = []
    handle = module.stem.register_forward_hook(lambda *_: ran.append("hook"))
    capture(module, (3, 19, 17))
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert ran == ["hook"]  # the caller's hooks stay in place
    handle.remove()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    module(torch.zeros(2, 3, 19, 17))  # and it still runs


class Hooked(nn.Module):
    """Two layers; what hooks change and whether the second raises is decided from outside."""

    def __init__(self, second):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = second
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return self.second(self.first(x))


def found(module):
    """All that a capture must leave alone."""
    return {
        "flags": [part.training for part in module.modules()],
        "values": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "gradients": [(p.requires_grad, p.grad is None, p.device, p.dtype, p._version) for p in module.parameters()],
        "hooks": [tuple(len(h) for h in (m._forward_hooks, m._forward_pre_hooks)) for m in module.modules()],
        "global hooks": len(torch.nn.modules.module._global_forward_hooks),
        "random": torch.get_rng_state().tolist(),
        "grad mode": torch.is_grad_enabled(),
    }


def same(a, b):
    return a.keys() == b.keys() and all(
        all(torch.equal(a[k][n], b[k][n]) for n in a[k]) if k == "values" else a[k] == b[k] for k in a
    )


class Fails(nn.Module):
    def forward(self, x):
        torch.rand(3)
        raise RuntimeError("no such thing")


@pytest.mark.parametrize("second", [nn.BatchNorm2d(4), Fails(), nn.Fold((5, 4), 3)], ids=["fits", "raises", "unknown"])
@pytest.mark.parametrize("strict", [True, False])
def test_the_module_is_left_as_found_whatever_happens(second, strict):
    module = Hooked(second).train()
    module.first.eval()
    module.first.weight.requires_grad_(False)
    module.first.bias.grad = torch.ones(4)
    module.second.register_forward_pre_hook(lambda *_: None)
    before = found(module)
    try:
        capture(module, (3, 9, 8), strict=strict)
    except CaptureError:
        assert not isinstance(second, nn.BatchNorm2d)
    assert same(before, found(module))


def test_the_callers_hooks_run_and_what_they_return_counts():
    module = Hooked(nn.Conv2d(4, 2, 1))
    seen = []
    module.first.register_forward_hook(lambda _part, _read, made: seen.append(tuple(made.shape)))
    module.first.register_forward_hook(lambda _part, _read, made: F.relu(made))
    assert [node.op.kind for node in capture(module, (3, 9, 8))] == ["conv", "activation", "conv"]
    assert seen == [(2, 4, 7, 6)]


def test_a_hook_that_reads_values_is_refused_and_named_by_its_place():
    module = Hooked(nn.ReLU())
    module.first.register_forward_hook(lambda _part, _read, made: float(made.mean()))
    with pytest.raises(CaptureError, match=r"^Hooked: mean over axes \[0, 1, 2, 3\], images among them"):
        capture(module, (3, 9, 8))
    module = Hooked(nn.ReLU())
    module.first.register_forward_hook(lambda _part, _read, made: made.detach().cpu().numpy())
    with pytest.raises(CaptureError, match=r"^Hooked: looks at the values of the image to decide what to do"):
        capture(module, (3, 9, 8))


def test_the_network_is_a_value_that_training_does_not_change():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    network = capture(module, (1, 4, 5))
    with torch.no_grad():
        module[0].weight.zero_()
    assert network.weights["0.weight"].any()
    with pytest.raises(ValueError, match="read-only"):
        network.weights["0.weight"][:] = 0


class Peeks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else torch.relu(x)


class Two(nn.Module):
    def forward(self, x):
        return torch.relu(x), x


class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("no such thing\non two lines")


class Same(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            nn.Sequential(nn.Conv2d(5, 3, 3)),
            r"^Sequential: does not fit an input of 3x9x8: 0: conv got 3 channels, needs 5",
        ),
        (nn.Sequential(nn.Conv2d(3, 3, 11)), r"^Sequential: does not fit an input of 3x9x8: 0: a window of 11 px"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), r"use track_running_stats=True$"),
        (
            nn.Sequential(nn.ReLU(), nn.Fold((9, 8), 3)),
            r"^1 \(Fold\): calls fold, which striate has no layer for yet; striate inspect shows what is known",
        ),
        (Two(), r"^Two: returns tuple, not one tensor; wrap it in a module that returns the logits$"),
        (Same(), r"^Same: returns its input; a network needs at least one layer$"),
        (
            Raises(),
            r"^Raises: Raises raised RuntimeError: no such thing on two lines; call it on a real batch of 3x9x8",
        ),
    ],
)
def test_faults_are_one_line(module, said):
    with pytest.raises(CaptureError, match=said) as fault:
        capture(module, (3, 9, 8))
    assert "\n" not in str(fault.value)


def test_a_function_of_pixel_values_is_refused():
    with pytest.raises(CaptureError):
        capture(Peeks(), (3, 9, 8))


class Writes(nn.Module):
    """What `change` does to a feature map in place, and another reader of it."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        h = torch.tanh(x)
        return self.change(h)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: F.relu(h, inplace=True) + h,
        lambda h: nn.ReLU(inplace=True)(h) * h,
        lambda h: h.add_(torch.sigmoid(h)) + h,
        lambda h: torch.relu_(h.clone()) + h,
        lambda h: F.silu(h, True) + h,
        lambda h: sum([h, torch.relu(h)]),
        lambda h: F.hardtanh(h, 0, 6, inplace=True) + F.dropout(h, 0.5, training=False, inplace=True),
    ],
)
def test_changes_in_place_are_seen_by_every_reader(change):
    module, x = Writes(change).double().eval(), torch.randn(2, 3, 7, 5, dtype=torch.float64)
    network = capture(module, (3, 7, 5))
    with torch.inference_mode():
        want = module(x).numpy()
    assert np.abs(reference.output(network, x.numpy()) - want).max() < 1e-12


def through_a_view(h):
    flat = h.flatten(1)
    flat.relu_()
    return h + h


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (through_a_view, "reads a tensor that was changed in place through another view of it"),
        (lambda h: F.dropout(h, 0.5), "drops values at test time too"),
        (lambda h: F.batch_norm(h, torch.zeros(3), torch.ones(3), torch.ones(3)), "has only one of weight and bias"),
        (lambda h: F.batch_norm(h, torch.zeros(3), torch.ones(3), training=True), "uses the statistics of its batch"),
        (lambda h: h.to(torch.int64), "turns feature maps into torch.int64"),
        (lambda h: h[:1], "takes some images of the batch"),
        (lambda h: h.reshape(6, 7, 5), "across images"),
        (lambda h: h.permute(1, 0, 2, 3), "moves the batch to another axis"),
        (lambda h: h[:, torch.tensor([0, 2])], "indexes by a list or tensor"),
        (lambda h: h.sum(), "images among them"),
        (lambda h: F.interpolate(h, scale_factor=1.3), "to fractions of a pixel; give a size"),
        (lambda h: F.interpolate(h, (9, 9), mode="bicubic"), "striate knows nearest and linear"),
    ],
)
def test_what_would_be_another_network_is_refused(change, said):
    with pytest.raises(CaptureError, match=said):
        capture(Writes(change), (3, 7, 5))


class Counts(nn.Module):
    """A forward that changes a buffer and draws a random number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        return torch.relu(x)


def test_buffers_and_random_state_come_back():
    module, state = Counts(), torch.get_rng_state()
    capture(module, (3, 7, 5))
    assert module.calls == 0
    assert torch.equal(state, torch.get_rng_state())


def test_weights_that_have_no_values_or_half_the_bits():
    with torch.device("meta"):
        empty = nn.Sequential(nn.Conv2d(3, 2, 3))
    with pytest.raises(CaptureError, match=r"^0.weight: is on the meta device and has no values"):
        capture(empty, (3, 7, 5))
    assert capture(empty, (3, 7, 5), with_weights=False).parameters() == 56
    assert capture(nn.Sequential(nn.Conv2d(3, 2, 3)).bfloat16(), (3, 7, 5)).weights["0.weight"].dtype == np.float32
    with pytest.raises(CaptureError, match=r"^int: is no torch module; give a torch.nn.Module$"):
        capture(3, (3, 7, 5))
