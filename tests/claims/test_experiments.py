"""Every statement holds, and every experiment can fail: on a subject that is broken its verdict turns."""

from __future__ import annotations

import pytest

from claims.broken import BROKEN, BROKEN_TRAINING
from striate.claims import CLAIMS, INSTRUMENT, examine

EXACT = [claim for claim in (INSTRUMENT, *CLAIMS) if claim.quick]
TRAINING = [claim for claim in CLAIMS if not claim.quick]


def cases(table):
    return [pytest.param(run, id=f"{number}-{i}") for number, runs in table.items() for i, run in enumerate(runs)]


def test_every_statement_has_a_broken_subject():
    assert set(BROKEN) == {claim.number for claim in EXACT}
    assert set(BROKEN_TRAINING) == {claim.number for claim in TRAINING}


@pytest.mark.parametrize("claim", EXACT, ids=lambda claim: str(claim.number))
def test_the_statement_holds(claim):
    outcome = examine(claim)
    assert outcome.verdict == "holds", outcome.finding.measured


@pytest.mark.parametrize("run", cases(BROKEN))
def test_a_broken_subject_is_found_out(run):
    finding = run()
    assert not finding.holds, finding.measured


@pytest.mark.slow
@pytest.mark.parametrize("claim", TRAINING, ids=lambda claim: str(claim.number))
def test_the_statement_holds_in_training(claim):
    outcome = examine(claim)
    assert outcome.verdict == "holds", outcome.finding.measured


@pytest.mark.slow
@pytest.mark.parametrize("run", cases(BROKEN_TRAINING))
def test_a_broken_subject_is_found_out_in_training(run):
    finding = run()
    assert not finding.holds, finding.measured
