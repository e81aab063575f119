"""Every probe's figure is written where something was measured, and none where nothing was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from striate.graph import initialise
from striate.notation import read
from striate.probe import activations, batch_norm, consistency, equivariance, evidence, receptive_field
from striate.report.probe_figures import draw_probes

SHAPE = (1, 12, 17)
ALL = (equivariance, consistency, receptive_field, batch_norm, activations, evidence)


def test_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    x = np.random.default_rng(0).normal(size=(6, *SHAPE))
    found = {probe.__name__: probe(initialise(read("3C3-BN-R-MP2-GAP-4", SHAPE), 0), x) for probe in ALL}
    assert [path.stem for path in draw_probes(found, tmp_path)] == [probe.__name__ for probe in ALL]
    flat = {probe.__name__: probe(initialise(read("F-4", SHAPE), 0), x) for probe in ALL}
    assert [path.stem for path in draw_probes(flat, tmp_path / "flat")] == ["consistency", "evidence"]
