from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.claims.training import GROUPS, Plan, fresh, material, train
from striate.graph import reference

NOTATION = "8C3s2-BN-R-GAP-10"


@pytest.fixture(scope="module")
def data():
    return material(120)


def test_material_is_normalised_by_the_training_part(data):
    assert abs(data.train.mean()) < 1e-5
    assert abs(data.train.std() - 1) < 1e-5
    assert (data.train.dtype, data.test.shape) == (np.float32, (1000, 1, 28, 28))


def test_a_run_is_a_function_of_its_seed(data):
    first, again, other = (train(fresh(NOTATION, 0), data, Plan(0.1, batch=20), seed) for seed in (3, 3, 4))
    assert first.losses == again.losses != other.losses
    assert len(first.losses) == 120 // 20


def test_the_trained_network_is_the_one_that_was_measured(data):
    done = train(fresh(NOTATION, 0), data, Plan(0.1, batch=20), 0)
    right = reference.output(done.network, data.test).argmax(axis=1) == data.test_labels
    assert done.test_accuracy == pytest.approx(right.mean(), abs=0.002)


def test_one_image_a_step_is_allowed(data):
    done = train(fresh(NOTATION, 0), data, Plan(0.001, batch=1), 0)
    assert len(done.losses) == 120


def test_a_diverging_run_ends_and_is_tested(data):
    done = train(fresh(NOTATION.replace("-BN", ""), 0), data, Plan(1e9, batch=20, epochs=3), 0)
    assert not np.isfinite(done.losses[-1])
    assert len(done.losses) < 18
    assert 0 <= done.test_accuracy <= 0.2


def test_each_step_shows_the_network_of_now(data):
    seen = []
    done = train(fresh(NOTATION, 0), data, Plan(0.1, batch=40), 0, lambda step, net: seen.append((step, net)))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert all(np.array_equal(seen[-1][1].weights[name], done.network.weights[name]) for name in done.network.weights)
    assert not np.array_equal(seen[0][1].weights["conv1.weight"], seen[1][1].weights["conv1.weight"])


def test_group_normalisation_takes_the_place_of_batch_normalisation(data):
    """One image alone or among others: with groups its loss is the same, so a step of one image is the same."""
    net = fresh(NOTATION, 0)
    done = train(net, data, Plan(0.01, batch=1, norm="group"), 0)
    first = int(np.random.default_rng(0).permutation(120)[0])
    x = torch.from_numpy(data.train[first : first + 1])
    weights = {name: torch.from_numpy(np.array(array)) for name, array in net.weights.items()}
    maps = torch.conv2d(x, weights["conv1.weight"], stride=2, padding=1)
    normal = torch.nn.functional.group_norm(maps, GROUPS, weights["bn1.weight"], weights["bn1.bias"])
    scores = normal.relu().mean(dim=(2, 3)) @ weights["fc1.weight"].T + weights["fc1.bias"]
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(data.train_labels[first : first + 1]))
    assert done.losses[0] == pytest.approx(loss.item(), rel=1e-5)
