from __future__ import annotations

import json

import pytest

ASKED = (
    "lr",
    "sample",
    "--net",
    "8C3s2-BN-R-8C3s2-BN-R-GAP-10",
    "--set",
    "threads=1",
    "--set",
    "batch_images=64",
    "--steps",
    "40",
)


def test_it_suggests_a_rate_and_draws_it(striate, tmp_path):
    pytest.importorskip("matplotlib")
    answer = striate(*ASKED, "-o", tmp_path / "rates.png")
    assert answer.code == 0
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    lines = answer.out.splitlines()
    assert lines[-4].startswith("suggested: ")
    assert lines[-1].startswith("next: striate train sample --lr ")
    assert list(tmp_path.iterdir()) == [tmp_path / "rates.png"]
    found = json.loads(striate(*ASKED, "-o", tmp_path / "again.png", "--json").out)
    assert f"{found['suggested']:.2g}" in lines[-4]
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 40
