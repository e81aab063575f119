"""The health of batch normalisation: what the running statistics say against what the images give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from striate.errors import NetworkError
from striate.graph import Network
from striate.measure.text import aligned
from striate.ops import Array, BatchNorm
from striate.probe.running import batches, need_images, outputs, ready, rms, up_to, visit

STALE_MEAN = 0.1
"""sigma by which a running mean may be off before the layer is called stale."""
STALE_LOG_VAR = 0.2
"""ln of the variance ratio likewise: a scale that is 10 % off."""
TOO_NOISY = 0.25
"""Standard error of a mean, in sigma, from which on the images are too few to judge a layer: 16 effective samples."""
LEAST_FOR_MODES = 4
SMALL_GAMMA = 1e-3
CONSTANT = 1e-12
"""Variance, as a share of the mean square, under which a channel does not move at all."""


@dataclass(frozen=True, slots=True, eq=False)
class NormHealth:
    """One BatchNorm layer; arrays have one value a channel (C,).

    mean_error: |mu_run - mu_pop| / sigma_pop, in sigma; log_var_ratio: ln(var_run / var_pop); NaN where var <= 0
    effective_samples: sigma_pop^2 / Var(mean of one image) for each image, times the images: how many independent
        values the statistics rest on; at most images x positions
    small_gamma, constant, dead, bad_variance: bool; dead = gamma near 0 and beta <= 0
    """

    layer: str
    images: int
    mean_error: Array
    log_var_ratio: Array
    effective_samples: Array
    small_gamma: Array
    constant: Array
    dead: Array
    bad_variance: Array

    @property
    def noise(self) -> float:
        """Standard error of a channel's mean over these images, in sigma: 1 / sqrt(effective samples), the median."""
        samples = self.effective_samples[np.isfinite(self.effective_samples)]
        return float(1 / np.sqrt(np.median(samples))) if samples.size else float("inf")

    @property
    def state(self) -> Literal["ok", "stale", "too few images"]:
        """Whether the median channel is off by more than is allowed and chance explains, or a variance is impossible.

        Chance: two standard errors, of the mean and of ln of the variance (sqrt 2 as large).
        """
        moved = ~self.constant
        if self.bad_variance.any():
            return "stale"
        if not moved.any():
            return "ok"
        if self.noise > TOO_NOISY:
            return "too few images"
        off = np.median(self.mean_error[moved]), np.median(np.abs(self.log_var_ratio[moved]))
        chance = 2 * self.noise
        return "stale" if off[0] > STALE_MEAN + chance or off[1] > STALE_LOG_VAR + np.sqrt(2) * chance else "ok"

    @property
    def stale(self) -> bool:
        """Whether recalibrating is called for."""
        return self.state == "stale"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is not a number is null."""
        arrays = {k: _plain(v) for k, v in self._arrays().items()}
        return {"layer": self.layer, "images": self.images, "state": self.state, **arrays}

    def _arrays(self) -> dict[str, Array]:
        names = ("mean_error", "log_var_ratio", "effective_samples", "small_gamma", "constant", "dead", "bad_variance")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class TrainEval:
    """The same images with batch statistics and with running ones.

    gap: RMS(train - eval) / RMS(eval) of the outputs; agreement: share of equal answers
    mates: RMS change of an image's outputs in training when its batch mates change, as a share of their RMS
    """

    images: int
    gap: float
    agreement: float
    mates: float


@dataclass(frozen=True, slots=True)
class BatchNormProbe:
    """Every BatchNorm layer of a network on `images` images, and what training mode does to the answers."""

    network: str
    images: int
    layers: tuple[NormHealth, ...]
    modes: TrainEval | None
    why_not: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """A table of the layers and its reading."""
        heads = (
            "batch norm",
            "channels",
            "mean off, sigma",
            "|ln var ratio|",
            "eff. samples",
            "gamma~0",
            "bad",
            "state",
        )
        rows = [_row(layer) for layer in self.layers]
        text = aligned(heads, rows, (False, *(True,) * 6, False)) if rows else []
        return [*text, *self._reading(), *(f"not measured: {why}" for why in self.why_not)]

    def _reading(self) -> list[str]:
        said = []
        if stale := [layer.layer for layer in self.layers if layer.stale]:
            said.append(
                f"{len(stale)} of {len(self.layers)} layers are stale, {stale[0]} first: run striate recalibrate"
            )
        elif few := [layer.layer for layer in self.layers if layer.state == "too few images"]:
            said.append(f"{len(few)} of {len(self.layers)} layers cannot be judged on so few images: give more")
        elif self.layers:
            said.append(f"the running statistics fit: within {STALE_MEAN} sigma and {STALE_LOG_VAR} in ln variance")
        if self.modes:
            said.append(
                f"training mode changes the outputs by {100 * self.modes.gap:.1f} % RMS and "
                f"{100 * (1 - self.modes.agreement):.1f} % of the answers; other batch mates, "
                f"by {100 * self.modes.mates:.1f} %"
            )
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        modes = asdict(self.modes) if self.modes else None
        layers = [layer.to_json() for layer in self.layers]
        return {
            "probe": "batch-norm", "images": self.images, "layers": layers, "modes": modes,
            "why_not": list(self.why_not),
        }  # fmt: skip


def batch_norm(network: Network, images: Array) -> BatchNormProbe:
    """Compare running with population statistics, which are those of all `images` at the layer's input at test time.

    The population variance has Bessel's correction, as the running one has in torch.
    Shapes: images (N, C, H, W), normalised.  Raises: NetworkError.
    """
    network, images, hidden = ready(network, images)
    norms = {node.name: node for node in network if isinstance(node.op, BatchNorm)}
    if not norms:
        return BatchNormProbe(network.name, len(images), (), None, ("the network has no batch normalisation", *hidden))
    found = {name: _Sums() for name in norms}
    sources: dict[str, list[str]] = {}
    for name, node in norms.items():
        sources.setdefault(node.inputs[0], []).append(name)
    for x in batches(network, images):
        for source in ("input",) if "input" in sources else ():
            _add(found, sources[source], x)
        for source, value in visit(network, x):
            _add(found, sources.get(source, []), value)
    layers = tuple(_health(network, name, found[name]) for name in norms)
    if hidden:
        return BatchNormProbe(network.name, len(images), layers, None, hidden)
    if len(images) < LEAST_FOR_MODES:
        why = (f"train against eval needs {LEAST_FOR_MODES} images or more",)
        return BatchNormProbe(network.name, len(images), layers, None, why)
    return BatchNormProbe(network.name, len(images), layers, _modes(network, images))


def recalibrate(network: Network, images: Array) -> Network:
    """The network with precise statistics: those of all images, layer after layer, each behind recalibrated ones.

    Every other weight, and momentum, is untouched. Exact where running averages of batches are not (Wu & Johnson
    2021, arXiv:2105.07576, sec. 3): no layer sees batch statistics, and all images weigh the same.
    Raises: NetworkError without BatchNorm, on two layers that share statistics, or on one value a channel.
    """
    images = need_images(network, images)
    norms = [node for node in network if isinstance(node.op, BatchNorm)]
    if not norms:
        raise NetworkError(f"{network.name}: has no batch normalisation; there is nothing to recalibrate")
    means = [node.weights["running_mean"] for node in norms]
    if len(set(means)) != len(means):
        raise NetworkError(f"{network.name}: layers share running statistics; one set cannot be right for both")
    for node in norms:
        sums = _Sums()
        source = node.inputs[0]
        if source == "input":
            sums.add(images)
        else:
            part = up_to(network, source)
            for x in batches(part, images):
                sums.add(next(value for name, value in visit(part, x) if name == source))
        mean, var = sums.statistics(node.name)
        dtype = network.weights[node.weights["running_mean"]].dtype
        new = {node.weights["running_mean"]: mean.astype(dtype), node.weights["running_var"]: var.astype(dtype)}
        network = network.with_weights({**network.weights, **new})
    return network


class _Sums:
    """Statistics of each channel over batches, merged in float64.  Chan, Golub, LeVeque 1979."""

    def __init__(self) -> None:
        self.means: list[Array] = []  # (N, C) of each image
        self.count = 0
        self.mean: Array = np.zeros(1)
        self.squares: Array = np.zeros(1)

    def add(self, x: Array) -> None:
        wide = x.reshape(*x.shape[:2], -1).astype(np.float64)
        n = wide.shape[0] * wide.shape[2]
        mean = wide.mean(axis=(0, 2))
        squares = np.square(wide - mean[:, None]).sum(axis=(0, 2))
        total = self.count + n
        delta = mean - self.mean
        self.mean = self.mean + delta * n / total
        self.squares = self.squares + squares + delta**2 * self.count * n / total
        self.count = total
        self.means.append(wide.mean(axis=2))

    def statistics(self, layer: str) -> tuple[Array, Array]:
        """Mean and variance with Bessel's correction, (C,)."""
        if self.count < 2:
            raise NetworkError(f"{layer}: got one value a channel, which has no variance; give more images")
        return self.mean, self.squares / (self.count - 1)


