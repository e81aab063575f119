"""What an audit found, as values: facts about the data, and findings with the images they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LISTED = 3  # groups of images that the text shows of each finding; JSON has all of them


@dataclass(frozen=True, slots=True)
class Image:
    """One image by name, with the part and class it is in."""

    name: str
    part: str
    class_name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.class_name}, {self.part})"


@dataclass(frozen=True, slots=True)
class Case:
    """Images that one fault is about: none, one, or several that are compared; detail says more.

    relation stands between the names: "=" copies, "~" nearly the same, "," no more than a list.
    """

    images: tuple[Image, ...]
    detail: str = ""
    relation: str = ","

    def __str__(self) -> str:
        joint = ", " if self.relation == "," else f" {self.relation} "
        shown = joint.join(map(str, self.images[:4])) + (" ..." if len(self.images) > 4 else "")
        return ": ".join(filter(None, [shown, self.detail]))


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble: what is so, in a sentence, what to do, and where.

    level: "fault" spoils training or its numbers; "note" is handled, and worth knowing.
    """

    kind: str
    level: str
    sentence: str
    remedy: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest, median and largest of a measure."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything a look at each image of a source showed.

    counts: images of each class (inner) in each part (outer). heights and widths in px, as seen upright; aspects
    are width / height. modes and formats are those of the files. near_correlation is the similarity from which two
    pictures counted as nearly the same.
    """

    source: str
    images: int
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    heights: Range | None
    widths: Range | None
    aspects: Range | None
    modes: Mapping[str, int]
    formats: Mapping[str, int]
    near_correlation: float
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that need a person."""
        return tuple(finding for finding in self.findings if finding.level == "fault")

    def finding(self, kind: str) -> Finding | None:
        """The finding of one kind, if there is one."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """A mapping of plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([*_summary(self), "", *_table(self), "", *_findings(self)])


def _summary(audit: Audit) -> list[str]:
    lines = [f"{audit.source}: {audit.images:,} images, {len(audit.classes)} classes"]
    if audit.heights and audit.widths and audit.aspects:
        lines.append(
            f"height {_px(audit.heights)} px, width {_px(audit.widths)} px, "
            f"width/height {audit.aspects.low:.2f} to {audit.aspects.high:.2f}"
        )
    kinds = [f"{count:,} {name}" for counts in (audit.formats, audit.modes) for name, count in counts.items()]
    return [*lines, "stored as " + ", ".join(kinds)] if kinds else lines


def _px(measure: Range) -> str:
    if measure.low == measure.high:
        return f"{measure.low:g}"
    return f"{measure.low:g} to {measure.high:g} (median {measure.median:g})"


def _table(audit: Audit) -> list[str]:
    """Class counts: a row a class, a column a part, a bar for the whole."""
    parts = list(audit.counts)
    totals = {name: sum(audit.counts[part].get(name, 0) for part in parts) for name in audit.classes}
    width = max([5, *map(len, audit.classes)])
    most = max([1, *totals.values()])
    lines = [f"{'class':{width}}" + "".join(f"{part:>12}" for part in parts)]
    for name in audit.classes:
        cells = "".join(f"{audit.counts[part].get(name, 0):>12,}" for part in parts)
        share = totals[name] / max(1, audit.images)
        lines.append(f"{name:{width}}{cells}{100 * share:>8.1f} %  {'#' * max(1, round(24 * totals[name] / most))}")
    return lines


def _findings(audit: Audit) -> list[str]:
    if not audit.findings:
        return ["nothing found"]
    lines = []
    for finding in audit.findings:
        lines += [f"{finding.level}: {finding.sentence}  [{finding.kind}]"]
        lines += [f"    {case}" for case in finding.cases[:LISTED]]
        more = len(finding.cases) - LISTED
        lines += [f"    and {more:,} more (--json lists all)"] if more > 0 else []
        lines += [f"    -> {finding.remedy}"]
    return lines
