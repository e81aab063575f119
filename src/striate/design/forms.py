"""The forms that designs take: a stem, stages that halve the maps and double the channels, an average, a dense layer.

Three kinds of block, all with 3x3 windows, batch normalisation and ReLU: plain convolutions (VGG, arXiv:1409.1556, with
strides for its poolings), residual pairs (arXiv:1512.03385), depthwise separable convolutions (arXiv:1704.04861).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

MOST_STAGES = 6
MOST_BLOCKS = 12
SMALLEST_MAP_PX = 2  # of the last maps on the shorter side


def _plain(channels: int, stride: int) -> str:
    return f"{channels}C3{_stride(stride)}-BN-R"


def _residual(channels: int, stride: int) -> str:
    shortcut = f"|{channels}C1{_stride(stride)}-BN" if stride > 1 else ""
    return f"[{channels}C3{_stride(stride)}-BN-R-{channels}C3-BN{shortcut}]-R"


def _separable(channels: int, stride: int) -> str:
    return f"DW3{_stride(stride)}-BN-R-{channels}C1-BN-R"


def _stride(stride: int) -> str:
    return f"s{stride}" if stride > 1 else ""


BLOCKS = MappingProxyType({"plain": _plain, "residual": _residual, "separable": _separable})
"""Notation of one block: (channels, stride) -> text; channels change only where the stride is 2."""

CONVOLUTIONS: Mapping[str, int] = MappingProxyType({"plain": 1, "residual": 2, "separable": 1})
"""Windows of 3 px on the longest path through a block."""


@dataclass(frozen=True, slots=True)
class Form:
    """A network but for its width.

    kind: of its blocks; stem_stride: 1 or 2; blocks: in each stage
    """

    kind: str
    stem_stride: int
    blocks: tuple[int, ...]

    def field(self) -> int:
        """Receptive field of the last maps in px: 1 + sum of 2 jumps over all windows of 3 px."""
        size, jump = 3, self.stem_stride
        for stage, count in enumerate(self.blocks):
            size += 2 * jump  # the first window of the stage, which strides
            jump *= 2 if stage else 1
            size += 2 * jump * (count * CONVOLUTIONS[self.kind] - 1)
        return size

    def notation(self, width: int, classes: int) -> str:
        """The network whose first stage has `width` channels."""
        layers = [f"{width}C3{_stride(self.stem_stride)}-BN-R"]
        for stage, count in enumerate(self.blocks):
            channels = width * 2**stage
            make = BLOCKS[self.kind]
            layers.append(make(channels, 2 if stage else 1))
            layers += [make(channels, 1)] * (count - 1)
        return "-".join([*layers, "GAP", str(classes)])


def forms(side_px: int) -> Iterator[Form]:
    """Every form whose last maps have at least 2 px on an image of `side_px`, in a fixed order.

    All stages have as many blocks, or the last up to three more.
    """
    for kind in BLOCKS:
        for stem_stride in (1, 2):
            for stages in range(1, MOST_STAGES + 1):
                if stem_stride * 2 ** (stages - 1) * SMALLEST_MAP_PX > side_px:
                    break
                for count in range(1, MOST_BLOCKS + 1):
                    for more in range(4 if stages > 1 else 1):
                        yield Form(kind, stem_stride, (*[count] * (stages - 1), count + more))
