from __future__ import annotations

from striate.ops import BatchNorm


def test_onnx_is_given_the_share_that_is_kept_and_the_same_eps():
    weights = {role: role for role in ("gamma", "beta", "running_mean", "running_var")}
    (node,) = BatchNorm(3, eps=1e-3, momentum=0.25).to_onnx(["x"], "y", weights, [(3, 7, 11)])
    assert node.inputs == ("x", "gamma", "beta", "running_mean", "running_var")
    assert dict(node.attributes) == {"epsilon": 1e-3, "momentum": 0.75}
