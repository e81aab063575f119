from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.train.loop import build, train
from striate.train.norms import policy as norms

PIXELS = np.random.default_rng(4).normal(3, 2, (22, 3, 9, 11)).astype(np.float32)


@pytest.fixture
def module(builder, recipe, dataset):
    return build(builder, recipe, dataset.classes)


def images(first=0, last=22):
    return torch.from_numpy(PIXELS[first:last])


def test_frozen_layers_stay_in_eval_through_train(module, recipe, dataset):
    module[1].running_mean += 2
    norms.set_up(module, recipe.changed(bn_frozen=True))
    before = {name: tensor.clone() for name, tensor in module[1].state_dict().items()}
    assert not module.train()[1].training
    assert not copy.deepcopy(module).train()[1].training
    assert norms.live(module) == []
    result = train(module, dataset, recipe.changed(bn_frozen=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module[1].state_dict().items())
    assert isinstance(module[1], nn.BatchNorm2d)
    assert result.gap is None


def test_a_fixed_scale_does_not_freeze_the_statistics(module, recipe, dataset):
    train(module, dataset, recipe.changed(bn_scale="fixed", bn_precise="off"))
    assert torch.equal(module[1].weight, torch.ones(5))
    assert bool((module[1].bias != 0).any())
    assert int(module[1].num_batches_tracked) > 0


def test_constants_are_the_networks_unless_given(recipe):
    module = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.01))
    norms.set_up(module, recipe)
    assert (module[0].eps, module[0].momentum) == (1e-3, 0.01)
    norms.set_up(module, recipe.changed(bn_eps=1e-4, bn_momentum=0.2))
    assert (module[0].eps, module[0].momentum) == (1e-4, 0.2)


def ghosts(recipe, size):
    layer = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    norms.set_up(layer, recipe.changed(ghost_batch_images=size))
    return layer


def test_ghost_batches_are_normalised_apart_and_counted_together(recipe):
    layer = ghosts(recipe, 8)  # 22 images: parts of 8, 7, 7
    got = layer(images())
    means, variances = [], []
    for first, last in ((0, 8), (8, 15), (15, 22)):
        part = PIXELS[first:last].astype(np.float64)
        mean, var = part.mean((0, 2, 3)), part.var((0, 2, 3))
        expected = (part - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
        np.testing.assert_allclose(got[first:last].detach().numpy(), expected, rtol=1e-4, atol=1e-5)
        n = part[:, 0].size
        means.append(mean)
        variances.append(var * n / (n - 1))
    np.testing.assert_allclose(layer[0].running_mean, 0.3 * np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer[0].running_var, 0.7 + 0.3 * np.mean(variances, axis=0), rtol=1e-5)
    assert int(layer[0].num_batches_tracked) == 1


@pytest.mark.parametrize("size", [22, 30])
def test_a_ghost_as_large_as_the_batch_is_the_batch(recipe, size):
    layer, plain = ghosts(recipe, size), nn.BatchNorm2d(3, momentum=0.3)
    assert torch.equal(layer(images()), plain(images()))
    assert torch.equal(layer[0].running_var, plain.running_var)
    assert layer.state_dict().keys() == nn.Sequential(plain).state_dict().keys()


def test_ghosts_without_a_momentum_count_every_batch_alike(recipe):
    layer = nn.Sequential(nn.BatchNorm2d(3, momentum=None))
    norms.set_up(layer, recipe.changed(ghost_batch_images=11, bn_momentum="network"))
    for first, last in ((0, 22), (5, 22)):  # parts of 11 and 11, of 9 and 8
        layer(images(first, last))
    means = [PIXELS[a:b].astype(np.float64).mean((0, 2, 3)) for a, b in ((0, 11), (11, 22), (5, 14), (14, 22))]
    np.testing.assert_allclose(layer[0].running_mean, np.mean(means, axis=0), rtol=1e-5)


def test_no_ghost_is_of_one_image_and_eval_knows_none(recipe):
    layer = ghosts(recipe, 2)
    layer(images(0, 5))  # 2 and 3, never 1
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(layer[0].state_dict())
    assert torch.equal(layer.eval()(images()), plain.eval()(images()))


def test_precise_statistics_are_those_of_all_images_together(module):
    """In one batch: layer by layer the mean and variance of all values, in NumPy; in three, of pooled batches."""
    module.insert(3, nn.BatchNorm2d(5))  # behind a ReLU, so that it reads what the first one normalised
    whole, split = copy.deepcopy(module), copy.deepcopy(module)
    norms.make_precise(whole, [images()])
    first = module[0](images()).detach().double()
    values = first.numpy()
    np.testing.assert_allclose(whole[1].running_mean, values.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(whole[1].running_var, values.var((0, 2, 3), ddof=0) * 2178 / 2177, rtol=1e-5)
    second = F.relu(F.batch_norm(first, None, None, training=True)).numpy()
    np.testing.assert_allclose(whole[3].running_mean, second.mean((0, 2, 3)), rtol=1e-4)
    norms.make_precise(split, [images(0, 3), images(3, 11), images(11, 22)])
    torch.testing.assert_close(split[1].running_mean, whole[1].running_mean)
    torch.testing.assert_close(split[1].running_var, whole[1].running_var)


def test_precise_statistics_leave_all_else_as_found(module, recipe):
    norms.set_up(module, recipe.changed(ghost_batch_images=4))
    module.train()
    module[5].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [part.training for part in module.modules()]
    norms.make_precise(module, [images(0, 9), images(9, 22)])
    assert [part.training for part in module.modules()] == flags
    assert (module[1].momentum, module[1].ghost_images) == (0.1, 4)
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"1.running_mean", "1.running_var"}


def test_the_gap_compares_batch_and_running_statistics(module):
    labels = torch.arange(22) % 3
    batches = [(images(0, 10), labels[:10]), (images(10, 22), labels[10:])]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    got = norms.gap(module, batches)
    assert (got.images, got.batch_images) == (22, 12)
    hand = copy.deepcopy(module).eval()
    with torch.no_grad():
        logits = hand(images())
        assert got.running_loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
        assert got.running_accuracy == (logits.argmax(1) == labels).double().mean().item()
        hand[1].train()
        losses = [F.cross_entropy(hand(x), y, reduction="sum").item() for x, y in batches]
    assert got.batch_loss == pytest.approx(sum(losses) / 22, rel=1e-5)
    assert got.batch_loss != pytest.approx(got.running_loss, rel=1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_after_precise_statistics_on_one_batch_there_is_no_gap(module):
    norms.make_precise(module, [images()])
    got = norms.gap(module, [(images(), torch.arange(22) % 3)])
    assert got.batch_loss == pytest.approx(got.running_loss, rel=1e-3)
