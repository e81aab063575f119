from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.data.split import stratified
from striate.errors import DataError


@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_each_class_gives_its_share_and_no_image_is_lost(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)[::-1].astype(np.int64)
    classes = tuple("abcdef"[: len(counts)])
    kept, held = stratified(labels, classes, share, seed, "validation")
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for label, count in enumerate(counts):
        n_held = int((labels[held] == label).sum())
        assert 1 <= n_held <= count - 1
        assert abs(n_held - share * count) <= 1


def test_a_split_is_a_function_of_the_seed_and_the_part():
    labels = np.repeat(np.arange(2), 100)
    held = {
        key: stratified(labels, ("a", "b"), 0.2, *key)[1].tolist()
        for key in ((0, "test"), (1, "test"), (0, "validation"))
    }
    assert held[0, "test"] == stratified(labels, ("a", "b"), 0.2, 0, "test")[1].tolist()
    assert held[0, "test"] != held[1, "test"]
    assert held[0, "test"] != held[0, "validation"]


def test_a_class_too_small_to_split_is_named():
    message = r"^class 'glass' has 1 image\(s\) to split into training and test; add images$"
    with pytest.raises(DataError, match=message):
        stratified(np.array([0, 1, 0]), ("paper", "glass"), 0.2, 0, "test")


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_an_impossible_share_is_refused(share):
    message = r"^validation share is .*; give a number between 0 and 1, such as 0\.1$"
    with pytest.raises(DataError, match=message):
        stratified(np.array([0, 1, 0, 1]), ("a", "b"), share, 0, "validation")
