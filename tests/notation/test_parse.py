from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import NotationError
from striate.geometry import Window
from striate.notation import parse
from striate.notation.syntax import Convolution, Dense, Depthwise, Norm, Repeat, Residual
from striate.ops import (
    Activation,
    AdaptiveAvgPool,
    AvgPool,
    BlurPool,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    Softmax,
)

LAYERS = (
    "64C3, DW3, BN, R, R6, LR, ELU, S, T, SiLU, HSig, HS, MP2, AP2, BP3, AAP7, GAP, F, D0.5, SM, 10 (dense), 2x(...), "
    "[...], [...|...]"
)


def same(kernel, stride=1, dilation=1):
    pad = dilation * (kernel - 1) // 2
    return Window(kernel, stride, dilation, pad, pad)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("64C3", Convolution(64, (same(3), same(3)))),
        ("64C3x5", Convolution(64, (same(3), same(5)))),
        ("64C3s2", Convolution(64, (same(3, 2), same(3, 2)))),
        ("64C3s2x1", Convolution(64, (same(3, 2), same(3)))),
        ("64C3d2", Convolution(64, (same(3, 1, 2), same(3, 1, 2)))),
        ("64C3x5d1x3", Convolution(64, (same(3), same(5, 1, 3)))),
        ("64C2d2", Convolution(64, (same(2, 1, 2), same(2, 1, 2)))),
        ("64C5pv", Convolution(64, (Window(5), Window(5)))),
        ("64C5p0", Convolution(64, (Window(5), Window(5)))),
        ("64C3p2", Convolution(64, (Window(3, pad_lo=2, pad_hi=2),) * 2)),
        ("64C4p1:2", Convolution(64, (Window(4, pad_lo=1, pad_hi=2),) * 2)),
        ("64C4p1:2x0:3", Convolution(64, (Window(4, pad_lo=1, pad_hi=2), Window(4, pad_hi=3)))),
        ("64C4x3p1:2x1", Convolution(64, (Window(4, pad_lo=1, pad_hi=2), same(3)))),
        ("64C3g4", Convolution(64, (same(3), same(3)), groups=4)),
        ("64C3b", Convolution(64, (same(3), same(3)), bias=True)),
        ("64C3nb", Convolution(64, (same(3), same(3)), bias=False)),
        ("000000000064C03", Convolution(64, (same(3), same(3)))),
        ("DW3s2", Depthwise((same(3, 2), same(3, 2)))),
        ("DW3x5nb", Depthwise((same(3), same(5)), bias=False)),
        ("MP2", MaxPool((Window(2, 2), Window(2, 2)))),
        ("MP3s2p1", MaxPool((Window(3, 2, 1, 1, 1),) * 2)),
        ("MP3x2s1x2d2x1", MaxPool((Window(3, 1, 2), Window(2, 2)))),
        ("AP2x3p1:0", AvgPool((Window(2, 2, pad_lo=1), Window(3, 3, pad_lo=1)))),
        ("BP3", BlurPool((same(3), same(3)))),
        ("BP3x5s2x1", BlurPool((same(3, 2), same(5)))),
        ("BP4s2p1:2", BlurPool((Window(4, 2, pad_lo=1, pad_hi=2),) * 2)),
        ("AAP7", AdaptiveAvgPool((7, 7))),
        ("AAP2x3", AdaptiveAvgPool((2, 3))),
        ("BN", Norm()),
        ("R", Activation("relu")),
        ("R6", Activation("relu6")),
        ("HSig", Activation("hard_sigmoid")),
        ("GAP", GlobalAvgPool()),
        ("F", Flatten()),
        ("SM", Softmax()),
        ("D0.5", Dropout(0.5)),
        ("D0", Dropout(0.0)),
        ("10", Dense(10)),
        ("256nb", Dense(256, bias=False)),
    ],
)
def test_a_layer_means(text, layer):
    assert parse(text) == (layer,)


