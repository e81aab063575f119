"""Each pass without one of its conditions, as folders have shipped it: the proof finds it, at its layer."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewrite.agree import Layers
from striate.geometry import Transposed, Window
from striate.graph import check
from striate.ops import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Pad,
    Scale,
    Slice,
)
from striate.rewrite import PASSES, rewrite
from striate.verify import input_cases, prove

if TYPE_CHECKING:
    from striate.graph import Network

SAME = (Window(3, pad_lo=1, pad_hi=1),) * 2
ONE, VALID = (Window(1), Window(1)), (Window(3), Window(2))
PADDED = (Window(3, 2, pad_lo=1, pad_hi=1), Window(2, 2))
STATE = {"running_mean": [0.3, -0.6, 0.9, 1.2], "running_var": [0.5, 1.5, 2.5, 0.7], "bias": [0.4, -0.8, 1.1, 0.6]}


def norm(name="bn", gamma=(0.7, 1.3, 0.9, 1.8)):
    """A state in which every number matters."""
    return {f"{name}__{role}": values for role, values in {**STATE, "weight": gamma}.items()}


def of(module, name):
    """A function of a pass: the module's, since the package calls the pass itself by that name."""
    return getattr(sys.modules[f"striate.rewrite.{module}"], name)


def never(*_):
    return False


def nothing(*_):
    return ""


def always(*_):
    return True


@dataclass
class Fault:
    """layer: where it must be found; module, name: what is replaced, by wrong."""

    layer: str
    network: Network
    module: str
    name: str
    wrong: Any


def late(*ops, **given):
    """ReLU, norm, and what is named: nothing before can take the norm."""
    layers = Layers((4, 7, 11)).then("relu", Activation()).then("bn", BatchNorm(4))
    for name, op in ops:
        layers.then(name, op)
    return layers.network(**norm(), **given)


def conv_then(op, gamma=(0.7, 1.3, 0.9, 1.8)):
    """A convolution, a pooling and a norm."""
    return (
        Layers((3, 8, 11))
        .then("conv", Conv(3, 4, SAME))
        .then("pool", op)
        .then("bn", BatchNorm(4))
        .network(**norm(gamma=gamma))
    )


def repvgg():
    layers = Layers((4, 7, 11)).then("big", Conv(4, 4, SAME)).then("one", Conv(4, 4, ONE), "input")
    return layers.then("bn", BatchNorm(4), "input").then("sum", Add(), "big", "one", "bn").network(**norm())


def constant(windows, *, value=0.8):
    layers = Layers((3, 7, 11)).then("conv", Conv(3, 4, SAME)).then("relu", Activation())
    network = layers.then("last", Conv(4, 5, windows)).network()
    weight, bias = network.weights["conv.weight"].copy(), network.weights["conv.bias"].copy()
    weight[2], bias[2] = 0, value
    return network.with_weights({**network.weights, "conv.weight": weight, "conv.bias": bias})


def other_groups(op, values, ndim):
    """Every group is given the first group's channels."""
    slots = op.in_channels // op.groups
    return np.broadcast_to(values[:slots], (op.out_channels, slots)).reshape(-1, slots, *(1,) * (ndim - 2))


def in_place(op, read, written):
    """A channel is taken to stay where it was."""
    return np.arange(read[0])


def position_first(op, weights, scale, shift):
    """A flattened map read position by position instead of channel by channel."""
    return AFTER_AFFINE(op, weights, *(v.reshape(4, -1).T.ravel() for v in (scale, shift)))


def in_the_corner(branches):
    windows, taps = HULL(branches)
    return windows, [[range(len(t)) for t in axes] for axes in taps]


def without_the_ones(op, weights, scale, shift):
    taken = TAKING_ONE(op, weights, scale, shift)
    taken["weight"][:, -1] = 0
    return taken


def input_axis(op, weights, bn, statistics):
    """What folders make of a dense layer on 3-D input: the scale meets the wrong axis."""
    right = FOLDED(op, weights, bn, statistics)
    scale, _ = bn.scale_shift(statistics)
    return {**right, "weight": weights["weight"] * scale}


def value_lost(view, first, way):
    return np.where(np.isnan(KNOWN(view, first, way)), np.nan, 0.0)


def beta_lost(view, node):
    found = AS_NORM(view, node)
    return found and (found[0], {**found[1], "beta": np.zeros_like(found[1]["beta"])})


def factor_added(view, node):
    found = AS_NORM(view, node)
    return found and (found[0], {**found[1], "gamma": np.ones(4), "beta": found[1]["gamma"]})


def last_input_lost(op, weights, scale, shift):
    taken = TAKING_ONE(op, weights, scale, shift)
    taken["weight"][-1] = 0
    return taken


