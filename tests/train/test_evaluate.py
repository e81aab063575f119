from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.data.preprocess import normalise
from striate.errors import RunError, ShapeError
from striate.train.evaluation.evaluate import evaluate
from striate.train.loop import build


@pytest.fixture
def module(builder, recipe, dataset):
    return build(builder, recipe, dataset.classes)


@pytest.mark.parametrize("batch_images", [1, 7, 256])
def test_counts_and_loss_are_those_of_one_plain_pass(module, dataset, batch_images):
    part = dataset.test
    got = evaluate(module, part, dataset.preprocessing, batch_images)
    module.eval()
    with torch.no_grad():
        logits = module(torch.from_numpy(normalise(part.images, dataset.preprocessing)))
    expected = np.zeros((3, 3), np.int64)
    for true, predicted in zip(part.labels, logits.argmax(1).tolist(), strict=True):
        expected[true, predicted] += 1
    np.testing.assert_array_equal(got.confusion, expected)
    assert got.loss == pytest.approx(F.cross_entropy(logits, torch.from_numpy(part.labels)).item(), rel=1e-5)
    assert (got.images, got.right, got.accuracy) == (23, expected.trace(), expected.trace() / 23)


def test_flags_and_statistics_are_left_as_found(module, dataset):
    module.train()
    module[1].eval()
    flags = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    evaluate(module, dataset.test, dataset.preprocessing)
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_score_that_does_not_exist_is_null(dataset):
    class First(nn.Module):
        def forward(self, images):
            return torch.tensor([1.0, 0.0, 0.0]).expand(len(images), 3)

    values = evaluate(First(), dataset.test, dataset.preprocessing).to_json()
    assert values["recall"] == [1.0, 0.0, 0.0]
    assert values["precision"] == [8 / 23, None, None]
    assert values["confusion"] == [[8, 0, 0], [8, 0, 0], [7, 0, 0]]


def test_too_few_outputs_are_told(dataset, seeded):
    message = (
        "network: output (23, 2) for 23 images; expected (23, K) with K at least 3 (the labels go that far); "
        "end the network in one number for each class"
    )
    module = nn.Sequential(nn.Flatten(), nn.Linear(297, 2))
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        evaluate(module, dataset.test, dataset.preprocessing)


def test_a_diverged_network_is_told(dataset, seeded):
    module = nn.Sequential(nn.Flatten(), nn.Linear(297, 3))
    module[1].bias.data[1] = torch.nan
    with pytest.raises(RunError, match=r"^evaluation: the loss is nan on 23 images; the network has diverged$"):
        evaluate(module, dataset.test, dataset.preprocessing)