def test_suffixes_stand_in_any_order():
    orders = ["s2p1:2d3g4nb", "nbg4d3p1:2s2", "g4p1:2nbs2d3"]
    assert len({parse("64C3" + order) for order in orders}) == 1


def test_groups_nest():
    relu = Activation("relu")
    assert parse("2x([BN-3x(R)|R]-R)") == (Repeat(2, (Residual((Norm(), Repeat(3, (relu,))), (relu,)), relu)),)


@pytest.mark.parametrize("text", [" 64C3 - BN-R ", "64C3–BN−R", "64C3\n-BN\t-\u00a0R"])
def test_spaces_and_dashes_of_papers_are_read(text):
    assert parse(text) == parse("64C3-BN-R")


def test_a_multiplication_sign_is_an_x():
    assert parse("2 × ( 64C3×5 )") == parse("2x(64C3x5)")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("32C3-BN-Q3-10", 9, f"unknown layer 'Q3' at character 9; allowed here: {LAYERS}"),
        ("relu", 1, f"unknown layer 'relu' at character 1; did you mean R? allowed here: {LAYERS}"),
        ("64C3-bn", 6, f"unknown layer 'bn' at character 6; did you mean BN? allowed here: {LAYERS}"),
        ("hard_swish", 1, f"unknown layer 'hard_swish' at character 1; did you mean HS? allowed here: {LAYERS}"),
        ("GAP3", 1, f"unknown layer 'GAP3' at character 1; allowed here: {LAYERS}"),
        ("MPx", 1, f"unknown layer 'MPx' at character 1; allowed here: {LAYERS}"),
        ("32C3-", 6, f"a layer is missing at character 6; allowed here: {LAYERS}"),
        ("32C3--R", 6, f"a layer is missing at character 6; allowed here: {LAYERS}"),
        ("[R|]", 4, f"a layer is missing at character 4; allowed here: {LAYERS}"),
        ("2x()", 4, f"a layer is missing at character 4; allowed here: {LAYERS}"),
        ("", 1, "the notation is empty at character 1; write layers joined by -, such as 32C3-BN-R-GAP-10"),
        (
            "(R)",
            1,
            f"a group without a count at character 1; write how often, as in 2x(...); allowed here: {LAYERS}",
        ),
        ("R)", 2, "')' closes or divides no group at character 2; remove it, or open the group before it"),
        ("R|R", 2, "'|' closes or divides no group at character 2; remove it, or open the group before it"),
        ("2x(R", 5, "')' is missing at character 5; the group opened at character 3 must close with ')'"),
        ("[R-[R|R)]", 8, "']' is missing at character 8; the group opened at character 4 must close with ']'"),
        ("[R|R|R]", 5, "']' is missing at character 5; the group opened at character 1 must close with ']'"),
        ("64C3 BN", 6, "unexpected 'BN' at character 6; write - before the next layer"),
        ("R[R]", 2, "unexpected '[' at character 2; write - before the next layer"),
        (
            "64C3q2",
            5,
            (
                "unexpected 'q2' at character 5; allowed suffixes: s stride, p padding or pv for none, d dilation, "
                "g groups, b bias or nb for none"
            ),
        ),
        (
            "DW3g2",
            4,
            (
                "unexpected 'g2' at character 4; allowed suffixes: s stride, p padding or pv for none, d dilation, "
                "b bias or nb for none"
            ),
        ),
        (
            "AP2d2",
            4,
            "unexpected 'd2' at character 4; allowed suffixes: s stride, p padding or pv for none",
        ),
        ("D0.5x", 5, "unexpected 'x' at character 5; this layer takes no suffix; write - before the next layer"),
        ("10n", 3, "unexpected 'n' at character 3; allowed suffixes: b bias or nb for none"),
        ("64C3s2s1", 7, "a second suffix 's' at character 7; give each suffix once"),
        ("64C3bnb", 6, "a second suffix 'b' at character 6; give each suffix once"),
        (
            "32c3",
            3,
            (
                "unexpected 'c3' after 32 at character 3; write 32C3 for a convolution, 32 for a dense layer, "
                "32x(...) for a repetition"
            ),
        ),
        (
            "1٢",
            2,
            (
                "unexpected '٢' after 1 at character 2; write 1C3 for a convolution, 1 for a dense layer, "
                "1x(...) for a repetition"
            ),
        ),
        (
            "64C4",
            4,
            (
                "no padding equal on both sides keeps the size under the even window at character 4; write pv for "
                "none, or both sides as in p0:1"
            ),
        ),
        (
            "MP3p2",
            3,
            "padding 2 is more than half of a pooling window of 3 px at character 3; write at most p1",
        ),
        (
            "MP3p0:2",
            3,
            "padding 2 is more than half of a pooling window of 3 px at character 3; write at most p1",
        ),
        ("64C", 4, "the kernel size is missing at character 4; write a whole number from 1 to 1,000"),
        ("64C3s", 6, "the stride is missing at character 6; write a whole number from 1 to 1,000"),
        ("64C3p1:", 8, "the padding is missing at character 8; write a whole number from 0 to 1,000"),
        ("MP", 3, "the window size is missing at character 3; write a whole number from 1 to 1,000"),
        ("64C0", 4, "kernel size 0 at character 4; write a whole number from 1 to 1,000"),
        ("64C3d1001", 6, "dilation 1001 at character 6; write a whole number from 1 to 1,000"),
        ("0x(R)", 1, "number of repetitions 0 at character 1; write a whole number from 1 to 1,000,000"),
        ("D1", 2, "the probability of dropout is not below 1 at character 2; write it as in D0.5"),
        ("D", 2, "the probability of dropout is not below 1 at character 2; write it as in D0.5"),
    ],
)
def test_a_fault_is_one_message_the_text_and_a_caret(text, column, message):
    with pytest.raises(NotationError) as caught:
        parse(text)
    assert str(caught.value) == f"notation: {message}\n  {text}\n  {' ' * (column - 1)}^"