AFTER_AFFINE, HULL = of("push_batch_norm", "after_affine"), of("merge_branches", "_hull")
FACTORS = np.reshape([0.5, 2.0, -1.0, 3.0], (4, 1, 1))
AS_NORM, UP = of("fold_constants", "as_norm"), (Transposed(3, 2, 1, 1, 0, 1), Transposed(2, 1, 3))
TAKING_ONE, KNOWN = of("constant_channel", "taking_one"), of("drop_dead_channels", "_known")
FOLDED, DIAGONAL, NORM_OF = (
    of("fold_batch_norm", "folded_weights"),
    of("merge_branches", "_diagonal"),
    of("merge_batch_norms", "norm_of"),
)
TWO_NORMS = Layers((4, 7, 11)).then("relu", Activation()).then("bn1", BatchNorm(4)).then("bn2", BatchNorm(4))
DENSE = Layers((4,)).then("fc", Linear(4, 4)).then("bn", BatchNorm(4))
WIDE = Layers((3, 7, 11)).then("a", Conv(3, 40, ONE)).then("b", Conv(40, 5, SAME))

FAULTS = {
    "forward fold without border": Fault("conv", late(("conv", Conv(4, 5, SAME))), "push_batch_norm", "pads", never),
    "forward fold into the wrong group": Fault(
        "conv", late(("conv", Conv(4, 6, VALID, 2))), "affine", "by_slot", other_groups
    ),
    "forward fold through flattening, position first": Fault(
        "fc", late(("flat", Flatten()), ("fc", Linear(308, 5))), "push_batch_norm", "after_affine", position_first
    ),
    "constant channel without its weights": Fault(
        "conv2",
        Layers((3, 7, 11))
        .then("conv1", Conv(3, 4, SAME))
        .then("relu", Activation())
        .then("bn", BatchNorm(4))
        .then("conv2", Conv(4, 5, SAME))
        .network(**norm()),
        "constant_channel",
        "taking_one",
        without_the_ones,
    ),
    "negative scale over max pooling": Fault(
        "bn", conv_then(MaxPool(PADDED), (0.7, -1.3, 0.9, 1.8)), "hoist_batch_norm", "clash", nothing
    ),
    "shift over padding that average pooling counts": Fault(
        "bn", conv_then(AvgPool(PADDED)), "hoist_batch_norm", "clash", nothing
    ),
    "norm of shuffled channels in the old order": Fault(
        "bn",
        Layers((3, 8, 11))
        .then("conv", Conv(3, 4, SAME))
        .then("mix", ChannelShuffle(2))
        .then("bn", BatchNorm(4))
        .network(**norm()),
        "hoist_batch_norm",
        "channels_before",
        in_place,
    ),
    "norm of a slice taken from the first channels": Fault(
        "conv",
        late(("part", Slice(((1, 3, 1), (None, None, 1), (None, None, 1)))), ("conv", Conv(2, 5, VALID))),
        "push_batch_norm",
        "channels_after",
        lambda op, read, written: np.arange(written[0]),
    ),
    "norm over a border of another number": Fault(
        "conv",
        late(("pad", Pad((0, 1, 0), (0, 0, 2), value=0.5)), ("conv", Conv(4, 5, VALID))),
        "push_batch_norm",
        "clash",
        nothing,
    ),
    "preparation of pixels without border": Fault(
        "conv",
        Layers((4, 7, 11)).then("bn", BatchNorm(4)).then("conv", Conv(4, 5, SAME)).network(**norm()),
        "absorb_input_norm",
        "taking_one",
        without_the_ones,
    ),
    "beta of a branch with gamma 0 lost": Fault(
        "sum",
        Layers((4, 7, 11))
        .then("bn", BatchNorm(4))
        .then("relu", Activation())
        .then("sum", Add(), "relu", "input")
        .network(**norm(gamma=(0, 0, 0, 0))),
        "fold_constants",
        "as_norm",
        beta_lost,
    ),
    "shift before a transposed convolution lost": Fault(
        "up", late(("up", ConvTranspose(4, 5, UP))), "push_batch_norm", "pads", never
    ),
    "transposed convolution scaled along its output": Fault(
        "up",
        Layers((4, 7, 11))
        .then("relu", Activation())
        .then("scale", Scale((4, 1, 1)))
        .then("up", ConvTranspose(4, 4, UP))
        .network(scale__weight=FACTORS),
        "push_batch_norm",
        "after_scale",
        lambda op, weights, scale: {**weights, "weight": weights["weight"] * scale[:, None, None]},
    ),
    "constant channel of a transposed convolution lost": Fault(
        "up",
        Layers((3, 7, 11))
        .then("conv", Conv(3, 4, SAME))
        .then("relu", Activation())
        .then("bn", BatchNorm(4))
        .then("up", ConvTranspose(4, 5, UP))
        .network(**norm()),
        "constant_channel",
        "taking_one",
        last_input_lost,
    ),
    "factor taken for a summand": Fault(
        "conv",
        Layers((4, 7, 11))
        .then("relu", Activation())
        .then("scale", Scale((4, 1, 1)))
        .then("conv", Conv(4, 5, VALID))
        .network(scale__weight=FACTORS),
        "push_batch_norm",
        "as_norm",
        factor_added,
    ),
    "stored factor along the input": Fault(
        "scale",
        Layers((4,)).then("fc", Linear(4, 4)).then("scale", Scale((4,))).network(scale__weight=[0.5, 2.0, -1.0, 3.0]),
        "fold_constants",
        "folded_weights",
        input_axis,
    ),
    "norms in the wrong order": Fault(
        "bn2",
        TWO_NORMS.network(**norm("bn1"), **norm("bn2", (1.1, 0.4, 2.0, 0.9))),
        "merge_batch_norms",
        "norm_of",
        lambda scale, mean, beta: NORM_OF(scale, beta, mean),
    ),
    "dense layer scaled along its input": Fault(
        "bn", DENSE.network(**norm()), "fold_batch_norm", "folded_weights", input_axis
    ),
    "transposed convolution scaled along its input": Fault(
        "bn",
        Layers((4, 3, 5))
        .then("up", ConvTranspose(4, 4, (Transposed(3, 2, 1, 1, 0), Transposed(2, 3))))
        .then("bn", BatchNorm(4))
        .network(**norm()),
        "fold_batch_norm",
        "at_outputs",
        lambda op, values, ndim: values.reshape(-1, *(1,) * (ndim - 1)),
    ),
    "1x1 kernel in the corner of the 3x3": Fault("sum", repvgg(), "merge_branches", "_hull", in_the_corner),
    "shift of the norm branch lost": Fault(
        "sum", repvgg(), "merge_branches", "_diagonal", lambda at, n, like, s, t: DIAGONAL(at, n, like, s, 0 * t)
    ),
    "bias of a 1x1 convolution in the padding": Fault("b", WIDE.network(), "merge_convolutions", "pads", never),
    "bias averaged with padded zeros": Fault(
        "pool",
        Layers((3, 8, 11)).then("conv", Conv(3, 4, ONE)).then("pool", AvgPool(PADDED)).network(),
        "pool_first",
        "averages_only_pixels",
        always,
    ),
    "constant channel folded into the padding": Fault("last", constant(SAME), "drop_dead_channels", "pads", never),
    "value of a constant channel lost": Fault("last", constant(VALID), "drop_dead_channels", "_known", value_lost),
    "bias removed with a channel that is only usually dead": Fault(
        "last",
        Layers((3, 7, 11))
        .then("conv", Conv(3, 4, SAME))
        .then("relu", Activation())
        .then("gap", GlobalAvgPool())
        .then("last", Linear(4, 3))
        .network(conv__bias=[0.1, -0.4, 0.2, 0.3]),
        "drop_dead_channels",
        "_known",
        lambda view, first, way: np.array([np.nan, 0, np.nan, np.nan]) if first.name == "conv" else np.full(3, np.nan),
    ),
}


