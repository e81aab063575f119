from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.data.augmentation import Augmentation
from striate.train import machine
from striate.train.binding import prepare
from striate.train.feed import Feed, Normaliser, Pixels, steps_per_epoch
from striate.train.loop import build
from striate.train.machine import quiet_machine
from striate.train.norms.policy import train_mode
from striate.train.step import Stepper
from striate.train.update.optimizer import optimizer_for


@pytest.fixture
def stepper(dataset, recipe, builder):
    module = prepare(build(builder, recipe, dataset.classes), recipe)
    normaliser = Normaliser.of(dataset.preprocessing, channels_last=True)
    feed = Feed(Pixels.of(dataset.train), normaliser, Augmentation(), 5, steps_per_epoch(61, 8))
    return Stepper.of(module, feed, recipe, 24)


def test_a_step_is_nesterovs_by_hand(stepper):
    """v = m v + g + d w;  w = w - rate (g + d w + m v), and d = 0 on vectors. Two steps, in float64."""
    stepper.module[5].p = 0.0  # the hand has no dice
    stepper.module.double()
    stepper.feed.normaliser = lambda images: images.double() / 255
    stepper = Stepper.of(stepper.module, stepper.feed, stepper.recipe, 24)
    hand = copy.deepcopy(stepper.module)
    velocity = {name: torch.zeros_like(p) for name, p in hand.named_parameters()}
    with quiet_machine(1):
        for turn in range(2):
            outcome = stepper(0, turn)
            images, labels = stepper.feed.batch(0, turn)
            hand.zero_grad()
            F.cross_entropy(hand(images), labels, label_smoothing=0.1).backward()
            with torch.no_grad():
                for name, p in hand.named_parameters():
                    slope = p.grad + (5e-4 * p if p.ndim > 1 else 0)
                    velocity[name] = 0.9 * velocity[name] + slope
                    p.sub_(outcome.learning_rate * (slope + 0.9 * velocity[name]))
    for name, p in stepper.module.named_parameters():
        torch.testing.assert_close(p, hand.get_parameter(name), rtol=1e-12, atol=1e-12)


def test_dropout_depends_on_seed_epoch_and_step_alone(stepper):
    masks = []
    stepper.module[5] = ones = nn.Dropout(0.5)
    ones.register_forward_hook(lambda _, args, __: masks.append(F.dropout(torch.ones_like(args[0]), 0.5)))
    other = Stepper.of(stepper.module, stepper.feed, stepper.recipe.changed(seed=8), 24)
    with quiet_machine(1):
        for take, place in [(stepper, (0, 0)), (stepper, (0, 1)), (stepper, (0, 0)), (other, (0, 0))]:
            torch.rand(3)  # others draw too
            take(*place)
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])
    assert not torch.equal(masks[0][:7], masks[1][:7])


def test_the_machine_is_left_as_found():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with quiet_machine(threads + 1):
        assert torch.get_num_threads() == threads + 1
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_seeded_weights_depend_on_the_seed_alone():
    weights = []
    for seed in (3, 4, 3):
        with machine.seeded(seed):
            weights.append(nn.Linear(4, 3).weight)
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_only_weights_of_more_than_one_dimension_decay(stepper):
    groups = stepper.optimizer.inner.param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    got = {name: decays[id(p)] for name, p in stepper.module.named_parameters()}
    assert got == {"0.weight": 5e-4, "1.weight": 0.0, "1.bias": 0.0, "6.weight": 5e-4, "6.bias": 0.0}


def test_frozen_parameters_are_left_out_and_frozen_batchnorm_keeps_its_statistics(stepper):
    module = stepper.module.requires_grad_(False)
    module[6].requires_grad_(True)
    train_mode(module)
    assert [part.training for part in module] == [True, False, True, True, True, True, True]
    assert [len(group["params"]) for group in optimizer_for(module, stepper.recipe).inner.param_groups] == [1, 1]


def test_batchnorms_constants_are_the_networks_unless_given(recipe):
    module = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3, momentum=0.01))
    prepare(module, recipe)
    assert (module[0].eps, module[0].momentum) == (1e-3, 0.01)
    prepare(module, recipe.changed(bn_eps=1e-4, bn_momentum=0.2))
    assert (module[0].eps, module[0].momentum) == (1e-4, 0.2)


def test_memory_order_is_the_recipes(builder, recipe, seeded):
    module = builder(recipe, ("a", "b"))
    assert prepare(module, recipe)[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert prepare(module, recipe.changed(channels_last=False))[0].weight.is_contiguous()
