from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from striate.errors import NetworkError
from striate.geometry import Window
from striate.graph import INPUT, Builder, initialise
from striate.graph.reference import gradient, output, run, running_averages
from striate.ops import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
)

SAME = (Window(3, pad_lo=1, pad_hi=1), Window(5, pad_lo=2, pad_hi=2))
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def branching():
    """A shared convolution used twice, a residual sum, a squeeze-excite gate, a concatenation, a layer nobody reads."""
    b = Builder("branching", (4, 7, 11))
    conv = Conv(4, 4, SAME, groups=2)
    first = b.add(conv, INPUT, name="first")
    second = b.add(conv, b.add(Activation("tanh"), first, name="act"), name="second", path="first")
    b.add(Conv(4, 2, SAME), second, name="unread")
    total = b.add(Add(), INPUT, second, second, name="sum")
    pooled = b.add(GlobalAvgPool(keep_axes=True), total, name="squeeze")
    gate = b.add(Activation("sigmoid"), pooled, name="gate")
    scaled = b.add(Mul(), total, gate, name="scaled")
    both = b.add(Concat(), scaled, first, name="both")
    b.add(GlobalAvgPool(), b.add(BatchNorm(8), both, name="bn"), name="gap")
    return with_noise(b.build("gap"))


def with_noise(network, seed=5):
    rng = np.random.default_rng(seed)
    start = initialise(network, seed).weights
    return network.with_weights(
        {name: array + 0.3 * rng.uniform(0.1, 1.0, array.shape) for name, array in start.items()}
    )


def branching_in_torch(x, w, training):
    def conv(v):
        return F.conv2d(v, w["first.weight"], w["first.bias"], padding=(1, 2), groups=2)

    first = conv(x)
    second = conv(torch.tanh(first))
    total = x + second + second
    scaled = total * torch.sigmoid(total.mean(dim=(2, 3), keepdim=True))
    both = torch.cat([scaled, first], dim=1)
    mean, var = w["bn.running_mean"], w["bn.running_var"]
    normal = F.batch_norm(both, mean, var, w["bn.weight"], w["bn.bias"], training=training, momentum=0.1)
    return normal.mean(dim=(2, 3))


@pytest.mark.parametrize("training", [False, True])
def test_a_branching_network_and_its_gradients_are_those_of_torch(training):
    network = branching()
    rng = np.random.default_rng(6)
    x, grad = rng.standard_normal((3, 4, 7, 11)), rng.standard_normal((3, 8))
    values = run(network, x, training=training)
    to_input, to_weights = gradient(network, values, grad, training=training)

    tensor = torch.tensor(x, requires_grad=True)
    running = {"bn.running_mean", "bn.running_var"}
    w = {name: torch.tensor(a, requires_grad=name not in running) for name, a in network.weights.items()}
    y = branching_in_torch(tensor, w, training)
    y.backward(torch.tensor(grad))
    np.testing.assert_allclose(values["gap"], y.detach().numpy(), **EXACT)
    np.testing.assert_allclose(to_input, tensor.grad.numpy(), **EXACT)
    assert set(to_weights) == {"first.weight", "first.bias", "bn.weight", "bn.bias"}  # nothing for "unread"
    for name, one in to_weights.items():
        np.testing.assert_allclose(one, w[name].grad.numpy(), **EXACT)
    if training:
        averages = running_averages(network, values)
        assert set(averages) == running
        for name, one in averages.items():
            np.testing.assert_allclose(one, w[name].numpy(), **EXACT)


def test_output_keeps_fewer_tensors_and_says_the_same():
    network = branching()
    x = np.random.default_rng(7).standard_normal((2, 4, 7, 11))
    values = run(network, x)
    assert set(values) == {INPUT, *(node.name for node in network)}
    np.testing.assert_array_equal(output(network, x), values["gap"])


def test_the_result_may_stand_before_other_layers():
    b = Builder("net", (2, 3, 5))
    early = b.add(Activation("relu"), INPUT, name="early")
    b.add(Activation("tanh"), early, name="late")
    network = b.build("early")
    x = np.random.default_rng(8).standard_normal((1, 2, 3, 5))
    np.testing.assert_array_equal(output(network, x), np.maximum(x, 0))
    to_input, _ = gradient(network, run(network, x), np.ones_like(x))
    np.testing.assert_array_equal(to_input, (x > 0).astype(float))


