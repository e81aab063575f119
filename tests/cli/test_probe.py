"""striate probe and recalibrate through the command line, on a run and on a shipped model."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["batch-norm", "activations"])
def test_probes_of_a_run_are_data(striate, finished, name):
    answer = striate("probe", finished, "sample", "--probe", name, "--json")
    assert answer.code in (0, 1), answer.err
    assert name in json.dumps(json.loads(answer.out))


def test_a_model_without_batch_norm_says_why_it_cannot_be_probed(striate, model):
    answer = striate("probe", model, "sample", "--probe", "batch-norm")
    assert answer.code in (0, 1), answer.err
    assert "no batch normalisation" in answer.out.lower() or "no batchnorm" in answer.out.lower()


def test_recalibrating_a_run_writes_a_network(striate, finished, tmp_path):
    answer = striate("recalibrate", finished, "-o", tmp_path / "again.onnx")
    assert answer.code == 0, answer.err
    assert (tmp_path / "again.onnx").stat().st_size > 1000