def fault_of(original, rewritten, engine):
    shape = original.input_shape
    channels = np.arange(1.0, shape[0] + 1)
    cases = input_cases(shape, -channels, 2 * channels, seed=0)
    return prove(original, rewritten, engine(rewritten), engine(original), cases, (1, 2, 7)).fault


@pytest.mark.parametrize("case", FAULTS)
def test_a_pass_without_its_condition_is_found_at_its_layer(case, monkeypatch, numpy_engine):
    fault = FAULTS[case]
    right = rewrite(fault.network, tuple(PASSES)).network
    assert fault_of(fault.network, right, numpy_engine) == ""
    monkeypatch.setattr(sys.modules[f"striate.rewrite.{fault.module}"], fault.name, fault.wrong)
    wrong = rewrite(fault.network, tuple(PASSES)).network
    assert fault_of(fault.network, wrong, numpy_engine).startswith(f"{fault.layer}: algebra: ")


def test_a_dropped_residual_scale(numpy_engine):
    """The norm after a sum folded into the convolution alone, the other input of the sum left as it was."""
    layers = Layers((4, 7, 11)).then("conv", Conv(4, 4, SAME)).then("sum", Add(), "conv", "input")
    network = layers.then("bn", BatchNorm(4)).network(**norm())
    folded = of("fold_batch_norm", "folded_weights")(
        network.node("conv").op, network.weights_of(network.node("conv")), network.node("bn").op,
        network.weights_of(network.node("bn")),
    )  # fmt: skip
    nodes = (
        replace(network.node("conv"), name="folded"),
        replace(network.node("sum"), name="bn", inputs=("folded", "input")),
    )
    wrong = check(replace(network, nodes=nodes)).with_weights({f"conv.{role}": array for role, array in folded.items()})
    assert fault_of(network, wrong, numpy_engine).startswith("bn: algebra: ")
