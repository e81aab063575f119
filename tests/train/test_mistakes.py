from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from striate.train.evaluation.answers import Answers
from striate.train.evaluation.mistakes import Confusion, Mistake, confusions, mistakes


def test_the_surest_mistake_comes_first():
    p = np.array([[0.91, 0.09, 0.0], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9], [0.1, 0.8, 0.1]])
    answers = Answers(np.log(p + 1e-30), np.array([1, 1, 0, 2]))
    found = mistakes(answers)
    assert [(one.row, one.true, one.predicted) for one in found] == [(0, 1, 0), (2, 0, 2), (3, 2, 1)]
    np.testing.assert_allclose([one.confidence for one in found], [0.91, 0.9, 0.8])
    warmer = mistakes(answers, 2.0)[2]
    assert warmer == Mistake(3, 2, 1, warmer.confidence)
    assert abs(warmer.confidence - 0.8**0.5 / (0.8**0.5 + 2 * 0.1**0.5)) < 1e-12


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_each_confused_pair_is_there_once_the_most_frequent_first(pairs):
    counts = np.zeros((4, 4), np.int64)
    for true, predicted in pairs:
        counts[true, predicted] += 1
    found = confusions(counts)
    expected = {(t, p): n for (t, p), n in np.ndenumerate(counts) if n and t != p}
    assert {(one.true, one.predicted): one.count for one in found} == expected
    keys = [(-one.count, one.true, one.predicted) for one in found]
    assert keys == sorted(keys)
    assert Confusion(0, 0, 1) not in found
