"""Contracts over every kind of layer: shapes, values and gradients against torch in float64; rounding bounds."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import torch

from contracts.op_examples import ALL, EXAMPLES, as_torch, unlisted
from striate.ops import (
    OPS,
    Activation,
    BatchNorm,
    Conv,
    ConvTranspose,
    GroupNorm,
    LayerNorm,
    Linear,
    PReLU,
    Scale,
    Shift,
)

UNIT_FLOAT32 = 2.0**-24
FORWARD = {"rtol": 1e-12, "atol": 1e-12}  # sums of at most 780 terms of size 1, in two orders
BACKWARD = {"rtol": 1e-10, "atol": 1e-10}  # the same, with products of three factors
# Torch multiplies by float32's 1/6 here, whatever the dtype; the central differences side with us.
OWN_BACKWARD = {Activation("hard_sigmoid"): {"rtol": 1e-7, "atol": 0}}
DIFFERENCES = {"rtol": 1e-6, "atol": 1e-6}  # central differences at 1e-5: truncation 1e-10, rounding 1e-16 / 1e-5

every_layer = pytest.mark.parametrize("example", ALL, ids=lambda e: e.title)


def tensors(arrays):
    return [torch.tensor(a, requires_grad=True) for a in arrays]


def tensor_weights(weights, learnable):
    return {role: torch.tensor(w, requires_grad=role in learnable) for role, w in weights.items()}


def learnable(op):
    return [spec.role for spec in op.weight_specs() if spec.learnable]


def test_every_kind_has_examples_of_its_own():
    assert unlisted() == set()
    assert set(EXAMPLES) == set(OPS)
    assert all(op.kind == kind for kind, rows in EXAMPLES.items() for op, _ in rows)


@every_layer
def test_shape_and_values_are_those_of_torch(example):
    inputs, weights = example.inputs(), example.weights()
    expected = as_torch(example.op, tensors(inputs), tensor_weights(weights, ())).detach().numpy()
    got = example.op.forward(inputs, weights)
    assert example.op.out_shape(*example.shapes) == expected.shape[1:] == got.shape[1:]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, **FORWARD)


@every_layer
def test_float32_stays_float32(example):
    inputs, weights = example.inputs(dtype=np.float32), example.weights(dtype=np.float32)
    output = example.op.forward(inputs, weights)
    to_inputs, to_weights = example.op.backward(np.ones_like(output), inputs, output, weights)
    assert {a.dtype for a in (output, *to_inputs, *to_weights.values())} == {np.dtype(np.float32)}


@every_layer
def test_inputs_and_weights_are_left_as_they_were(example):
    inputs, weights = example.inputs(), example.weights()
    for array in (*inputs, *weights.values()):
        array.flags.writeable = False  # a write raises
    output = example.op.forward(inputs, weights)
    output.flags.writeable = False
    grad = np.ones_like(output)
    grad.flags.writeable = False
    example.op.backward(grad, inputs, output, weights)


@every_layer
def test_gradients_are_those_of_torch(example):
    op, inputs, weights = example.op, example.inputs(), example.weights()
    x, w = tensors(inputs), tensor_weights(weights, learnable(op))
    y = as_torch(op, x, w)
    grad = np.random.default_rng(2).standard_normal(y.shape)
    y.backward(torch.tensor(grad))
    to_inputs, to_weights = op.backward(grad, inputs, op.forward(inputs, weights), weights)
    assert len(to_inputs) == len(inputs)
    assert set(to_weights) == set(learnable(op))
    for got, tensor in zip(to_inputs, x, strict=True):
        np.testing.assert_allclose(got, tensor.grad.numpy(), **OWN_BACKWARD.get(op, BACKWARD))
    for role, got in to_weights.items():
        np.testing.assert_allclose(got, w[role].grad.numpy(), **BACKWARD)


@every_layer
def test_gradients_are_central_differences(example):
    op, inputs, weights = example.op, example.inputs(3), example.weights(4)
    output = op.forward(inputs, weights)
    rng = np.random.default_rng(5)
    grad = rng.standard_normal(output.shape)
    to_inputs, to_weights = op.backward(grad, inputs, output, weights)

    def loss():
        return (op.forward(inputs, weights) * grad).sum()

    pairs = [*zip(inputs, to_inputs, strict=True), *((weights[role], one) for role, one in to_weights.items())]
    for array, gradient in pairs:
        for at in rng.integers(array.size, size=4):
            difference = central_difference(loss, array.reshape(-1), at)
            np.testing.assert_allclose(gradient.reshape(-1)[at], difference, **DIFFERENCES)


def central_difference(loss, flat, at, step=1e-5):
    value = flat[at]
    flat[at] = value + step
    above = loss()
    flat[at] = value - step
    below = loss()
    flat[at] = value
    return (above - below) / (2 * step)


@every_layer
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rounding_stays_below_the_bound(example, scale):
    op = example.op
    inputs = [(x * scale).astype(np.float32) for x in example.inputs(6)]
    weights = example.weights(7, np.float32)
    exact_inputs = [x.astype(np.float64) for x in inputs]
    exact_weights = {role: w.astype(np.float64) for role, w in weights.items()}
    exact = op.forward(exact_inputs, exact_weights)
    nothing = [np.zeros_like(x) for x in exact_inputs]
    bound = op.error_bound(exact_inputs, nothing, exact, exact_weights, UNIT_FLOAT32)
    error = np.abs(op.forward(inputs, weights) - exact)
    assert bound.shape == exact.shape
    assert (error <= bound).all()
    if scale == 1.0 and (wrong := error > 0).any():
        # Of use, too: errors add up like a random walk, so 780 terms give some 10,000 times less than the worst.
        assert np.median(bound[wrong] / error[wrong]) < 1e5


@every_layer
def test_errors_of_the_inputs_are_carried_within_the_bound(example):
    op, weights = example.op, example.weights(8)
    inputs = example.inputs(9)
    rng = np.random.default_rng(10)
    errors = [10.0 ** rng.uniform(-6, -1, x.shape) for x in inputs]
    exact = op.forward(inputs, weights)
    bound = op.error_bound(inputs, errors, exact, weights, 2.0**-53)
    for _ in range(5):
        moved = [x + e * rng.choice([-1.0, 1.0], x.shape) for x, e in zip(inputs, errors, strict=True)]
        # The slack is for this test's own rounding of x + e: 1e-16 beside 1e-6.
        assert (np.abs(op.forward(moved, weights) - exact) <= bound * (1 + 1e-9) + 1e-15).all()


@every_layer
def test_a_layer_is_a_frozen_value(example):
    twin = replace(example.op)
    assert twin is not example.op
    assert twin == example.op
    assert hash(twin) == hash(example.op)
    for field in fields(example.op):
        with pytest.raises(FrozenInstanceError):
            setattr(example.op, field.name, None)


MODULES = {
    Conv: lambda op: (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[len(op.windows) - 1](
        op.in_channels, op.out_channels, op.kernel, groups=op.groups, bias=op.bias
    ),
    Linear: lambda op: torch.nn.Linear(op.in_features, op.out_features, op.bias),
    BatchNorm: lambda op: torch.nn.BatchNorm2d(op.channels, affine=op.affine),
    ConvTranspose: lambda op: (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)[
        len(op.windows) - 1
    ](op.in_channels, op.out_channels, op.kernel, groups=op.groups, bias=op.bias),
    GroupNorm: lambda op: torch.nn.GroupNorm(op.groups, op.channels, affine=op.affine),
    LayerNorm: lambda op: torch.nn.LayerNorm(op.channels, elementwise_affine=op.affine),
    PReLU: lambda op: torch.nn.PReLU(op.slopes),
}
WITHOUT_MODULE = (Scale, Shift)  # a parameter that a forward multiplies by or adds


@every_layer
def test_weights_are_those_of_torchs_module_in_its_order(example):
    op = example.op
    if isinstance(op, WITHOUT_MODULE):
        return
    if type(op) not in MODULES:
        assert op.weight_specs() == ()
        return
    with torch.device("meta"):
        module = MODULES[type(op)](op)
    state = {name: tuple(t.shape) for name, t in module.state_dict().items() if name != "num_batches_tracked"}
    torch_names = {"gamma": "weight", "beta": "bias"}
    assert [(torch_names.get(s.role, s.role), s.shape) for s in op.weight_specs()] == list(state.items())
    assert sum(np.prod(s.shape) for s in op.weight_specs() if s.learnable) == sum(
        p.numel() for p in module.parameters()
    )


norms = pytest.mark.parametrize("example", [e for e in ALL if e.op.kind == "batch_norm"], ids=lambda e: e.title)


@norms
def test_batch_norm_in_training_is_torchs(example):
    op, inputs, weights = example.op, example.inputs(11), example.weights(12)
    inputs = [5 * x + 3 for x in inputs]
    (x,), w = tensors(inputs), tensor_weights(weights, learnable(op))
    mean, var = w["running_mean"].clone(), w["running_var"].clone()
    y = torch.nn.functional.batch_norm(
        x, mean, var, w.get("gamma"), w.get("beta"), training=True, momentum=op.momentum, eps=op.eps
    )
    grad = np.random.default_rng(13).standard_normal(y.shape)
    y.backward(torch.tensor(grad))
    got = op.forward(inputs, op.with_batch_statistics(inputs[0], weights))
    np.testing.assert_allclose(got, y.detach().numpy(), **FORWARD)
    (to_input,), to_weights = op.backward_through_statistics(grad, inputs[0], weights)
    np.testing.assert_allclose(to_input, x.grad.numpy(), **BACKWARD)
    for role, one in to_weights.items():
        np.testing.assert_allclose(one, w[role].grad.numpy(), **BACKWARD)
    running_mean, running_var = op.running_averages(inputs[0], weights)
    np.testing.assert_allclose(running_mean, mean.numpy(), **FORWARD)
    np.testing.assert_allclose(running_var, var.numpy(), **FORWARD)


@norms
def test_batch_norms_training_gradient_is_a_central_difference(example):
    op, (x,), weights = example.op, example.inputs(14), example.weights(15)
    rng = np.random.default_rng(16)
    grad = rng.standard_normal(x.shape)
    (to_input,), _ = op.backward_through_statistics(grad, x, weights)

    def loss():
        return (op.forward([x], op.with_batch_statistics(x, weights)) * grad).sum()

    for at in rng.integers(x.size, size=6):
        difference = central_difference(loss, x.reshape(-1), at)
        np.testing.assert_allclose(to_input.reshape(-1)[at], difference, rtol=1e-5, atol=1e-5)
