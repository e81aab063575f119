from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from striate.graph import initialise
from striate.graph.to_torch import to_module
from striate.notation import read
from striate.train.norms.regroup import groups_for, micro_batch_hint, regroup, with_group_norm


@pytest.mark.parametrize(
    ("channels", "groups"), [(3, 1), (4, 1), (8, 2), (24, 6), (32, 8), (64, 16), (128, 32), (256, 32), (66, 11), (7, 1)]
)
def test_groups_divide_the_channels_and_are_no_single_ones(channels, groups):
    assert groups_for(channels) == groups
    assert channels % groups == 0


def test_the_network_and_the_module_are_regrouped_alike(seeded):
    network = initialise(read("8C3-BN-R-12C3s2-BN-R-GAP-7", (3, 9, 11)), 4)
    grouped = with_group_norm(network)
    assert [node.op.kind for node in grouped][1] == "group_norm"
    assert {name.rpartition(".")[2] for name in grouped.weights if name.startswith("bn")} == {"weight", "bias"}
    module = to_module(grouped)
    torch_own = regroup(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 7),
        )
    )  # fmt: skip
    with torch.no_grad():
        for mine, theirs in zip(torch_own.parameters(), module.parameters(), strict=True):
            mine.copy_(theirs)
    images = torch.rand(5, 3, 9, 11)
    torch.testing.assert_close(torch_own(images), module(images))
    alone = torch.cat([copy.deepcopy(module)(image[None]) for image in images])
    torch.testing.assert_close(module(images), alone)  # an image does not depend on its batch
    assert module.trained().weights.keys() == grouped.weights.keys()


def test_group_norm_is_suggested_at_micro_batches_of_batch_norm():
    network = read("8C3-BN-R-GAP-7", (3, 9, 11))
    assert micro_batch_hint(network, 8) is None
    assert micro_batch_hint(with_group_norm(network), 2) is None
    assert str(micro_batch_hint(network, 4)) == (
        "norm = network (batch statistics of 4 images are noisy; --norm group needs no batch)"
    )
