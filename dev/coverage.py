"""What of torchvision's and timm's convolutional networks is captured exactly: writes docs/coverage.md.

Runs in .venv-peers (`make peers`), on untrained models at a small input:

    .venv-peers/bin/python dev/coverage.py            # all, and the page
    .venv-peers/bin/python dev/coverage.py resnet18   # some, to the screen

A model passes where no layer of the captured network is unknown and the network's output, computed by
`striate.graph.reference` in NumPy in float64, is the module's to 1e-9 of its largest value.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zoo
from torch import nn

from striate.errors import StriateError
from striate.graph import Network, reference
from striate.graph.from_torch import capture

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"
RELATIVE_ERROR = 1e-9  # float64 sums in two orders, through up to 1,000 layers


@dataclass(frozen=True)
class Row:
    """One model: its family, input, what was found, and why not where it did not pass."""

    library: str
    family: str
    model: str
    pixels: int = 0
    layers: int = 0
    error: float = float("nan")
    unknown: tuple[str, ...] = ()
    fault: str = ""

    @property
    def passed(self) -> bool:
        """No unknown layer, and the same output."""
        return not self.unknown and not self.fault and self.error <= RELATIVE_ERROR

    def __str__(self) -> str:
        """Its line in the table."""
        why = self.fault or "; ".join(f"{n} x {u}" if n > 1 else u for u, n in Counter(self.unknown).items())
        error = "" if np.isnan(self.error) else f"{self.error:.0e}"
        verdict = "yes" if self.passed else "**no**"
        cells = (self.family, self.model, self.pixels or "", self.layers or "", verdict, error, why.replace("|", "/"))
        return f"| {' | '.join(map(str, cells))} |"


def checked(library: str, family: str, name: str) -> Row:
    """The row of one model."""
    try:
        model, own = zoo.build(library, name)
        x, want = zoo.smallest_input(model, own)
    except Exception as fault:  # noqa: BLE001 - the zoo's own trouble is reported, not raised
        return Row(library, family, name, fault=f"does not run: {' '.join(str(fault).split())}")
    return Row(library, family, name, x.shape[-1], **captured(name, model, x, want))


def captured(name: str, model: nn.Module, x: torch.Tensor, want: Any) -> dict[str, Any]:  # noqa: ANN401
    """Capture and compare: what a row says of it."""
    try:
        network = capture(model, tuple(x.shape[1:]), name=name, strict=False)
    except StriateError as fault:
        return {"fault": str(fault)}
    unknown = tuple(node.op.why for node in network if node.op.kind == "unknown")
    if unknown:
        return {"layers": len(network), "unknown": unknown}
    return {"layers": len(network), "error": largest_error(network, x.numpy(), want.numpy())}


def largest_error(network: Network, x: np.ndarray, want: np.ndarray) -> float:
    """Largest difference from the module, over the largest value."""
    got = reference.output(network, x)
    return float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else float("inf")


def page(rows: list[Row], skipped: list[str]) -> str:
    """docs/coverage.md."""
    candidates, least = zoo.CANDIDATES, zoo.SPATIAL_CONVOLUTIONS
    parts = [
        f"""# Which networks are captured exactly

Written by `dev/coverage.py` (environment: `make peers`) with {zoo.versions()}. Not edited by hand.

Every model is untrained, in float64, with random batch statistics, on two random images of {zoo.PIXELS[0]} px, or the
next size that it runs at. It **passes** where the captured network has no unknown layer and its output, computed by
striate's NumPy reference, differs from the module's by at most {RELATIVE_ERROR:g} of the largest value.

torchvision: every classifier but the transformers (ViT, Swin, MaxViT). timm: of each of its modules one model, the
smallest convolutional one of the first {candidates} by name. Convolutional means that it runs at least {least}
convolutions with a kernel above 1, and multiplies no two computed tensors as matrices (attention).
"""
    ]
    for library in ("torchvision", "timm"):
        own = [row for row in rows if row.library == library]
        passed = sum(row.passed for row in own)
        parts += [
            f"## {library}: {passed} of {len(own)} ({100 * passed / len(own):.1f} %)\n",
            "| family | model | px | layers | passes | error | why not |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *map(str, own),
            "",
        ]
    parts.append(f"timm modules left out as not convolutional ({len(skipped)}): {', '.join(skipped)}.\n")
    return "\n".join(parts)


def main(wanted: list[str]) -> None:
    """Check all models, or those wanted by name, family or library."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, skipped = [], []
    for library, models in (("torchvision", zoo.torchvision_models()), ("timm", zoo.timm_models())):
        for family, name in models:
            if name is None:
                skipped.append(family)
            elif not wanted or {library, family, name} & set(wanted):
                started = time.process_time()
                rows.append(checked(library, family, name))
                print(rows[-1], f"{time.process_time() - started:.1f} s", flush=True)
    if not wanted:
        PAGE.write_text(page(rows, skipped), encoding="utf-8")
    print(f"{sum(row.passed for row in rows)} of {len(rows)} pass")


if __name__ == "__main__":
    main(sys.argv[1:])
