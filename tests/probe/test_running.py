"""Running with torch and without gives the same tensors and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError
from striate.geometry import Window
from striate.graph import INPUT, Builder, Network, initialise, reference
from striate.notation import read
from striate.ops import Activation, Conv, GlobalAvgPool, GroupNorm, Unknown
from striate.probe import activations, consistency, evidence, running

SHAPE = (2, 9, 11)
NET = initialise(read("3C3-BN-R-MP2-5C3-R-GAP-4", SHAPE), 0).astype(np.float64)
IMAGES = np.random.default_rng(0).normal(size=(3, *SHAPE))


@pytest.mark.parametrize("training", [False, True])
def test_torch_and_numpy_agree(monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    pytest.importorskip("torch")
    names = [node.name for node in NET]
    seeds = {NET.output: np.eye(4)[[0, 2, 3]]}
    layer = running.map_layers(NET)[-1]
    one = running.tensors(NET, IMAGES, names, training=training)
    slopes = [running.gradients(NET, IMAGES, seeds, at)[NET.output] for at in ("input", layer)]
    monkeypatch.setattr(running, "find_spec", lambda _: None)
    other = running.tensors(NET, IMAGES, names, training=training)
    for name in names:
        np.testing.assert_allclose(one[name], other[name], atol=1e-12)
    for slope, at in zip(slopes, ("input", layer), strict=True):
        np.testing.assert_allclose(slope, running.gradients(NET, IMAGES, seeds, at)[NET.output], atol=1e-12)


def test_a_layer_without_torch_form_is_run_in_numpy() -> None:
    builder = Builder("normed", SHAPE)
    x = builder.add(Conv(2, 4, (Window(3), Window(2))), INPUT, name="conv")
    x = builder.add(GroupNorm(4, groups=2), x, name="norm")
    x = builder.add(Activation("relu"), x, name="relu")
    builder.add(GlobalAvgPool(), x, name="gap")
    net = initialise(builder.build(), 0).astype(np.float64)
    found = activations(net, IMAGES).layers[0]
    assert found.zeros == (reference.run(net, IMAGES)["relu"] == 0).mean()
    assert evidence(net, IMAGES).grad_cam is not None
    assert consistency(net, IMAGES).agreements


def with_an_unknown_layer(after: str) -> Network:
    builder = Builder("odd", SHAPE)
    x = builder.add(Conv(2, 4, (Window(3), Window(2))), INPUT, name="conv") if after else INPUT
    x = builder.add(
        Unknown("fft", (4, 7, 10), why="fft is not known") if after else Unknown("fft", SHAPE), x, name="fft"
    )
    x = builder.add(Activation("relu"), x, name="relu")
    builder.add(GlobalAvgPool(), x, name="gap")
    return initialise(builder.build(), 0)


def test_what_depends_on_an_unknown_layer_is_left_out() -> None:
    network, images, why = running.ready(with_an_unknown_layer("conv"), IMAGES)
    assert [node.name for node in network] == ["conv"]
    assert images.dtype == np.float32
    assert why == ("3 of 4 layers, fft and what depends on it: fft is not known",)
    assert activations(with_an_unknown_layer("conv"), IMAGES).why_not == (
        "the network has no activation layers",
        *why,
    )
    with pytest.raises(NetworkError) as fault:
        activations(with_an_unknown_layer(""), IMAGES)
    assert str(fault.value) == (
        "odd: nothing is left to measure without 3 of 3 layers, fft and what depends on it: fft is unknown to striate; "
        "write that part in known layers"
    )


def test_wrong_images_are_told_what_is_needed() -> None:
    with pytest.raises(
        NetworkError, match=r"got images \(3, 2, 9, 9\), needs \(N, 2, 9, 11\); decode them to this size$"
    ):
        activations(NET, IMAGES[..., :9])
    with pytest.raises(NetworkError, match=r"got 0 image\(s\), this probe needs 1; give more$"):
        activations(NET, IMAGES[:0])
    with pytest.raises(NetworkError, match=r"values that are not finite; normalise them first$"):
        activations(NET, IMAGES * np.nan)
    with pytest.raises(NetworkError, match=r"has no weights to probe; initialise or load the network first$"):
        activations(read("3C3-R-GAP-4", SHAPE), IMAGES)
