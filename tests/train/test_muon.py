from __future__ import annotations

import copy
from math import sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.train.update.muon import LEAST_NORM, QUINTIC, ROUNDS, Muon, orthogonalised
from striate.train.update.optimizer import Sgd, optimizer_for


def by_singular_values(matrix):
    """The same by definition: the polynomial on each singular value, in NumPy's float64."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.linalg.norm(matrix) + LEAST_NORM)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        s = a * s + b * s**3 + c * s**5
    return u @ np.diag(s) @ vt, s


@pytest.mark.parametrize("shape", [(3, 11), (11, 3), (7, 7), (1, 5), (5, 1)])
def test_the_directions_stay_and_the_singular_values_become_about_one(shape):
    matrix = np.random.default_rng(5).normal(size=shape)
    expected, values = by_singular_values(matrix)
    got = orthogonalised(torch.from_numpy(matrix))
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)
    assert all(0.65 < value < 1.25 for value in values), values
    assert orthogonalised(torch.from_numpy(matrix).float()).dtype == torch.float32


def test_the_scale_of_the_gradient_does_not_count_and_zeros_stay_zeros():
    matrix = torch.from_numpy(np.random.default_rng(6).normal(size=(2, 7)))
    torch.testing.assert_close(orthogonalised(1000 * matrix), orthogonalised(matrix), rtol=1e-6, atol=1e-6)
    assert torch.equal(orthogonalised(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("norm", ["fixed", "free"])
def test_two_steps_are_the_formula_by_hand(recipe, builder, norm):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(nn.Conv2d(3, 5, (2, 1)), nn.Conv2d(5, 5, 3, groups=5), nn.Flatten(), nn.Linear(20, 2))
        images, labels = torch.rand(4, 3, 5, 4), torch.tensor([0, 1, 1, 0])
    recipe = recipe.changed(optimizer="muon", muon_lr=0.3, muon_momentum=0.7, muon_norm=norm)
    hand = copy.deepcopy(module)
    optimizer = optimizer_for(module, recipe)
    velocity = torch.zeros(5, 3, 2, 1)
    for rate in (0.01, 0.02):
        for one in (module, hand):
            one.zero_grad()
            F.cross_entropy(one(images), labels).backward()
        optimizer.step(rate)
        with torch.no_grad():
            weight, gradient = hand[0].weight, hand[0].weight.grad
            muon_rate = rate * 0.3 / recipe.peak_lr
            weight *= sqrt(5) / weight.norm() if norm == "fixed" else 1 - muon_rate * recipe.weight_decay
            velocity = 0.7 * velocity + gradient
            update, _ = by_singular_values((gradient + 0.7 * velocity).reshape(5, 6).double().numpy())
            weight -= muon_rate * torch.from_numpy(update).float().view(5, 3, 2, 1)
            torch.testing.assert_close(module[0].weight, weight, rtol=1e-5, atol=1e-6)
            hand.load_state_dict(module.state_dict())  # the rest is SGD's, tested beside


def test_muon_takes_whole_filters_and_sgd_all_else(recipe):
    with torch.device("meta"):
        module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, groups=3), nn.Linear(6, 2))
    module = module.to_empty(device="cpu")
    muon = optimizer_for(module, recipe.changed(optimizer="muon"))
    assert isinstance(muon, Muon)
    assert list(muon.filters) == ["0.weight"]
    assert list(muon.rest.parameters) == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert muon.buffers().keys() == dict(module.named_parameters()).keys()
    only = optimizer_for(module[:1].requires_grad_(False).requires_grad_(True), recipe.changed(optimizer="muon"))
    assert list(only.buffers()) == ["0.weight", "0.bias"]
    module[0].weight.requires_grad_(False)
    assert list(optimizer_for(module, recipe.changed(optimizer="muon")).filters) == []


def test_groups_have_their_own_rate_and_decay_alike(seeded, recipe):
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 2))
    changed = recipe.changed(norm_lr_factor=64.0, dense_lr_factor=0.5, weight_decay=0.01)
    optimizer = optimizer_for(module, changed)
    assert isinstance(optimizer, Sgd)
    optimizer.step(0.25)
    groups = optimizer.inner.param_groups
    by_parameter = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    got = {name: by_parameter[id(p)] for name, p in module.named_parameters()}
    assert got == {
        "0.weight": (0.25, 0.01), "0.bias": (0.25, 0.0), "1.weight": (16.0, 0.0), "1.bias": (16.0, 0.0),
        "2.weight": (0.125, 0.02), "2.bias": (0.25, 0.0),
    }  # fmt: skip
