"""Dead and saturated units, and evidence, in networks built to have them where we know."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError
from striate.graph import INPUT, Builder, Network, initialise
from striate.notation import read
from striate.ops import Activation, GlobalAvgPool, Linear
from striate.probe import activations, evidence

SHAPE = (3, 8, 13)


def curve(name: str) -> Network:
    builder = Builder("curve", SHAPE)
    builder.add(Activation(name), INPUT, name="act")
    return builder.build()


def test_known_dead_and_constant_channels() -> None:
    x = np.random.default_rng(0).normal(size=(5, *SHAPE))
    x[:, 1] = -1
    x[:, 2] = 4
    (layer,) = activations(curve("relu"), x).layers
    assert (layer.dead, layer.constant) == ((1,), (2,))
    assert layer.zeros == (np.maximum(x, 0) == 0).mean()
    assert layer.saturated is None


def test_share_of_saturated_values() -> None:
    x = np.zeros((2, *SHAPE))
    x[:, :, :2] = 9.0  # tanh 0.9999; a quarter of 8 rows
    assert activations(curve("tanh"), x).layers[0].saturated == 0.25
    assert activations(curve("relu6"), x).layers[0].saturated == 0.25
    assert activations(curve("sigmoid"), x).layers[0].saturated == 0.25


def sum_of_first_channel() -> Network:
    builder = Builder("sum", SHAPE)
    x = builder.add(Activation("relu"), INPUT, name="act")
    x = builder.add(GlobalAvgPool(), x, name="gap")
    builder.add(Linear(3, 2), x, name="fc")
    net = builder.build()
    names = net.node("fc").weights
    return net.with_weights({names["weight"]: np.array([[1.0, 0, 0], [0, 0, 0]]), names["bias"]: np.zeros(2)})


def test_evidence_is_where_the_only_bright_pixel_is() -> None:
    x = np.zeros((1, *SHAPE))
    x[0, 0, 6, 10] = 52.0  # mean over 104 positions: a logit of 0.5
    x[0, 1, 2, 2] = 99.0  # a channel that nobody reads
    found = evidence(sum_of_first_channel(), x)
    assert (found.answer, found.logit) == (0, 0.5)
    assert found.grad_cam is not None
    assert found.occlusion is not None
    assert np.argwhere(found.grad_cam).tolist() == [[6, 10]]
    np.testing.assert_allclose(found.grad_cam[6, 10], 52 / 104, rtol=1e-6)  # a_k = 1/104
    assert found.occlusion[6, 10] == found.occlusion.max() == 0.5
    assert found.occlusion[2, 2] == 0


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(NetworkError) as fault:
        evidence(sum_of_first_channel(), np.zeros((1, *SHAPE)), answer=2)
    assert str(fault.value) == "sum: class 2 is none of its 2; use 0 to 1"


def test_an_answer_that_no_place_carries() -> None:
    found = evidence(sum_of_first_channel(), np.ones((1, *SHAPE)), answer=1)  # a logit of 0 whatever is hidden
    assert found.lines()[1] == "hiding 2 x 2 px nowhere lowers the logit: no one place carries this answer"


def test_networks_without_maps_or_activations_say_why() -> None:
    flat = initialise(read("F-9", SHAPE), 0)
    x = np.ones((2, *SHAPE))
    assert activations(flat, x).why_not == ("the network has no activation layers",)
    assert evidence(flat, x).why_not == ("the network has no feature maps: no Grad-CAM",)
    assert "the output (3, 8, 13)" in evidence(curve("relu"), x).why_not[0]
