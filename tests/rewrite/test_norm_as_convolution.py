from __future__ import annotations

from rewrite.agree import Layers, applied, left_alone, refusal
from striate.geometry import Window
from striate.ops import Activation, BatchNorm, Conv, Linear
from striate.rewrite import norm_as_convolution

PADDED = (Window(3, 2, 1, 1, 2), Window(5, 1, 2, 3, 0))


def test_a_norm_of_the_input_becomes_a_depthwise_convolution():
    rewritten, what = applied(
        norm_as_convolution, Layers().then("bn", BatchNorm(3)).then("conv", Conv(3, 4, PADDED)).network()
    )
    node = rewritten.node("bn")
    assert node.op == Conv(3, 3, (Window(1), Window(1)), groups=3)
    assert rewritten.weights_of(node)["weight"].shape == (3, 1, 1, 1)
    why = "it is read by conv conv, whose zero padding the shift must not reach"
    assert what == [f"written as a depthwise 1 x 1 convolution, since {why}"]


def test_a_norm_that_is_the_result():
    _, what = applied(norm_as_convolution, Layers().then("bn", BatchNorm(3, affine=False)).network())
    assert what == ["written as a depthwise 1 x 1 convolution, since it is the network's result"]


def test_other_norms_are_left_alone():
    left_alone(norm_as_convolution, Layers().then("relu", Activation("relu")).then("bn", BatchNorm(3)).network())
    left_alone(norm_as_convolution, Layers((5,)).then("bn", BatchNorm(5)).then("fc", Linear(5, 2)).network())


def test_a_norm_that_is_no_affine_map_is_refused():
    broken = Layers().then("bn", BatchNorm(3)).network(bn__running_var=[1, 1, -2])
    assert refusal(norm_as_convolution, broken) == "running_var + eps is -1.99999 in channel 2, not positive"
