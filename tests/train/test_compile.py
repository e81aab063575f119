"""torch.compile: the network's steps written anew, and still exact in a resumed run."""

from __future__ import annotations

import pytest

from striate.train import session
from striate.train.loop import build, resume, train
from striate.train.machine import has_compiler
from striate.train.run.state import Run
from watching import StopAfter, Stopped


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_resumes_to_the_same_bits(dataset, recipe, builder, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "estimate_seconds", lambda *_: 0.0)  # it would compile a copy first
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    asked = recipe.changed(compile=True, epochs=3, batch_images=61)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(build(builder, asked, dataset.classes), dataset, asked, whole)
    with pytest.raises(Stopped):
        train(build(builder, asked, dataset.classes), dataset, asked, stopped, StopAfter(2))
    resume(stopped.path, builder, lambda _: dataset)
    for name in ("weights.safetensors", "metrics.jsonl", "recipe.json"):
        assert (whole.path / name).read_bytes() == (stopped.path / name).read_bytes(), name
