"""The theory as one page: statement by statement with formula, figure and the number that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from striate._version import __version__
from striate.claims import Outcome
from striate.report.claim_figures import draw_claim

INTRODUCTION = """\
# The theory of convolutional networks, measured

Twenty-seven statements carry one from the first window over an image to the fine print of batch normalisation. Nothing
on this page is to be believed: under every statement stands an experiment that could have refuted it, on real images,
with fixed seeds, and the number that came out. You can run each of them yourself:

    striate claims            all of them in their short form
    striate claims 12 21      some
    striate claims --full     with all seeds and settings, as on this page

How to read a section: first the statement and its formula; then how it is tested, and what has to be seen; then what
was measured, and the verdict. Where chance has a part, the number of seeds is given. *To rounding* means within 1e-12
of the largest value, in float64.

Symbols: H is height, W width, C channels, N images of a batch; K is the kernel, S the stride, P the padding on each
side, D the dilation; the subscripts in and out belong to a layer, l counts layers. ⋆ is the sliding sum of products
that a layer computes. The images are Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): clothing, 28 × 28 px, ten
classes.
"""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A heading before the statement of number `first`, and what the chapter is about."""

    first: int
    heading: str
    text: str


CHAPTERS = (
    Chapter(0, "The instrument", "Before anything is measured, the instrument is."),
    Chapter(
        1,
        "Convolution",
        "A convolutional layer looks at a small window of the image, multiplies it by a kernel, sums, and goes on to "
        "the next window with the same kernel. Two ideas are in this: a pixel concerns its neighbours first, and what "
        "is worth seeing in one place is worth seeing in every other.",
    ),
    Chapter(
        8,
        "Sizes",
        "How large is the map that a layer makes? A matter of counting windows; the only trap is what remains when "
        "they do not fit evenly.",
    ),
    Chapter(
        11,
        "What a unit sees",
        "A unit deep in the network depends on a patch of the image, its receptive field. What is larger than the "
        "field cannot be recognised by the unit, whatever it learns.",
    ),
    Chapter(13, "Pooling", "Pooling sums up a window by one number, by a rule that is fixed before training."),
    Chapter(16, "From maps to scores", "At some point maps become a vector, and places become numbers among others."),
    Chapter(
        17,
        "Batch normalisation",
        "A layer that brings each channel to mean 0 and variance 1, in training with the statistics of the batch. It "
        "made deep networks trainable, and it is the layer that is most often got wrong: it is two functions, one for "
        "training and one for the test.",
    ),
)


def write_page(outcomes: Sequence[Outcome], path: Path, command: str) -> Path:
    """Write the page to `path` and its figures to the folder of the same name beside it.

    command: what was typed, so that a reader can do it again.
    Raises: UsageError where matplotlib is not installed.
    """
    folder = path.with_suffix("")
    figures = draw_claims(outcomes, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    links = {number: f"{folder.name}/{figure.name}" for number, figure in figures.items()}
    path.write_text(page(outcomes, links, command), encoding="utf-8")
    return path


def draw_claims(outcomes: Sequence[Outcome], folder: Path) -> dict[int, Path]:
    """Write every figure there is into `folder`; number -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {o.claim.number: draw_claim(o, folder / f"claim-{o.claim.number:02d}.png") for o in outcomes}
    return {number: path for number, path in drawn.items() if path is not None}


def page(outcomes: Sequence[Outcome], figures: Mapping[int, str], command: str) -> str:
    """The page in Markdown; `figures` are links by the number of their statement."""
    parts = [INTRODUCTION, _summary(outcomes)]
    for outcome in outcomes:
        parts += [f"## {c.heading}\n\n{c.text}\n" for c in CHAPTERS if c.first == outcome.claim.number]
        parts.append(_section(outcome, figures.get(outcome.claim.number)))
    seconds = sum(outcome.seconds for outcome in outcomes)
    parts.append(
        f"---\n\nMade by striate {__version__} with `{command}` in {seconds / 60:.0f} min. Do not edit: run it again.\n"
    )
    return "\n".join(parts)


def _summary(outcomes: Sequence[Outcome]) -> str:
    failing = [o for o in outcomes if o.verdict == "fails"]
    words = (
        "All statements hold here." if not failing else f"{len(failing)} do not hold here; their numbers say how far."
    )
    rows = [f"| {o.claim.number} | [{o.claim.title}](#{_anchor(o)}) | {o.verdict} |" for o in outcomes]
    return "\n".join([f"{words}\n", "| | statement | verdict |", "|---|---|---|", *rows, ""])


def _anchor(outcome: Outcome) -> str:
    """What GitHub makes of the section's heading."""
    text = _heading(outcome).lower()
    return "".join(c for c in text if c.isalnum() or c in " -_").replace(" ", "-")


def _heading(outcome: Outcome) -> str:
    return f"{outcome.claim.number}. {outcome.claim.title}"


def _section(outcome: Outcome, figure: str | None) -> str:
    claim = outcome.claim
    lines = [
        f"### {_heading(outcome)}\n",
        f"**{claim.statement}**\n",
        f"    {claim.formula}\n",
        f"{claim.method}\n",
        f"*Expected:* {claim.expected}.  ",
        f"*Measured:* {outcome.finding.measured}.  ",
        f"*Verdict:* **{outcome.verdict}**.\n",
    ]
    if figure:
        lines += [f"![{claim.title}]({figure})\n", f"*{claim.caption}*\n"]
    return "\n".join(lines)
