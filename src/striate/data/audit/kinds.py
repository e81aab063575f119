"""The kinds of findings: one row each, with its sentence and what to do. n counts the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from striate.data.audit.report import Case, Finding


@dataclass(frozen=True, slots=True)
class Kind:
    """level as in ``Finding``; one and many are the sentence for one case and for n."""

    level: str
    one: str
    many: str
    remedy: str


KINDS = {
    "unreadable": Kind(
        "fault",
        "1 file is no image that can be read",
        "{n} files are no images that can be read",
        "replace or remove them; --on-bad skip trains without them and lists them",
    ),
    "damaged": Kind(
        "fault",
        "1 file is truncated or damaged",
        "{n} files are truncated or damaged",
        "copy them again from where they came; --on-bad skip trains without them and lists them",
    ),
    "animated": Kind(
        "fault",
        "1 file holds several pictures",
        "{n} files hold several pictures each",
        "save the picture that matters as its own file",
    ),
    "refused": Kind(
        "fault",
        "1 file has a size or pixel format that is not read",
        "{n} files have a size or pixel format that is not read",
        "make them smaller or save them as 8-bit gray or RGB",
    ),
    "label-conflict": Kind(
        "fault",
        "1 picture carries different labels",
        "{n} pictures carry different labels",
        "look at each and keep the right label: no network can learn both",
    ),
    "leak": Kind(
        "fault",
        "1 picture is in more than one part",
        "{n} pictures are in more than one part",
        "remove the copies from the training part: what was trained on cannot measure",
    ),
    "duplicate": Kind(
        "fault",
        "1 picture is there more than once in its class",
        "{n} pictures are there more than once in their class",
        "remove the copies: a split may tear them apart, and they weigh more than others",
    ),
    "near-conflict": Kind(
        "fault",
        "1 pair of nearly the same picture carries different labels",
        "{n} pairs of nearly the same picture carry different labels",
        "look at each pair: where it is one object, one label is wrong",
    ),
    "near-leak": Kind(
        "fault",
        "1 pair of nearly the same picture lies in two parts",
        "{n} pairs of nearly the same picture lie in two parts",
        "keep pictures of one object in one part: give them one group in a CSV or Parquet column and split anew",
    ),
    "group-leak": Kind(
        "fault",
        "1 group lies in more than one part",
        "{n} groups lie in more than one part",
        "move each group into one part: images of one object or person are no independent test",
    ),
    "missing-class": Kind(
        "fault",
        "1 class is missing in a part",
        "{n} classes are missing in a part",
        "add images of the class there, or drop the class everywhere",
    ),
    "near-duplicate": Kind(
        "note",
        "1 pair of nearly the same picture lies in one class and part",
        "{n} pairs of nearly the same picture lie in one class and part",
        "before a split, give the pictures of one object one group, so that they stay together",
    ),
    "imbalance": Kind(
        "note",
        "the classes are of very different size",
        "the classes are of very different size",
        "judge by balanced accuracy and per-class recall, weigh the classes, or collect more of the small ones",
    ),
    "aspect": Kind(
        "note",
        "the pictures are of very different shape",
        "the pictures are of very different shape",
        "look at `striate preview`: crop cuts the ends off long pictures, pad keeps all, stretch distorts",
    ),
    "orientation": Kind(
        "note",
        "1 photograph is stored turned (EXIF orientation)",
        "{n} photographs are stored turned (EXIF orientation)",
        "nothing to do here: they are turned upright; other programs may not do so",
    ),
    "cmyk": Kind(
        "note",
        "1 picture is made for print (CMYK)",
        "{n} pictures are made for print (CMYK)",
        "nothing to do: they are converted; without the colour profile, tones may differ from print",
    ),
    "deep": Kind(
        "note",
        "1 picture has more than 8 bits a sample",
        "{n} pictures have more than 8 bits a sample",
        "nothing to do if 256 levels are enough: full scale is brought to 0 .. 255",
    ),
    "transparent": Kind(
        "note",
        "1 picture has transparent pixels or a transparent colour",
        "{n} pictures have transparent pixels or a transparent colour",
        "nothing to do if white is a fair background: that is what they are laid on",
    ),
}


def finding(kind: str, cases: Sequence[Case]) -> list[Finding]:
    """The finding of a kind, or none without cases."""
    if not cases:
        return []
    row = KINDS[kind]
    sentence = row.one if len(cases) == 1 else row.many.format(n=f"{len(cases):,}")
    return [Finding(kind, row.level, sentence, row.remedy, tuple(cases))]
