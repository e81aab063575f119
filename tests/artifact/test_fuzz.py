"""Every crafted file of dev/fuzz_artifacts.py, and some of the random damage that it does a thousand times."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("fuzz_artifacts", Path(__file__).parents[2] / "dev" / "fuzz_artifacts.py")
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)

SOUND = fuzz.sound_file()
CRAFTED = [*fuzz.CHANGES, *fuzz.FILES]
HEAVY = "maps, as large as allowed"  # which runs, in 600 MB


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def test_the_unharmed_file_is_sound(path):
    path.write_bytes(SOUND)
    assert fuzz.outcome(path) == "sound"


@pytest.mark.parametrize("name", [name for name in CRAFTED if name != HEAVY])
def test_a_crafted_file_is_refused_in_one_line(path, name):
    made, data = fuzz.made(SOUND, 0, CRAFTED.index(name))
    path.write_bytes(data)
    assert made == name
    assert fuzz.outcome(path).startswith("refused: ")


@pytest.mark.parametrize("name", fuzz.DAMAGE)
def test_random_damage_is_refused_or_harmless(path, name):
    for seed in range(8):
        path.write_bytes(fuzz.DAMAGE[name](SOUND, np.random.default_rng(seed)))
        assert fuzz.outcome(path).startswith(("refused: ", "sound"))


def test_names_that_are_no_text_are_refused(path):
    """Found by the thousand: protobuf hands such names out as bytes, or dies of them."""
    graph = fuzz.scan(SOUND)
    at = graph.index(b"grouped")
    path.write_bytes(
        fuzz.in_graph(lambda data, _: data[:at] + b"\x80" + data[at + 1 :])(SOUND, np.random.default_rng(0))
    )
    assert fuzz.outcome(path) == "refused: a text in Node is not UTF-8: the file is damaged; copy it again"


def test_the_check_can_fail(path, monkeypatch):
    def crash(path, threads):
        raise MemoryError

    monkeypatch.setattr(fuzz, "Engine", crash)
    with pytest.raises(MemoryError):
        fuzz.outcome(path)
