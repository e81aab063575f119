from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from striate.errors import RecipeError
from striate.train import machine


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("fpu avx2 fma", False),
        ("avx512f avx512_bf16", True),
        ("amx_bf16 amx_tile", True),
        ("avx512_bf16x", False),
        ("", False),
    ],
)
def test_bfloat16_is_for_cpus_that_have_it(flags, native):
    reason = machine.why_no_bfloat16("cpu", flags)
    assert (reason is None) is native
    if reason:
        assert reason == SLOW


SLOW = "this CPU has neither avx512_bf16 nor amx_bf16 and would take 25 to 500 times as long"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"precision": "bfloat16"}, f"recipe: precision = 'bfloat16', but {SLOW}; use 'float32'"),
        ({"compile": True}, "recipe: compile = true needs a C++ compiler (g++ or clang++); use false"),
        ({"device": "cuda"}, "recipe: device = 'cuda', and torch finds no GPU here; use 'cpu' or 'auto'"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(recipe, monkeypatch, values, message):
    monkeypatch.setattr(machine, "_cpu_flags", lambda: "avx2 fma")
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    monkeypatch.setattr(machine.torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        machine.require(recipe.changed(**values))
    machine.require(recipe)


def test_the_flags_are_those_of_this_machine():
    assert machine._cpu_flags() == "" or "fpu" in machine._cpu_flags().split()


def test_the_device_is_that_of_the_weights():
    with torch.device("meta"):
        assert machine.device_of(nn.Linear(2, 3)).type == "meta"
    assert machine.device_of(nn.ReLU()).type == "cpu"
