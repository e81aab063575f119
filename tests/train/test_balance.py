from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from sklearn.utils.class_weight import compute_class_weight

from striate.train.balance import balanced_order, class_weights

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(lambda more: np.array([0, 1, 2, 3, *more]))


@given(LABELS)
def test_weights_are_scikit_learns_balanced_ones(labels):
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    np.testing.assert_allclose(class_weights(labels, 4), expected, rtol=1e-15)


@given(LABELS, st.integers(0, 9))
def test_each_class_comes_equally_often_and_no_image_before_all_others_of_its_class(labels, epoch):
    rows, repeats = balanced_order(3, epoch, labels)
    assert len(rows) == len(repeats) == len(labels)
    drawn = np.bincount(labels[rows], minlength=4)
    assert drawn.max() - drawn.min() <= 1
    for label in range(4):
        own = rows[labels[rows] == label]
        times = np.bincount(own, minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1
    pairs = set(zip(rows.tolist(), repeats.tolist(), strict=True))
    assert len(pairs) == len(labels)  # a repeated image has another number each time
    for image in set(rows.tolist()):
        assert sorted(repeats[rows == image]) == list(range((rows == image).sum()))


def test_it_is_a_function_of_seed_and_epoch():
    labels = np.array([0] * 30 + [1] * 5 + [2] * 2)
    first, again = balanced_order(3, 1, labels), balanced_order(3, 1, labels)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for seed, epoch in ((3, 2), (4, 1)):
        assert not np.array_equal(first[0], balanced_order(seed, epoch, labels)[0])
