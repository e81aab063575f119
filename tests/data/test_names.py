from __future__ import annotations

import numpy as np
import pytest

from striate.data.names import encode, folder_name, natural_sorted
from striate.errors import DataError


def test_names_sort_as_a_person_sorts_them():
    names = ["10", "9", "b", "A", "a2", "a10", "C", "img-3b", "img-12a", ""]
    assert natural_sorted(names) == ("", "9", "10", "A", "a2", "a10", "b", "C", "img-3b", "img-12a")


def test_names_that_differ_in_case_only_are_two():
    assert natural_sorted(["cat", "Cat", "cat"]) == ("Cat", "cat")


def test_labels_follow_names_and_not_their_order():
    names = np.array(["b", "T-shirt-top", "b", "T-shirt/top"])
    assert encode(names, ("T-shirt/top", "a", "b"), "x").tolist() == [2, 0, 2, 0]


def test_an_exact_name_wins_over_a_folder_name():
    assert folder_name("a/b") == "a-b"
    assert encode(np.array(["a-b", "a/b"]), ("a-b", "a/b"), "x").tolist() == [0, 1]


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match=r"^val: class 'cow' is unknown; the classes are cat, dog$"):
        encode(np.array(["cat", "cow"]), ("cat", "dog"), "val")
