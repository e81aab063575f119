"""Does this machine compute what the original network computed? Asked before the first answer."""

from __future__ import annotations

import numpy as np

from striate.artifact import Manifest
from striate.artifact.manifest import tensor_sha256
from striate.errors import ArtifactError
from striate.runtime.engine import Engine


def self_test(engine: Engine, manifest: Manifest) -> float:
    """Run the golden cases and return the largest |logit - recorded float64 logit|; 0.0 where there are none.

    The normalised tensor must have the recorded bits; the logits must lie within the manifest's `golden_bound`.
    Raises: ArtifactError that says which case, how far off, and what was allowed.
    """
    preprocessing = manifest.prepared()
    worst = 0.0
    for number, case in enumerate(manifest.golden):
        pixels = case.image(preprocessing)
        if tensor_sha256(pixels, preprocessing) != case.tensor_sha256:
            raise ArtifactError(
                f"self-test: golden case {number} is normalised to other bits than when it was shipped; "
                "use the NumPy and striate versions that the manifest names, or ship the network again"
            )
        off = float(np.abs(engine.logits(manifest.input_of(pixels[None]))[0] - case.expected()).max())
        if not off <= manifest.golden_bound:  # also where `off` is not a number
            raise ArtifactError(
                f"self-test: a logit of golden case {number} is off by {off:.3g}, allowed is "
                f"{manifest.golden_bound:.3g}; {engine.setting.engine} computes another function here: do not use it"
            )
        worst = max(worst, off)
    return worst
