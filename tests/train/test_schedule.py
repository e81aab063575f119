from __future__ import annotations

from math import pi, sin

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from striate.train.recipe import Recipe
from striate.train.update.schedule import learning_rate, size_at


def rates(total, recipe):
    return [learning_rate(step, total, recipe) for step in range(total)]


def test_linear_is_a_triangle():
    got = rates(50, Recipe(peak_lr=0.3, warmup_share=0.2))
    assert got == pytest.approx(np.interp(range(50), [-1, 9, 10, 50], [0, 0.3, 0.3, 0]))


def test_cosine_falls_by_the_squared_sine():
    got = rates(40, Recipe(peak_lr=0.3, warmup_share=0.25, decay="cosine"))
    assert got[10:] == pytest.approx([0.3 * (1 - sin(pi * k / 60) ** 2) for k in range(30)])


def test_a_triangle_has_a_start_and_a_floor():
    got = rates(100, Recipe(peak_lr=2.0, warmup_share=0.23, lr_start=0.2, lr_floor=0.07))
    assert got == pytest.approx(np.interp(range(100), [-1, 22, 23, 100], [0.4, 2.0, 2.0, 0.14]))


def test_a_polynomial_is_a_power_of_what_is_left():
    got = rates(20, Recipe(peak_lr=0.5, warmup_share=0, decay="polynomial", decay_power=3.0, lr_floor=0.1))
    assert got == pytest.approx([0.5 * (0.1 + 0.9 * ((20 - k) / 20) ** 3) for k in range(20)])


def test_steps_divide_the_rate_at_shares_of_the_run():
    got = rates(10, Recipe(peak_lr=1.0, warmup_share=0, decay="step", decay_at=(0.3, 0.75), decay_factor=0.1))
    assert got == pytest.approx([1.0] * 3 + [0.1] * 5 + [0.01] * 2)
    floored = rates(10, Recipe(peak_lr=1.0, warmup_share=0, decay="step", lr_floor=0.05))
    assert floored[-1] == pytest.approx(0.05)


def test_constant_stays_at_the_peak():
    assert rates(7, Recipe(peak_lr=0.3, warmup_share=0, decay="constant")) == [0.3] * 7


@given(
    st.integers(1, 500),
    st.floats(0, 0.9),
    st.sampled_from(["linear", "cosine", "polynomial", "step", "constant"]),
    st.floats(0, 1),
)
def test_it_rises_then_falls_and_always_moves(total, share, decay, floor):
    got = rates(total, Recipe(peak_lr=0.7, warmup_share=share, decay=decay, lr_floor=floor, decay_at=(0.95,)))
    warmup = round(share * total)
    assert all(0 < rate <= 0.7 * (1 + 1e-12) for rate in got)
    assert got[:warmup] == sorted(got[:warmup])
    assert got[warmup:] == sorted(got[warmup:], reverse=True)
    assert warmup == total or got[warmup] == pytest.approx(0.7)


def test_images_grow_in_eighths_to_their_full_size():
    recipe = Recipe(resize_from=0.5, resize_until=0.75)
    got = [size_at(epoch, 8, recipe, (32, 44)) for epoch in range(8)]
    assert got == [(16, 24), (20, 24), (20, 29), (24, 34), (28, 39), (28, 39), (32, 44), (32, 44)]
    assert [size_at(epoch, 8, Recipe(), (32, 44)) for epoch in (0, 7)] == [(32, 44)] * 2


@given(st.integers(1, 200), st.floats(0.1, 1), st.floats(0, 1), st.integers(1, 300))
def test_sizes_never_shrink_never_vanish_and_end_full(epochs, start, until, side):
    recipe = Recipe(resize_from=start, resize_until=until)
    sides = [size_at(epoch, epochs, recipe, (side, 7))[0] for epoch in range(epochs + 1)]
    assert sides == sorted(sides)
    assert sides[0] >= 1
    assert sides[-1] == side
