"""From a receptive field and a budget to networks: every form that reaches the field, as wide as the budget allows.

The field of a form does not depend on its width, and its cost is a polynomial of the width, of degree 2 at most: three
measurements give it everywhere. What is proposed is then measured itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from striate.design.budget import NAMES, Budget
from striate.design.forms import Form, forms
from striate.errors import UsageError
from striate.graph import infer_shapes
from striate.measure import Inspection, Layer, inspect_network
from striate.measure.memory import peak_activation_bytes
from striate.notation import canonical, parse, read, write
from striate.ops import Shape

STEP = 4  # widths are multiples of it
WIDEST = 512
OVERSHOOT = 1.5  # fields up to this many times the one asked for are looked at
CANDIDATES = 36  # forms that are measured, those nearest to the field first
PROPOSED = 5


@dataclass(frozen=True, slots=True)
class Design:
    """One proposal.

    field, jump: of the last maps, in px; score: see `score`
    """

    notation: str
    found: Inspection
    field: int
    jump: int
    score: float

    def to_json(self) -> dict[str, Any]:
        """The proposal as plain data."""
        return {
            "notation": self.notation,
            "score": round(self.score, 4),
            "receptive_field": self.field,
            "jump": self.jump,
            "macs": self.found.macs,
            "macs_on_pixels": self.found.macs_on_pixels,
            "parameters": self.found.parameters,
            "peak_activation_bytes": self.found.peak_activation_bytes,
            "unread_pixels": [len(axis) for axis in self.found.unread],
        }


@dataclass(frozen=True, slots=True)
class Proposals:
    """Designs, best first; or why there is none."""

    designs: tuple[Design, ...]
    impossible: str = ""


def design(input_shape: Shape, classes: int, field: int, budget: Budget) -> Proposals:
    """Networks for images of `input_shape` whose last maps see at least `field` px within `budget`.

    The same question has the same answer. Raises: UsageError on numbers that are no question.
    """
    if len(input_shape) != 3 or classes < 1 or field < 1:
        raise UsageError(
            f"design: input {input_shape}, {classes} classes, field {field}: give (channels, height, width) and "
            "whole numbers of at least 1"
        )
    reaching = sorted((f for f in forms(min(input_shape[1:])) if f.field() >= field), key=lambda f: f.field())
    if not reaching:
        return Proposals((), _too_far(input_shape, field))
    near = [f for f in reaching if f.field() <= OVERSHOOT * field] or reaching
    candidates = _spread(near)
    fits = [_widest(form, input_shape, classes, budget) for form in candidates]
    made = [_measured(text, input_shape, field, budget) for text in fits if text]
    ranked = sorted((d for d in made if d is not None), key=lambda d: (-d.score, d.found.parameters, d.notation))
    if not ranked:
        return Proposals((), _too_dear(reaching, input_shape, classes, field, budget))
    return Proposals(tuple(ranked[:PROPOSED]))


def score(found: Inspection, field: int, wanted: int, budget: Budget) -> float:
    """How well a network spends what it may: a product of shares, each at most 1. No forecast of accuracy.

    budget used x MACs that meet real pixels x field wanted / field reached x image pixels that reach the result
    """
    real = found.macs_on_pixels / found.macs
    read = prod(1 - len(unread) / size for unread, size in zip(found.unread, found.input[1:], strict=True))
    return budget.use(found) * real * min(1.0, wanted / field) * read


def _spread(near: Sequence[Form]) -> list[Form]:
    """The forms nearest to the field, as many of each kind."""
    by_kind: dict[str, list[Form]] = {}
    for form in near:
        by_kind.setdefault(form.kind, []).append(form)
    return [form for kind in by_kind.values() for form in kind[: CANDIDATES // len(by_kind)]]


def _widest(form: Form, input_shape: Shape, classes: int, budget: Budget) -> str | None:
    """The form at the largest width within the budget, in notation; None where not even the smallest is."""
    widths = (STEP, 2 * STEP, 3 * STEP)
    curves = [_numbers(form.notation(width, classes), input_shape) for width in widths]
    fitting = [
        width
        for width in range(STEP, WIDEST + 1, STEP)
        if all(_at([c[name] for c in curves], width) <= limit for name, limit in budget.limits())
    ]
    return form.notation(fitting[-1], classes) if fitting else None


def _numbers(text: str, input_shape: Shape) -> dict[str, int]:
    network = read(text, input_shape)
    shapes = infer_shapes(network)
    return {
        "macs": sum(node.op.macs(*(shapes[name] for name in node.inputs)) for node in network),
        "parameters": network.parameters(),
        "peak_activation_bytes": peak_activation_bytes(network),
    }


def _at(values: Sequence[int], width: int) -> int:
    """The parabola through the values at STEP, 2 STEP, 3 STEP, at `width`: exact in integers."""
    n = width // STEP - 1
    first, second = values[1] - values[0], values[2] - 2 * values[1] + values[0]
    return values[0] + n * first + n * (n - 1) // 2 * second


def _measured(text: str, input_shape: Shape, wanted: int, budget: Budget) -> Design | None:
    """The network, measured; None if it does not keep what was asked."""
    notation = write(canonical(parse(text)))
    found = inspect_network(read(notation, input_shape))
    last = _last_maps(found)
    sizes, jumps = [f.size for f in last.fields if f], [f.jump for f in last.fields if f]
    if len(sizes) != 2 or min(sizes) < wanted or not budget.allows(found):
        return None
    return Design(notation, found, min(sizes), max(jumps), score(found, min(sizes), wanted, budget))


def _last_maps(found: Inspection) -> Layer:
    return [layer for layer in found.layers if len(layer.output) > 1][-1]


def _too_far(input_shape: Shape, field: int) -> str:
    furthest = max(form.field() for form in forms(min(input_shape[1:])))
    return (
        f"no form reaches a field of {field} px on {input_shape[1]}x{input_shape[2]} images: the largest is "
        f"{furthest} px; ask for less, or give a larger image"
    )


def _too_dear(reaching: Sequence[Form], input_shape: Shape, classes: int, field: int, budget: Budget) -> str:
    """Which limit no form can keep, and the cheapest that reaches the field."""
    texts = [form.notation(STEP, classes) for form in _spread(reaching)]
    numbers = [(_numbers(text, input_shape), text) for text in texts]
    least = {name: min(numbers, key=lambda n: (n[0][name], n[1])) for name, _ in budget.limits()}
    lines = [
        f"{limit:,} {NAMES[name]} are too few for a field of {field} px: the least is {least[name][0][name]:,}, by "
        f"{write(canonical(parse(least[name][1])))}"
        for name, limit in budget.limits()
        if least[name][0][name] > limit
    ]
    if lines:
        return "; ".join(lines)
    each = ", ".join(f"{least[name][0][name]:,} {NAMES[name]}" for name, _ in budget.limits())
    return f"each limit alone can be kept for a field of {field} px ({each} at the least), all together not; raise one"
