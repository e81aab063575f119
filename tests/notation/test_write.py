from __future__ import annotations

import pytest
from hypothesis import given

from notation.strategies import chains
from striate.errors import NotationError
from striate.geometry import Window
from striate.notation import parse, write
from striate.notation.syntax import Convolution
from striate.ops import AdaptiveAvgPool, AvgPool, Dropout, GlobalAvgPool, MaxPool


@given(chains)
def test_reading_what_was_written_gives_it_back(chain):
    assert parse(write(chain)) == chain


@given(chains)
def test_writing_is_settled_after_once(chain):
    text = write(chain)
    assert write(parse(text)) == text


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("64C3s1p1d1g1", "64C3"),
        ("64C3x3s2x2", "64C3s2"),
        ("64C5p0", "64C5pv"),
        ("64C1pv", "64C1"),
        ("64C3nbg4d2p1:2s2", "64C3s2p1:2d2g4nb"),
        ("64C4p1:1x1:2", "64C4p1x1:2"),
        ("MP2s2pv", "MP2"),
        ("MP3x2s3x2", "MP3x2"),
        ("AAP7x7", "AAP7"),
        ("D0.250", "D0.25"),
        ("010", "10"),
        (" 2 × ( 64C3 – BN ) ", "2x(64C3-BN)"),
    ],
)
def test_the_canonical_form_of(read, written):
    assert write(parse(read)) == written


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (MaxPool((Window(2, 2, ceil_mode=True), Window(2, 2))), "has ceil_mode"),
        (MaxPool((Window(2, 2),)), "has 1 spatial axes instead of two"),
        (AdaptiveAvgPool((2, 3, 4)), "has 3 spatial axes instead of two"),
        (Convolution(3, (Window(3, pad_lo=-1), Window(3))), "has negative padding"),
        (AvgPool((Window(2, 2), Window(2, 2)), count_include_pad=False), "leaves its padding out of the average"),
        (GlobalAvgPool(keep_axes=True), "keeps 1x1 maps that are not flattened"),
        (Dropout(0.5, whole_channels=True), "drops whole channels"),
    ],
)
def test_what_has_no_letters_is_refused(layer, reason):
    with pytest.raises(NotationError, match=f"^notation: it cannot say a layer that {reason}$"):
        write((layer,))
