"""From what a person types to a `Network`: the name of a family, or a notation."""

from __future__ import annotations

import re
from difflib import get_close_matches

from striate.errors import NotationError, ShapeError
from striate.graph import Network, infer_shapes
from striate.notation.build import build
from striate.notation.families import FAMILIES, Family
from striate.notation.parse import parse
from striate.notation.syntax import Chain, Dense
from striate.notation.write import write
from striate.ops import Shape, Softmax

LARGEST_SEARCHED_PX = 512
NAME = re.compile(r"[A-Za-z][\w.-]*")


def read(text: str, input_shape: Shape, classes: int | None = None) -> Network:
    """The network that `text` names or spells, for images of `input_shape` (C, H, W).

    classes: number of outputs. A family is built with as many (by default those of its paper); a notation spells
    its last layer itself, and must agree.
    Raises: NotationError.
    """
    text = text.strip()
    if classes is not None and classes < 1:
        raise NotationError(f"{text}: {classes} classes are no network's output; give at least 1")
    if text in FAMILIES:
        return _family(text, FAMILIES[text], input_shape, classes)
    try:
        chain = parse(text)
    except NotationError:
        if close := _close_families(text):
            raise NotationError(
                f"notation: no network is called {text!r}; did you mean {' or '.join(close)}? "
                f"The families are {', '.join(FAMILIES)}"
            ) from None
        raise
    network = build(chain, input_shape, name=text)
    if classes is not None:
        _check_classes(network, chain, classes)
    return network


def _family(name: str, make: Family, input_shape: Shape, classes: int | None) -> Network:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise NotationError(f"{name}: input shape {input_shape} is not (channels, height, width), each at least 1")
    try:
        return make(input_shape) if classes is None else make(input_shape, classes)
    except ShapeError as fault:
        side = _smallest_side(make, input_shape[0])
        raise NotationError(
            f"{name} does not fit an input of {'x'.join(map(str, input_shape))} ({fault}); "
            f"give it at least {side}x{side}"
        ) from None


def _smallest_side(make: Family, channels: int) -> int:
    for side in range(1, LARGEST_SEARCHED_PX):
        try:
            make((channels, side, side))
        except ShapeError:
            continue
        return side
    return LARGEST_SEARCHED_PX


def _close_families(text: str) -> list[str]:
    """The nearest family names, for what looks like a name."""
    if not NAME.fullmatch(text) or len(text) > 40:
        return []
    return get_close_matches(text.lower(), FAMILIES, n=2, cutoff=0.7)


def _check_classes(network: Network, chain: Chain, classes: int) -> None:
    shape = infer_shapes(network)[network.output]
    if shape == (classes,):
        return
    last = chain[-2] if len(chain) > 1 and chain[-1] == Softmax() else chain[-1]
    if isinstance(last, Dense):
        raise NotationError(
            f"notation: the last dense layer {write((last,))!r} gives {last.features} scores for {classes} classes; "
            f"write {classes} in its place"
        )
    raise NotationError(
        f"notation: {write((last,))!r} at the end gives {'x'.join(map(str, shape))}, and {classes} classes need a "
        f"vector of {classes} scores; end with {'' if len(shape) == 1 else 'GAP-'}{classes}"
    )
