"""The plain networks that residual ones are compared with: He et al. 2015, arXiv:1512.03385, section 4.2.

6n + 2 layers: a 3x3 convolution, three stages of 2n 3x3 convolutions with 16, 32 and 64 channels, the second and
third halving the map, then global pooling. They are written in the notation; torchvision has none of them.
"""

from __future__ import annotations

from striate.graph import Network
from striate.notation.build import build
from striate.notation.parse import parse
from striate.ops import Shape


def plain(input_shape: Shape, classes: int = 10, *, depth: int) -> Network:
    """The plain network with `depth` = 6n + 2 layers that hold weights."""
    convs = (depth - 2) // 3
    stages = "-".join(f"{c}C3s2-BN-R-{convs - 1}x({c}C3-BN-R)" for c in (32, 64))
    text = f"16C3-BN-R-{convs}x(16C3-BN-R)-{stages}-GAP-{classes}"
    return build(parse(text), input_shape, name=f"plain{depth}")
