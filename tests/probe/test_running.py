"""Running with torch and without gives the same tensors and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError
from striate.graph import initialise
from striate.notation import read
from striate.probe import activations, running

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
