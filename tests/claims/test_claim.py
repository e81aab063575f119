from __future__ import annotations

import pytest

from claims.made import made
from striate.claims import CLAIMS, INSTRUMENT, chosen, examine
from striate.errors import UsageError


def test_there_is_one_row_for_each_statement_in_order():
    assert [claim.number for claim in CLAIMS] == list(range(1, 28))
    assert INSTRUMENT.number == 0


def test_no_two_rows_share_their_words():
    rows = (INSTRUMENT, *CLAIMS)
    assert len({claim.title for claim in rows}) == len({claim.statement for claim in rows}) == len(rows)


def test_numbers_choose_in_the_order_given():
    assert [claim.number for claim in chosen([21, 12, 0])] == [21, 12, 0]
    assert chosen([]) == CLAIMS


def test_an_unknown_number_is_refused():
    with pytest.raises(UsageError) as fault:
        chosen([12, 28])
    assert str(fault.value) == "claims: there is no statement 28; use 1 to 27, or 0 for the instrument"


@pytest.mark.parametrize(("holds", "verdict"), [(True, "holds"), (False, "fails")])
def test_the_verdict_is_what_the_experiment_found(holds, verdict):
    row = examine(made(holds=holds)).to_json()
    assert row.pop("seconds") >= 0
    assert row == {
        "number": 5,
        "statement": "Water is wet.",
        "expected": "wet",
        "measured": "7 drops: wet",
        "verdict": verdict,
    }


def test_full_reaches_only_the_experiments_that_have_a_long_form():
    asked = []
    examine(made(quick=False, asked=asked), full=True)
    examine(made(quick=False, asked=asked), full=False)
    examine(made(quick=True, asked=asked), full=True)
    assert asked == [{"full": True}, {"full": False}, {}]


def test_a_missing_torch_is_said_in_one_line():
    with pytest.raises(UsageError) as fault:
        examine(made(missing="torch"))
    assert str(fault.value) == "claims: statement 5 needs torch; install it with pip install 'striate[train]'"
