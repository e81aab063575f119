"""A few hundred of the mutations that dev/fuzz_images.py runs by ten thousands."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("fuzz_images", Path(__file__).parents[2] / "dev" / "fuzz_images.py")
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)

FILES = fuzz.seeds()


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_image_is_an_image_or_one_line_and_quiet(name):
    outcomes = {fuzz.outcome(fuzz.mutated(FILES[name], 7, number)) for number in range(25)}
    assert outcomes <= {"image", "error"}


@pytest.mark.parametrize("name", FILES)
def test_the_unmutated_file_is_what_it_should_be(name):
    assert fuzz.outcome(FILES[name]) == ("error" if "animated" in name else "image")


def test_a_mutation_is_a_function_of_its_number():
    content = FILES["jpeg"]
    assert fuzz.mutated(content, 0, 3) == fuzz.mutated(content, 0, 3) != fuzz.mutated(content, 0, 4)


def test_the_check_can_fail(monkeypatch):
    def crash(content, target):
        raise ValueError("not one of ours")

    monkeypatch.setattr(fuzz, "decode", crash)
    with pytest.raises(ValueError, match="not one of ours"):
        fuzz.outcome(FILES["png"])
