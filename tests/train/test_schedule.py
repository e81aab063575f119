from __future__ import annotations

from math import pi, sin

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from striate.train.recipe import Recipe
from striate.train.schedule import learning_rate


def rates(total, recipe):
    return [learning_rate(step, total, recipe) for step in range(total)]


def test_linear_is_a_triangle():
    got = rates(50, Recipe(peak_lr=0.3, warmup_share=0.2))
    assert got == pytest.approx(np.interp(range(50), [-1, 9, 10, 50], [0, 0.3, 0.3, 0]))


def test_cosine_falls_by_the_squared_sine():
    got = rates(40, Recipe(peak_lr=0.3, warmup_share=0.25, decay="cosine"))
    assert got[10:] == pytest.approx([0.3 * (1 - sin(pi * k / 60) ** 2) for k in range(30)])


@given(st.integers(1, 500), st.floats(0, 0.9), st.sampled_from(["linear", "cosine"]))
def test_it_rises_then_falls_and_always_moves(total, share, decay):
    got = rates(total, Recipe(peak_lr=0.7, warmup_share=share, decay=decay))
    warmup = round(share * total)
    assert all(0 < rate <= 0.7 for rate in got)
    assert got[:warmup] == sorted(got[:warmup])
    assert got[warmup:] == sorted(got[warmup:], reverse=True)
    assert warmup == total or got[warmup] == 0.7
