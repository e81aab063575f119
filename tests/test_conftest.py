"""The guard over global state must be able to fail."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import changed_since, global_state


def test_a_draw_from_the_global_generators_is_seen():
    torch = pytest.importorskip("torch")
    before, states = global_state(), (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    random.random()
    np.random.random()  # noqa: NPY002
    torch.rand(1)
    changed = changed_since(before)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    assert changed == ["random", "numpy.random", "torch's generator"]


def test_a_changed_thread_count_is_seen():
    torch = pytest.importorskip("torch")
    before, threads = global_state(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    changed = changed_since(before)
    torch.set_num_threads(threads)
    assert changed == ["torch.get_num_threads()"]


def test_the_seeded_fixture_repeats_and_is_not_blamed(seeded):
    torch = pytest.importorskip("torch")
    first = torch.nn.Linear(2, 3).weight
    torch.manual_seed(20260)
    assert torch.equal(first, torch.nn.Linear(2, 3).weight)


@settings(max_examples=5)
@given(st.integers())
def test_hypothesis_itself_is_not_blamed(number):
    assert isinstance(number, int)
