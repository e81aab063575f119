from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.data.split import grouped, stratified
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


def members(draw_seed, n, groups, classes):
    rng = np.random.default_rng(draw_seed)
    group_of = rng.integers(0, groups, n)
    return rng.integers(0, classes, n), np.char.add("g", group_of.astype(np.str_))


@given(st.integers(0, 2**16), st.integers(0, 2**32), st.floats(0.05, 0.6), st.integers(6, 40))
def test_no_group_is_torn_no_image_lost_and_every_class_on_both_sides(draw_seed, seed, share, groups):
    labels, names = members(draw_seed, 300, groups, 3)
    kept, held = grouped(labels, names, ("a", "b", "c"), share, seed, "validation")
    assert sorted([*kept, *held]) == list(range(300))
    assert not set(names[kept]) & set(names[held])
    assert set(labels[kept]) == set(labels[held]) == {0, 1, 2}


def test_a_share_is_met_in_each_class_where_the_groups_are_small():
    labels, names = members(1, 6000, 900, 4)
    _, held = grouped(labels, names, tuple("abcd"), 0.2, 0, "test")
    shares = np.bincount(labels[held]) / np.bincount(labels)
    assert np.abs(shares - 0.2).max() < 0.005


def test_no_single_group_could_still_improve_the_shares():
    labels, names = members(2, 240, 30, 3)
    _, held = grouped(labels, names, tuple("abc"), 0.25, 5, "test")

    def cost(is_held):
        totals = np.bincount(labels)
        return (((np.bincount(labels[is_held], minlength=3) - 0.25 * totals) / totals) ** 2).sum()

    is_held = np.isin(np.arange(240), held)
    best = cost(is_held)
    for name in set(names.tolist()):
        assert cost(is_held ^ (names == name)) >= best - 1e-12


def test_a_grouped_split_is_a_function_of_the_seed_and_of_the_names():
    labels, names = members(3, 200, 40, 2)
    first = grouped(labels, names, ("a", "b"), 0.2, 0, "test")[1]
    assert first.tolist() == grouped(labels, names, ("a", "b"), 0.2, 0, "test")[1].tolist()
    assert first.tolist() != grouped(labels, names, ("a", "b"), 0.2, 1, "test")[1].tolist()


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (
            [0, 0, 1, 1],
            "xxyz",
            r"^class 'a' lies in 1 group\(s\) and cannot be in both training and test; add images of oth",
        ),
        ([0, 1, 0, 1, 2, 2], "xxyyxz", None),
        (
            [0, 1, 0, 2, 1, 2],
            "xxyyzz",
            r"^class 'c' cannot be in both training and test without tearing a group; add ima",
        ),
    ],
)
def test_classes_that_cannot_be_on_both_sides_are_named(labels, groups, message):
    def split():
        return grouped(np.array(labels), np.array(list(groups)), ("a", "b", "c")[: max(labels) + 1], 0.3, 0, "test")

    if message is None:
        assert len(split()[1])
    else:
        with pytest.raises(DataError, match=message):
            split()
