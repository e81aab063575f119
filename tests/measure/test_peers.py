"""The five cases where tools differ, side by side with those that are installed."""

from __future__ import annotations

import pytest

from measure.five_cases import CASES, by_flop_counter, by_fvcore, by_striate, by_torchinfo

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_macs_and_parameters_are_those_of_the_definition(case):
    assert by_striate(case) == (case.macs, case.parameters)


@pytest.mark.peers
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torchs_own_counter_agrees(case):
    assert by_flop_counter(case)[0] == case.macs


@pytest.mark.peers
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fvcore_agrees_on_macs(case):
    pytest.importorskip("fvcore")
    assert by_fvcore(case)[0] == case.macs


@pytest.mark.peers
def test_torchinfo_is_wrong_where_docs_costs_md_says_so():
    pytest.importorskip("torchinfo")
    wrong = {case.name for case in CASES if by_torchinfo(case) != (case.macs, case.parameters)}
    assert wrong == {"transposed, stride 2", "grouped transposed", "functional", "shared module and tensor"}
