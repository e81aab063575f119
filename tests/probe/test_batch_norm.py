"""Batch normalisation's health against networks whose statistics are set by hand, and torch."""

from __future__ import annotations

import numpy as np
import pytest

from striate.errors import NetworkError
from striate.graph import INPUT, Builder, Network, initialise
from striate.notation import read
from striate.ops import BatchNorm
from striate.probe import batch_norm, recalibrate

SHAPE = (2, 3, 7)


def images(count: int = 11, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal([[[[1.0]], [[-3.0]]]], [[[[2.0]], [[0.5]]]], (count, *SHAPE))


def one_norm(**weights: list[float]) -> Network:
    builder = Builder("norm", SHAPE)
    builder.add(BatchNorm(2), INPUT, name="bn")
    net = builder.build()
    values = {"gamma": [1.0, 1.0], "beta": [0.0, 0.0], "running_mean": [0.0, 0.0], "running_var": [1.0, 1.0]} | weights
    return net.with_weights({name: np.array(values[role]) for role, name in net.node("bn").weights.items()})


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3), ddof=1)


def test_the_known_mismatch_is_what_is_measured() -> None:
    x = images()
    mean, var = statistics(x)
    net = one_norm(running_mean=list(mean + np.array([0.5 * np.sqrt(var[0]), 0])), running_var=list(var * [1, np.e]))
    (layer,) = batch_norm(net, x).layers
    np.testing.assert_allclose(layer.mean_error, [0.5, 0], atol=1e-12)
    np.testing.assert_allclose(layer.log_var_ratio, [0, 1], atol=1e-12)
    assert layer.stale


def test_right_statistics_are_not_stale() -> None:
    x = images()
    mean, var = statistics(x)
    found = batch_norm(one_norm(running_mean=list(mean), running_var=list(var)), x)
    assert not found.layers[0].stale
    assert "the running statistics fit: within 0.1 sigma and 0.2 in ln variance" in found.lines()


def test_dead_small_and_impossible_channels() -> None:
    net = one_norm(gamma=[1e-9, 1.0], beta=[-1.0, 0.0], running_var=[1.0, -0.1])
    (layer,) = batch_norm(net, images()).layers
    assert layer.dead.tolist() == [True, False] == layer.small_gamma.tolist()
    assert layer.bad_variance.tolist() == [False, True]
    assert layer.to_json()["log_var_ratio"][1] is None


def test_constant_channel() -> None:
    x = images()
    x[:, 1] = 5.0
    (layer,) = batch_norm(one_norm(), x).layers
    assert layer.constant.tolist() == [False, True]


def test_effective_samples_of_flat_images_are_the_images() -> None:
    x = np.broadcast_to(np.random.default_rng(1).normal(size=(400, 2, 1, 1)), (400, *SHAPE))
    (layer,) = batch_norm(one_norm(), x).layers
    np.testing.assert_allclose(layer.effective_samples, 400, rtol=0.01)


def test_recalibrated_statistics_are_the_population_behind_recalibrated_layers() -> None:
    net = initialise(read("3C3-BN-R-5C3-BN-R-GAP-4", (2, 9, 11)), 0).astype(np.float64)
    x = np.random.default_rng(2).normal(3, 2, (13, 2, 9, 11))
    after = recalibrate(net, x)
    assert all(not layer.stale for layer in batch_norm(after, x).layers)
    for layer in batch_norm(after, x).layers:
        assert np.nanmax(layer.mean_error) < 1e-9
    learnt = [name for name in net.weights if "running" not in name]
    assert all(np.array_equal(net.weights[name], after.weights[name]) for name in learnt)
    assert any(layer.stale for layer in batch_norm(net, x).layers)  # and the network was left as found


def test_torchs_average_of_one_batch_is_the_first_layers_recalibration() -> None:
    torch = pytest.importorskip("torch")
    x = images()
    peer = torch.nn.BatchNorm2d(2, momentum=None).double()
    peer(torch.from_numpy(x))
    after = recalibrate(one_norm(), x)
    node = after.node("bn")
    np.testing.assert_allclose(after.weights[node.weights["running_var"]], peer.running_var.numpy(), rtol=1e-12)
    np.testing.assert_allclose(after.weights[node.weights["running_mean"]], peer.running_mean.numpy(), rtol=1e-12)


def test_modes_agree_where_batch_and_running_statistics_do() -> None:
    x = images(12)
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    modes = batch_norm(one_norm(running_mean=list(mean), running_var=list(var)), x).modes
    assert modes is not None
    assert modes.gap < 1e-12
    assert modes.mates > 1e-3


def test_what_cannot_be_measured_says_why() -> None:
    bare = initialise(read("3C3-R-GAP-4", (2, 9, 11)), 0)
    assert batch_norm(bare, np.zeros((3, 2, 9, 11))).why_not == ("the network has no batch normalisation",)
    with pytest.raises(NetworkError, match=r"has no batch normalisation; there is nothing to recalibrate$"):
        recalibrate(bare, np.zeros((3, 2, 9, 11)))
    assert batch_norm(one_norm(), images(2)).why_not == ("train against eval needs 4 images or more",)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.3, 1.0])
@pytest.mark.usefixtures("seeded")
def test_any_momentum_recalibrates_alike_and_other_layers_buffers_stay(momentum: float | None) -> None:
    torch = pytest.importorskip("torch")
    from striate.graph.from_torch import capture

    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, momentum=momentum), nn.ReLU(), nn.Conv2d(3, 5, 2),
        nn.BatchNorm2d(5, affine=False, momentum=momentum), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    ).double()  # fmt: skip
    module[4].running_mean += 3
    x = np.random.default_rng(2).normal(3, 2, (13, 2, 9, 11))
    was = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    before = capture(module, (2, 9, 11))
    after = recalibrate(before, x)
    changed = {name for name in before.weights if not np.array_equal(before.weights[name], after.weights[name])}
    assert changed == {f"{i}.running_{what}" for i in (1, 4) for what in ("mean", "var")}
    assert all(torch.equal(was[name], tensor) for name, tensor in module.state_dict().items())
    # The second answer: torch's own statistics of what the second norm reads behind the first one's new statistics.
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in after.weights.items()}, strict=False)
    with torch.inference_mode():
        reads = module[:4].eval()(torch.from_numpy(x)).transpose(0, 1).flatten(1)
    np.testing.assert_allclose(after.weights["4.running_mean"], reads.mean(dim=1).numpy(), rtol=1e-10)
    np.testing.assert_allclose(after.weights["4.running_var"], reads.var(dim=1).numpy(), rtol=1e-10)


def test_a_layer_is_stale_only_beyond_chance() -> None:
    x = images(11)
    mean, var = statistics(x)
    sigma = np.sqrt(var)
    (exact,) = batch_norm(one_norm(running_mean=list(mean), running_var=list(var)), x).layers
    assert exact.noise == pytest.approx(1 / np.sqrt(np.median(exact.effective_samples)))
    for off, state in ((0.9, "ok"), (1.1, "stale")):
        edge = mean + sigma * off * (0.1 + 2 * exact.noise)
        (layer,) = batch_norm(one_norm(running_mean=list(edge), running_var=list(var)), x).layers
        assert (layer.state, layer.stale) == (state, state == "stale")
    (alone,) = batch_norm(one_norm(), x[:1]).layers
    assert alone.state == "too few images"
    assert "1 of 1 layers cannot be judged on so few images: give more" in batch_norm(one_norm(), x[:1]).lines()