def test_only_the_neighbourhood_of_a_fault_in_a_long_text_is_shown():
    with pytest.raises(NotationError) as caught:
        parse("R-" * 100 + "Q" + "-R" * 100)
    _, text, caret = str(caught.value).split("\n")
    assert text == "  ..." + "R-" * 30 + "Q" + "-R" * 19 + "-..."
    assert text[len(caret) - 1] == "Q"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("1000000000x(R)", "number of repetitions 1000000000 at character 1"),
        ("9" * 10**6 + "C3", "number of channels or features 999999999999999999999... at character 1"),
        ("(" * 10**5, "a group without a count at character 1"),
        ("[" * 10**5, "groups nested deeper than 32 at character 33"),
        ("2x(" * 10**5, "groups nested deeper than 32 at character 97"),
        ("1000x(1000x(R))", "more than 10,000 layers at character 1"),
        ("100x(" * 9 + "R" + ")" * 9, "more than 10,000 layers at character 31"),
        ("R-" * 10**5, "more than 10,000 layers at character 20001"),
        ("-" * 10**5, "a layer is missing at character 1"),
        ("2" + " " * 10**5, ""),
        ("\x00\x07", "unknown layer '??' at character 1"),
    ],
)
def test_hostile_text_is_refused_at_once(text, start):
    if not start:
        assert parse(text) == (Dense(2),)
        return
    with pytest.raises(NotationError, match=f"^notation: {re.escape(start)};"):
        parse(text)


@given(st.text(alphabet="0123456789CsxpvdgbnDWMAPGFR.:-()[]| ", max_size=30))
def test_any_text_is_read_or_refused_with_a_caret_inside_it(text):
    try:
        parse(text)
    except NotationError as fault:
        _, shown, caret = str(fault).split("\n")
        assert shown == f"  {text}"
        assert 3 <= len(caret) <= len(text) + 3
