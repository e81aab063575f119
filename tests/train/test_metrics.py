from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.stats import binomtest
from sklearn import metrics as oracle

from striate.train.evaluation import metrics

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_scores_agree_with_scikit_learn(pairs):
    true, predicted = np.array(pairs, np.int64).T
    names, zero = range(4), {"zero_division": np.nan, "average": None, "labels": range(4)}
    confusion = metrics.confusion_matrix(true, predicted, 4)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, oracle.confusion_matrix(true, predicted, labels=names))
    assert metrics.accuracy(confusion) == pytest.approx(oracle.accuracy_score(true, predicted))
    np.testing.assert_allclose(metrics.recall(confusion), oracle.recall_score(true, predicted, **zero))
    np.testing.assert_allclose(metrics.precision(confusion), oracle.precision_score(true, predicted, **zero))
    np.testing.assert_allclose(metrics.f1(confusion), oracle.f1_score(true, predicted, **zero))
    present = np.unique(true)
    expected = oracle.recall_score(true, predicted, labels=present, average="macro", zero_division=0)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(expected)


@given(PAIRS, PAIRS)
def test_counts_of_parts_add_up_to_the_whole(one, other):
    a, b = np.array(one, np.int64), np.array(other, np.int64)
    whole = np.concatenate([a, b])
    parts = metrics.confusion_matrix(*a.T, 4) + metrics.confusion_matrix(*b.T, 4)
    np.testing.assert_array_equal(parts, metrics.confusion_matrix(*whole.T, 4))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    right, images = counts
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert metrics.wilson_interval(right, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_nothing_measured_is_told_apart_from_nothing_right():
    empty = np.zeros((3, 3), np.int64)
    assert np.isnan(metrics.accuracy(empty))
    assert np.isnan(metrics.balanced_accuracy(empty))
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)
    assert metrics.accuracy(np.array([[0, 2], [1, 0]])) == 0.0