def test_two_layers_that_share_running_averages_update_them_one_after_the_other():
    b = Builder("net", (2, 3, 5))
    first = b.add(BatchNorm(2), INPUT, name="first")
    b.add(BatchNorm(2), first, name="second", path="first")
    network = with_noise(b.build())
    x = 4 + 3 * np.random.default_rng(9).standard_normal((3, 2, 3, 5))
    averages = running_averages(network, run(network, x, training=True))

    w = {name: torch.tensor(a) for name, a in network.weights.items()}
    mean, var = w["first.running_mean"], w["first.running_var"]
    y = torch.tensor(x)
    for _ in range(2):
        y = F.batch_norm(y, mean, var, w["first.weight"], w["first.bias"], training=True, momentum=0.1)
    np.testing.assert_allclose(averages["first.running_mean"], mean.numpy(), **EXACT)
    np.testing.assert_allclose(averages["first.running_var"], var.numpy(), **EXACT)


def test_dropout_is_the_identity_at_test_time_and_refused_in_training():
    b = Builder("net", (2, 3, 5))
    b.add(Dropout(0.5), INPUT, name="drop")
    network, x = b.build(), np.ones((1, 2, 3, 5))
    np.testing.assert_array_equal(output(network, x), x)
    with pytest.raises(NetworkError) as fault:
        run(network, x, training=True)
    assert str(fault.value) == "drop: the NumPy reference has no random numbers; train it without dropout"


# A complete training in NumPy alone, beside the same in torch.

STEPS, RATE, MOMENTUM = 30, 0.05, 0.9


def classifier():
    b = Builder("small", (2, 9, 7))
    x = b.add(Conv(2, 4, (Window(3, pad_lo=1, pad_hi=1), Window(3)), bias=False), INPUT, name="conv1")
    x = b.add(Activation("relu"), b.add(BatchNorm(4), x, name="bn1"), name="relu1")
    x = b.add(MaxPool((Window(2, 2, ceil_mode=True), Window(3, 2, pad_lo=1, pad_hi=1))), x, name="pool")
    x = b.add(Conv(4, 6, (Window(3), Window(2)), groups=2), x, name="conv2")
    x = b.add(Activation("relu"), b.add(BatchNorm(6), x, name="bn2"), name="relu2")
    x = b.add(Flatten(), x, name="flat")
    b.add(Linear(b.shape(x)[0], 3), x, name="fc")
    return initialise(b.build(), 10).astype(np.float64)


def classifier_in_torch(x, w):
    def norm(v, name):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(v, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], training=True, momentum=0.1)

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], padding=(1, 0)), "bn1"))
    # Torch's ceil mode holds for both axes at once, so here the height is pooled first, then the width.
    x = F.max_pool2d(x, (2, 1), (2, 1), ceil_mode=True)
    x = F.max_pool2d(x, (1, 3), (1, 2), padding=(0, 1))
    x = F.relu(norm(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], groups=2), "bn2"))
    return F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])


def batches():
    rng = np.random.default_rng(11)
    for _ in range(STEPS):
        labels = rng.integers(3, size=8)
        images = rng.standard_normal((8, 2, 9, 7)) + labels[:, None, None, None] * np.linspace(-1, 1, 7)
        yield images, labels


def train_in_numpy(network):
    """SGD with momentum on cross entropy; returns the losses and the trained network."""
    speed = {name: np.zeros(s.shape) for name, s in network.weight_specs().items() if s.learnable}
    losses = []
    for images, labels in batches():
        values = run(network, images, training=True)
        logits = values[network.output]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        losses.append(-np.log(shares[range(8), labels]).mean())
        shares[range(8), labels] -= 1
        _, grads = gradient(network, values, shares / 8, training=True)
        speed = {name: MOMENTUM * v + grads[name] for name, v in speed.items()}
        moved = {name: network.weights[name] - RATE * v for name, v in speed.items()}
        network = network.with_weights(moved | running_averages(network, values))
    return losses, network


def train_in_torch(network):
    learnable = {name for name, spec in network.weight_specs().items() if spec.learnable}
    w = {name: torch.tensor(a, requires_grad=name in learnable) for name, a in network.weights.items()}
    optimiser = torch.optim.SGD([w[name] for name in w if name in learnable], lr=RATE, momentum=MOMENTUM)
    losses = []
    for images, labels in batches():
        optimiser.zero_grad()
        loss = F.cross_entropy(classifier_in_torch(torch.tensor(images), w), torch.tensor(labels))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses, w


def test_training_in_numpy_alone_follows_torch():
    losses, trained = train_in_numpy(classifier())
    expected, w = train_in_torch(classifier())
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])  # it learns
    for name, array in trained.weights.items():
        np.testing.assert_allclose(array, w[name].detach().numpy(), rtol=1e-9, atol=1e-9)
