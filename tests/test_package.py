from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import striate
from striate.errors import StriateError

SRC = Path(__file__).parents[1] / "src"


def test_public_names_are_exactly_these():
    assert dir(striate) == ["Classifier", "Network", "StriateError", "__version__", "inspect", "predict"]


def test_version_is_the_installed_one():
    assert striate.__version__ == version("striate")


def test_a_public_name_is_loaded_on_first_use():
    assert striate.StriateError is StriateError


@pytest.mark.parametrize("name", sorted(striate.PUBLIC))
def test_every_public_name_exists(name):
    module = striate.PUBLIC[name]
    if not (SRC / module.replace(".", "/")).with_suffix(".py").is_file():
        pytest.skip(f"{module} is not written yet")
    assert getattr(striate, name) is getattr(importlib.import_module(module), name)


def test_an_unknown_name_is_told_what_there_is():
    message = r"^striate has no 'clasifier'; it has Classifier, Network, StriateError, inspect, predict$"
    with pytest.raises(AttributeError, match=message):
        _ = striate.clasifier


def test_import_is_light():
    code = "import sys; before = set(sys.modules); import striate; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()} - set(sys.stdlib_module_names)
    assert loaded == {"striate"}