def _add(found: dict[str, _Sums], names: list[str], value: Array) -> None:
    for name in names:
        found[name].add(value)


def _health(network: Network, name: str, sums: _Sums) -> NormHealth:
    node = network.node(name)
    weights = {role: array.astype(np.float64) for role, array in network.weights_of(node).items()}
    mean = sums.mean
    var = sums.squares / max(1, sums.count - 1)
    constant = var <= CONSTANT * (mean**2 + var) + 1e-30
    bad = ~(weights["running_var"] > 0) | ~np.isfinite(weights["running_mean"])
    gamma = np.abs(weights.get("gamma", np.ones_like(mean)))
    beta = weights.get("beta", np.zeros_like(mean))
    of_images = np.concatenate(sums.means)  # (N, C)
    images = len(of_images)
    between = of_images.var(axis=0, ddof=1) if images > 1 else np.full_like(mean, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(constant, np.nan, np.abs(weights["running_mean"] - mean) / np.sqrt(var))
        ratio = np.where(constant | bad, np.nan, np.log(weights["running_var"] / var))
        samples = np.where(constant, np.nan, np.minimum(images * var / between, sums.count))
    small = gamma < SMALL_GAMMA
    return NormHealth(name, images, off, ratio, samples, small, constant, small & (beta <= 0), bad)


def _modes(network: Network, images: Array) -> TrainEval:
    """One batch with its batch statistics, and the first third of it beside two sets of mates."""
    x = next(iter(batches(network, images, 4)))
    settled, trained = outputs(network, x), _trained(network, x)
    answers = settled.reshape(len(x), -1).argmax(1) == trained.reshape(len(x), -1).argmax(1)
    third = len(x) // 3
    kept, left, right = x[:third], x[third : 2 * third], x[2 * third : 3 * third]
    one, other = (_trained(network, np.concatenate([kept, mates]))[:third] for mates in (left, right))
    gap, moved = _share(rms(trained - settled), rms(settled)), _share(rms(one - other), rms(one))
    return TrainEval(len(x), gap, float(answers.mean()), moved)


def _trained(network: Network, x: Array) -> Array:
    return next(v.copy() for name, v in visit(network, x, training=True) if name == network.output)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0 if part == 0 else float("inf")


def _row(layer: NormHealth) -> tuple[str, ...]:
    moved = ~layer.constant
    middle = [
        f"{np.nanmedian(values[moved]):.3g}" if moved.any() and np.isfinite(values[moved]).any() else "-"
        for values in (layer.mean_error, np.abs(layer.log_var_ratio), layer.effective_samples)
    ]
    counts = (int(layer.small_gamma.sum()), int((layer.bad_variance | layer.constant).sum()))
    return (layer.layer, str(len(layer.constant)), *middle, *map(str, counts), layer.state)


def _plain(values: Array) -> list[Any]:
    if values.dtype == np.bool_:
        return [bool(v) for v in values]
    return [float(v) if np.isfinite(v) else None for v in values]
