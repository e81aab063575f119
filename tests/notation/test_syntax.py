from __future__ import annotations

import pytest

from striate.errors import NotationError
from striate.geometry import Window
from striate.notation import parse
from striate.notation.syntax import (
    ACTIVATIONS,
    MAX_DEPTH,
    MAX_LAYERS,
    Repeat,
    Residual,
    check_limits,
    count_layers,
    default_pad,
)
from striate.ops import CURVES, Activation

RELU = Activation("relu")


def test_every_word_is_an_activation_of_its_own():
    assert len(set(ACTIVATIONS.values())) == len(ACTIVATIONS)
    assert set(ACTIVATIONS.values()) <= set(CURVES)


@pytest.mark.parametrize("size", [11, 12, 37])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_default_padding_keeps_the_size_or_does_not_exist(size, kernel, dilation):
    keeping = [p for p in range(30) if Window(kernel, 1, dilation, p, p).out_size(size + 30) == size + 30]
    pad = default_pad(kernel, dilation)
    assert keeping == ([] if pad is None else [pad])


def test_layers_are_counted_as_written_out_with_one_sum_a_group():
    assert count_layers(parse("3x(16C3-[16C3-R|16C1])-10")) == 3 * (1 + 2 + 1 + 1) + 1


@pytest.mark.parametrize(
    "wrap", [lambda c: (Residual(c),), lambda c: (Repeat(1, c),), lambda c: (Residual((RELU,), c),)]
)
def test_nesting_beyond_the_limit_is_refused_without_recursion(wrap):
    chain = (RELU,)
    for _ in range(MAX_DEPTH):
        chain = wrap(chain)
    assert check_limits(chain) is chain
    for _ in range(10_000):
        chain = wrap(chain)
    with pytest.raises(NotationError, match=r"^notation: groups are nested deeper than 32; write it flatter$"):
        check_limits(chain)


def test_too_many_layers_are_refused():
    assert count_layers(check_limits((Repeat(MAX_LAYERS, (RELU,)),))) == MAX_LAYERS
    with pytest.raises(NotationError, match=r"^notation: 10,001 layers are more than 10,000; repeat fewer times$"):
        check_limits((Repeat(MAX_LAYERS, (RELU,)), RELU))


def test_an_empty_group_is_refused():
    with pytest.raises(NotationError, match=r"^notation: a group is empty; give it at least one layer$"):
        check_limits((Residual((), (RELU,)),))
