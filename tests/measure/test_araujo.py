"""The paper's table, row by row; and the page that shows it."""

from __future__ import annotations

import pytest

from measure.araujo_page import PAGE, endpoint, gflops, measured, page
from measure.araujo_table import TABLE

ROWS = [(name, at) for name, published in TABLE.items() for at in published.endpoints]


@pytest.mark.parametrize(("name", "at"), ROWS)
def test_field_stride_and_padding_at_224_px_are_the_published_ones(name, at):
    assert endpoint(measured(name, 224), at)[:3] == TABLE[name].endpoints[at]


@pytest.mark.parametrize("name", TABLE)
def test_padding_at_321_px_is_the_published_one(name):
    last = list(TABLE[name].endpoints)[-1]
    field, stride, _ = TABLE[name].endpoints[last]
    assert endpoint(measured(name, 321), last)[:3] == (field, stride, TABLE[name].padding_321)


@pytest.mark.parametrize("name", TABLE)
def test_the_cost_is_the_published_one_up_to_biases(name):
    published = TABLE[name].gflops
    assert [gflops(measured(name, px)) for px in (224, 321)] == pytest.approx(published, rel=0.005, abs=0.005)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("px", [224, 321])
def test_the_longest_path_is_the_field_where_branches_are_centred_alike(name, px):
    last = list(TABLE[name].endpoints)[-1]
    layer = endpoint(measured(name, px), last)[3]
    assert [path[1] for path in layer.paths] == [field.size for field in layer.fields]
    assert all(path[0] <= path[1] for path in layer.paths)


def test_the_page_shows_what_is_measured():
    assert PAGE.read_text(encoding="utf-8") == page(), "run PYTHONPATH=tests python tests/measure/araujo_page.py"
