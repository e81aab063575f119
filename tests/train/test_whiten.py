from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.errors import RecipeError
from striate.train.binding import prepare, stepper_for
from striate.train.update.whiten import whiten, whitening_filters

RNG = np.random.default_rng(8)
MIXED = RNG.normal(size=(3, 3)) + np.eye(3)


def images(count, seed):
    """Smooth noise with correlated channels: (N, 3, 9, 7)."""
    noise = np.random.default_rng(seed).normal(size=(count, 3, 11, 8))
    smooth = noise[:, :, :-2, :-1] + noise[:, :, 1:-1, 1:] + noise[:, :, 2:, :-1]
    return torch.from_numpy(np.einsum("ij,njhw->nihw", MIXED, smooth)).float()


def test_the_outputs_are_uncorrelated_and_of_one_size():
    """By definition: filter all patches, and look at the second moments of what comes out."""
    batches = [images(5, 1), images(8, 2)]
    filters = whitening_filters(batches, (3, 2))
    assert filters.shape == (18, 3, 3, 2)
    out = F.conv2d(torch.cat(batches).double(), filters).transpose(0, 1).flatten(1)
    moments = (out @ out.T / out.shape[1]).numpy()
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0, atol=1e-10)
    assert 0.99 < np.diag(moments)[0] <= 1
    assert np.all(np.diff(np.diag(moments)) < 1e-9)  # the eps takes the more, the smaller the eigenvalue
    largest = filters.flatten(1).gather(1, filters.flatten(1).abs().argmax(1, keepdim=True))
    assert bool((largest > 0).all())


def test_the_first_convolution_holds_the_strongest_filters_and_their_negatives(seeded):
    module = nn.Sequential(nn.Conv2d(3, 8, (3, 2)), nn.GELU(), nn.Conv2d(8, 4, 3))
    kept = module[2].weight.detach().clone()
    whiten(module, [images(13, 3)])
    expected = whitening_filters([images(13, 3)], (3, 2))[:4].float()
    torch.testing.assert_close(module[0].weight.detach(), torch.cat([expected, -expected]))
    assert not module[0].weight.requires_grad
    assert module[0].bias.requires_grad
    assert torch.equal(module[2].weight, kept)


def test_a_network_without_a_convolution_is_told():
    with pytest.raises(RecipeError, match=r"^recipe: whiten = true, and the network has no convolution; set it to "):
        whiten(nn.Sequential(nn.ReLU()), [images(2, 1)])


@pytest.mark.parametrize(("filters", "kernel", "most"), [(38, (3, 2), "36 of 3x2"), (7, (3, 3), "54 of 3x3")])
def test_a_stem_that_cannot_hold_them_is_told(seeded, filters, kernel, most):
    message = (
        f"recipe: whiten = true needs a first convolution of an even number of filters, at most {most} on 3 "
        f"channels, without groups and dilation; it has {filters}"
    )
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        whiten(nn.Sequential(nn.Conv2d(3, filters, kernel)), [images(2, 1)])


def test_a_recipe_whitens_before_the_first_step(seeded, dataset, recipe):
    module = nn.Sequential(nn.Conv2d(3, 24, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3))
    asked = recipe.changed(whiten=True)
    stepper = stepper_for(prepare(module, asked), dataset, asked)
    assert "0.weight" not in stepper.optimizer.buffers()
    assert torch.equal(module[0].weight[:12], -module[0].weight[12:])
