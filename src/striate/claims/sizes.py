"""Output sizes measured by torch, for the claims about padding and stride."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Formula = Callable[[int, int, int, int], int]
"""From input size, kernel, padding on each side and stride to output size."""

Setting = tuple[int, int, int, int]
"""Input size, kernel, padding, stride; the kernel fits the padded input."""


def disagreements(formula: Formula, settings: Iterable[Setting]) -> list[str]:
    """The settings in which `formula` and torch's convolution state different sizes, in words.

    Two settings are measured at once, one as the height and one as the width, so that swapped axes would show.
    """
    from torch import empty
    from torch.nn.functional import conv2d

    rows = list(settings)
    wrong = []
    for row, column in zip(rows, reversed(rows), strict=True):
        (h, kernel_h, pad_h, stride_h), (w, kernel_w, pad_w, stride_w) = row, column
        image, weight = empty(1, 1, h, w, device="meta"), empty(1, 1, kernel_h, kernel_w, device="meta")
        true = conv2d(image, weight, stride=(stride_h, stride_w), padding=(pad_h, pad_w)).shape[2]
        stated = formula(*row)
        if stated != true:
            wrong.append(f"H={h} K={kernel_h} P={pad_h} S={stride_h}: stated {stated}, is {true}")
    return wrong


def in_words(count: int, wrong: list[str]) -> str:
    """`412 settings: disagreement with torch in 0`, and the first where there is one."""
    first = f" (first: {wrong[0]})" if wrong else ""
    return f"{count:,} settings: disagreement with torch in {len(wrong)}{first}"
