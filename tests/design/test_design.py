"""Designs keep what was asked, are measured exactly, come out the same twice; refusals say the least that it takes."""

from __future__ import annotations

import time

import pytest

from striate.design import Budget, design
from striate.design.forms import Form, forms
from striate.errors import UsageError
from striate.measure import inspect_network, views
from striate.notation import canonical, parse, read, write

ASKED = [
    ((3, 64, 64), 10, 48, Budget(macs=20_000_000)),
    ((1, 28, 36), 7, 20, Budget(parameters=20_000)),
    ((3, 96, 40), 3, 60, Budget(macs=30_000_000, parameters=200_000, peak_activation_bytes=400_000)),
]


def last_maps(network):
    return [name for name, view in views(network).items() if len(view[0].sight) > 1][-1]


@pytest.mark.parametrize(("shape", "classes", "field", "budget"), ASKED)
def test_what_is_proposed_keeps_what_was_asked(shape, classes, field, budget):
    found = design(shape, classes, field, budget)
    assert found.impossible == ""
    assert 1 <= len(found.designs) <= 5
    for one in found.designs:
        network = read(one.notation, shape)
        measured = inspect_network(network)
        assert measured == one.found
        assert measured.layers[-1].output == (classes,)
        assert all(getattr(measured, name) <= limit for name, limit in budget.limits())
        fields = [axis.field for axis in views(network)[last_maps(network)]]
        assert min(f.size for f in fields) == one.field >= field
        assert one.notation == write(canonical(parse(one.notation)))


@pytest.mark.parametrize(("shape", "classes", "field", "budget"), ASKED)
def test_the_best_comes_first_and_spends_the_budget(shape, classes, field, budget):
    designs = design(shape, classes, field, budget).designs
    scores = [d.score for d in designs]
    assert scores == sorted(scores, reverse=True)
    assert 0.6 < scores[0] <= 1


def test_the_same_question_has_the_same_answer_within_two_seconds():
    start = time.process_time()
    first = design(*ASKED[0])
    assert time.process_time() - start < 2
    assert design(*ASKED[0]) == first


def test_the_score_is_its_stated_product():
    one = design((1, 30, 41), 4, 25, Budget(macs=3_000_000)).designs[0]
    used = one.found.macs / 3_000_000
    real = one.found.macs_on_pixels / one.found.macs
    read_share = (1 - len(one.found.unread[0]) / 30) * (1 - len(one.found.unread[1]) / 41)
    assert one.score == pytest.approx(used * real * 25 / one.field * read_share)


def test_too_few_macs_are_refused_with_the_least_that_reaches_the_field():
    refused = design((3, 64, 64), 10, 48, Budget(macs=20_000))
    assert refused.designs == ()
    assert refused.impossible.startswith("20,000 MACs are too few for a field of 48 px: the least is ")
    least, text = refused.impossible.split("the least is ")[1].split(", by ")
    cheapest = inspect_network(read(text, (3, 64, 64)))
    assert cheapest.macs == int(least.replace(",", ""))
    found = design((3, 64, 64), 10, 48, Budget(macs=cheapest.macs))
    assert [d.found.macs for d in found.designs] == [cheapest.macs]


def least(name: str) -> int:
    """The smallest limit of one name that a field of 60 px on 64 px images needs, from the refusal of 1."""
    refused = design((3, 64, 64), 10, 60, Budget(**{name: 1})).impossible
    return int(refused.split("the least is ")[1].split(", by ")[0].replace(",", ""))


def test_limits_that_exclude_each_other_are_named_together():
    few = design((3, 64, 64), 10, 60, Budget(parameters=least("parameters"), macs=least("macs")))
    assert few.designs == ()
    assert few.impossible.startswith("each limit alone can be kept for a field of 60 px (")
    assert few.impossible.endswith("all together not; raise one")


def test_a_field_that_no_form_reaches_is_refused():
    refused = design((3, 8, 8), 10, 3000, Budget(macs=10**9))
    assert refused.impossible == (
        "no form reaches a field of 3000 px on 8x8 images: the largest is 381 px; ask for less, or give a larger image"
    )


def test_numbers_that_are_no_question():
    with pytest.raises(UsageError, match=r"^design: input \(3, 64\), 10 classes, field 48: give "):
        design((3, 64), 10, 48, Budget(macs=1))


@pytest.mark.parametrize("form", list(forms(32))[::37], ids=str)
def test_a_forms_field_is_the_measured_one(form: Form):
    network = read(form.notation(4, 3), (3, 32, 36))
    field = views(network)[last_maps(network)][0].field
    assert field.size == form.field()
