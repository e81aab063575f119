"""Fixtures for every test: the shared data, a seeded torch generator, and a guard over global state."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# A change is judged on fixed examples; the nightly run looks for new ones and prints how to replay them.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and networks that lies beside the repository, not in it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data beside the repository")
    return folder


def global_state() -> dict[str, bytes]:
    """What a test must leave as it found it; torch's part only where torch is loaded."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy global generator is what is guarded
    state = {"random": repr(random.getstate()).encode(), "numpy.random": repr(numpy_state[1:]).encode()}
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        state["torch's generator"] = torch.get_rng_state().numpy().tobytes()
        state["torch.get_num_threads()"] = str(torch.get_num_threads()).encode()
        state["torch.get_default_dtype()"] = str(torch.get_default_dtype()).encode()
        state["torch.is_grad_enabled()"] = str(torch.is_grad_enabled()).encode()
    return state


def changed_since(before: dict[str, bytes]) -> list[str]:
    after = global_state()
    return [name for name, value in before.items() if after[name] != value]


@pytest.fixture(autouse=True)
def global_state_is_left_alone() -> Iterator[None]:
    """Fail a test that leaves a global generator or torch setting changed: a library has no right to them."""
    before = global_state()
    yield
    if names := changed_since(before):
        pytest.fail(
            f"the test changed {', '.join(names)}; use a local generator, or the fixture `seeded` "
            "for torch modules, whose constructors draw from torch's own"
        )


@pytest.fixture
def seeded() -> Iterator[None]:
    """Torch's generator seeded for one test and put back: for modules, whose constructors draw from it."""
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20260)
        yield
