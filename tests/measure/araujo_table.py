"""What Araujo, Norris and Sim (2019), doi:10.23915/distill.00021, and their repository's table publish.

For each endpoint: receptive field, effective stride, effective padding at 224 px; for the last endpoint also the
padding at 321 px and the GFLOPs at both sizes, a multiply-add counted as two.
"""

from __future__ import annotations

from dataclasses import dataclass

import measure.araujo as nets
from measure.araujo import Make


@dataclass(frozen=True)
class Published:
    make: Make
    endpoints: dict[str, tuple[int, int, int]]
    padding_321: int
    gflops: tuple[float, float] | None = None


def _mobilenet() -> dict[str, tuple[int, int, int]]:
    rows = (
        (7, 2, 2), (11, 4, 2), (19, 4, 6), (27, 8, 6), (43, 8, 14), (59, 16, 14), (91, 16, 30), (123, 16, 46),
        (155, 16, 62), (187, 16, 78), (219, 16, 94), (251, 32, 94), (315, 32, 126),
    )  # fmt: skip
    return {"Conv2d_0": (3, 2, 0)} | {f"Conv2d_{i}_pointwise": row for i, row in enumerate(rows, start=1)}


def _blocks(*rows: tuple[int, int, int]) -> dict[str, tuple[int, int, int]]:
    return {f"block{i}": row for i, row in enumerate(rows, start=1)}


TABLE = {
    "alexnet_v2": Published(
        nets.alexnet_v2,
        {
            "conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, 16), "conv3": (99, 16, 32),
            "conv4": (131, 16, 48), "conv5": (163, 16, 64), "pool5": (195, 32, 64),
        },
        64, (1.38, 3.04),
    ),
    "vgg_a": Published(nets.vgg_a, {"pool5": (150, 32, 59)}, 59, (14.98, 30.58)),
    "vgg_16": Published(
        nets.vgg_16,
        {
            "conv1_1": (3, 1, 1), "pool1": (6, 2, 2), "conv2_1": (10, 2, 4), "pool2": (16, 4, 6),
            "conv3_1": (24, 4, 10), "pool3": (44, 8, 18), "conv4_1": (60, 8, 26),
            "pool4": (100, 16, 42), "conv5_1": (132, 16, 58), "pool5": (212, 32, 90),
        },
        90, (30.71, 62.73),
    ),
    "mobilenet_v1": Published(nets.mobilenet_v1, _mobilenet(), 157, (1.14, 2.54)),
    "resnet_v1_50": Published(
        nets.resnet_v1_50, _blocks((35, 8, 15), (99, 16, 47), (291, 32, 143), (483, 32, 239)), 241, (6.96, 15.63)
    ),
    "resnet_v1_101": Published(
        nets.resnet_v1_101, _blocks((35, 8, 15), (99, 16, 47), (835, 32, 415), (1027, 32, 511)), 513, (14.39, 32.33)
    ),
    "resnet_v1_152": Published(
        nets.resnet_v1_152, _blocks((35, 8, 15), (163, 16, 79), (1315, 32, 655), (1507, 32, 751)), 753, (21.81, 48.85)
    ),
    "resnet_v1_200": Published(
        nets.resnet_v1_200, _blocks((35, 8, 15), (419, 16, 207), (1571, 32, 783), (1763, 32, 879)), 881, (28.80, 63.84)
    ),
    "inception_v2": Published(
        nets.inception_v2,
        {
            "Conv2d_1a_7x7": (7, 2, 2), "MaxPool_2a_3x3": (11, 4, 2), "Conv2d_2b_1x1": (11, 4, 2),
            "Conv2d_2c_3x3": (19, 4, 6), "MaxPool_3a_3x3": (27, 8, 6), "Mixed_3b": (59, 8, 22), "Mixed_3c": (91, 8, 38),
            "Mixed_4a": (123, 16, 46), "Mixed_4b": (187, 16, 78), "Mixed_4c": (251, 16, 110),
            "Mixed_4d": (315, 16, 142), "Mixed_4e": (379, 16, 174), "Mixed_5a": (443, 32, 190),
            "Mixed_5b": (571, 32, 254), "Mixed_5c": (699, 32, 318),
        },
        349, (3.88, 8.63),
    ),
    "inception_v3": Published(
        nets.inception_v3,
        {
            "Conv2d_1a_3x3": (3, 2, 0), "Conv2d_2a_3x3": (7, 2, 0), "Conv2d_2b_3x3": (11, 2, 2),
            "MaxPool_3a_3x3": (15, 4, 2), "Conv2d_3b_1x1": (15, 4, 2), "Conv2d_4a_3x3": (23, 4, 2),
            "MaxPool_5a_3x3": (31, 8, 2), "Mixed_5b": (63, 8, 18), "Mixed_5c": (95, 8, 34), "Mixed_5d": (127, 8, 50),
            "Mixed_6a": (159, 16, 58), "Mixed_6b": (351, 16, 154), "Mixed_6c": (543, 16, 250),
            "Mixed_6d": (735, 16, 346), "Mixed_6e": (927, 16, 442), "Mixed_7a": (1055, 32, 490),
            "Mixed_7b": (1183, 32, 554), "Mixed_7c": (1311, 32, 618),
        },
        618, (5.69, 12.73),
    ),
    "inception_v4": Published(
        nets.inception_v4,
        {
            "Mixed_4a": (47, 4, 14), "Mixed_5a": (55, 8, 14), "Mixed_5e": (183, 8, 78), "Mixed_6a": (215, 16, 86),
            "Mixed_6h": (1559, 16, 758), "Mixed_7a": (1687, 32, 806), "Mixed_7d": (2071, 32, 998),
        },
        998, (12.27, 27.39),
    ),
    "inception_resnet_v2": Published(
        nets.inception_resnet_v2, {"Conv2d_7b_1x1": (3039, 32, 1482)}, 1482, (12.96, 29.20)
    ),
    "inception_resnet_v2_same": Published(
        nets.inception_resnet_v2_same, {"Conv2d_7b_1x1": (3039, 32, 1488)}, 1519, (17.76, 39.87)
    ),
}  # fmt: skip
"""Every network of the paper's table; the v2 ResNets, MobileNet at width 0.75 and Inception v2 without separable
convolutions have the windows of the ones listed."""
