"""The shift of layers' inputs as a table and its reading, from rows whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from striate.probe import covariate_shift
from striate.probe.covariate_shift import NOT_RECORDED
from striate.report.probe_figures import draw_probes


def rows(course: float) -> list[dict]:
    """Ten steps in which layer b moves by 1, course, course^2 ..., layer c by half of it, and layer a never."""
    return [
        {"step": 1 + 7 * i, "images": 100, "shift": {"a": 0.0, "b": course**i, "c": course**i / 2}} for i in range(10)
    ]


def test_starts_ends_and_the_largest() -> None:
    found = covariate_shift("net", rows(0.5))
    first, last = found.ends()
    np.testing.assert_allclose(first, [0, 0.75, 0.375])
    np.testing.assert_allclose(last, [0, 0.75 / 256, 0.375 / 256])
    assert [line.split() for line in found.lines()[1:4]] == [
        ["a", "0", "0", "0", "1"],
        ["b", "0.75", "0.0029", "1", "1"],
        ["c", "0.38", "0.0015", "0.5", "1"],
    ]
    assert found.lines()[4] == (
        "an update moves the input of b most, by 0.75 of its deviations a step at the start and 0.0029 at the end: "
        "it calms down"
    )
    assert found.to_json()["shift"]["c"][1] == 0.25


@pytest.mark.parametrize(("course", "says"), [(1.0, "it stays"), (1.5, "it grows")])
def test_the_course_is_named(course: float, says: str) -> None:
    assert covariate_shift("net", rows(course)).lines()[-1].endswith(says)


def test_without_rows_and_without_layers_behind_others_it_says_so(tmp_path) -> None:
    assert covariate_shift("net", []).lines() == [f"not measured: {NOT_RECORDED}"]
    still = covariate_shift("net", [{"step": 1, "images": 3, "shift": {"fc": 0.0}}])
    assert still.lines()[-1] == "no layer stands behind one that learns: nothing shifts"
    pytest.importorskip("matplotlib")
    drawn = draw_probes(
        {"none": covariate_shift("net", []), "still": still, "some": covariate_shift("net", rows(0.5))}, tmp_path
    )
    assert [path.stem for path in drawn] == ["still", "some"]
