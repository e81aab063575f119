from __future__ import annotations

import pytest
from hypothesis import given

from notation.strategies import chains
from striate.notation import canonical, expand, parse, write
from striate.notation.syntax import MAX_DEPTH, Repeat, Residual


def has_repeat(chain):
    return any(
        isinstance(i, Repeat) or (isinstance(i, Residual) and (has_repeat(i.body) or has_repeat(i.shortcut)))
        for i in chain
    )


def test_writing_out():
    assert write(expand(parse("2x(64C3-2x(R)-[BN-2x(S)|3x(T)])"))) == "-".join(["64C3-R-R-[BN-S-S|T-T-T]"] * 2)


@given(chains)
def test_written_out_text_repeats_nothing_and_stays_so(chain):
    plain = expand(chain)
    assert not has_repeat(plain)
    assert expand(plain) == plain


@given(chains)
def test_the_canonical_form_is_settled_and_says_the_same(chain):
    form = canonical(chain)
    assert canonical(form) == form
    assert canonical(expand(chain)) == form
    assert len(write(form)) <= len(write(expand(chain)))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("64C3-BN-R-64C3-BN-R-GAP-10", "2x(64C3-BN-R)-GAP-10"),
        ("R-R", "R-R"),  # 2x(R) is longer
        ("64C3-64C3-BN", "2x(64C3)-BN"),
        ("64C3nb-64C3-BN", "64C3nb-64C3-BN"),
        ("64C3b-64C3nb-BN-10b", "2x(64C3)-BN-10"),
        ("64C3b-BN-64C3b-BN", "2x(64C3b-BN)"),
        ("32C3s2-BN-R-32C3-BN-R-32C3-BN-R", "32C3s2-BN-R-2x(32C3-BN-R)"),
        ("[16C3-BN]-R-[16C3-BN]-R", "2x([16C3-BN]-R)"),
        ("-".join(["64C3-R-64C3-R-MP2"] * 2), "2x(2x(64C3-R)-MP2)"),
        ("1x(64C3)", "64C3"),
    ],
)
def test_the_canonical_form_of(text, form):
    assert write(canonical(parse(text))) == form


def test_the_deepest_notation_stays_readable():
    """Where a repetition would nest it too deep to be read again, it is written out."""
    text = "[" * MAX_DEPTH + "64C3-R-64C3-R" + "]" * MAX_DEPTH
    assert write(canonical(parse(text))) == text
    assert write(canonical(parse(text[1:-1]))) == text[1:-1].replace("64C3-R-64C3-R", "2x(64C3-R)")


def test_thousands_of_layers_that_never_repeat_take_no_time():
    text = "-".join(f"{i % 97 + 1}C{i % 89 + 1}p0" for i in range(5_000))
    assert expand(canonical(parse(text))) == parse(text)
