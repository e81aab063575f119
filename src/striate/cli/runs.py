"""striate runs: what was trained, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, note, percent, print_json, seconds_text

if TYPE_CHECKING:
    from striate.train.run.runs import RunRow

LONGEST = 36  # of a network or data set; the recipe has the whole


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="What was trained: a table, differences, curves.")(runs)


def runs(
    folders: Annotated[list[Path] | None, typer.Argument(help="Run folders, or folders that hold some.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show in what the recipes differ.")] = False,
    curves: Annotated[Path | None, typer.Option(help="Write a PNG of the runs' validation curves.")] = None,
    json: AsJson = False,
) -> None:
    """List runs: state, network, data, parameters, accuracy with its interval, training time, seed.

    Exit code 1 if a run is damaged or has diverged; its line says why.

    Example: striate runs --compare runs/1 runs/2 --curves curves.png
    """
    from striate.train.run.runs import differences, find_runs

    rows = find_runs(folders or [Path("runs")])
    differing = differences(rows) if compare else None
    if json:
        print_json({"runs": [row.to_json() for row in rows], "differences": differing})
    else:
        print("\n".join(table([_HEAD, *map(_cells, rows)])))
        for row in rows:
            if row.reason:
                print(f"{row.path}: {row.reason}")
        if differing is not None:
            print("\n" + "\n".join(_compared(rows, differing)))
    if curves is not None:
        from striate.report.run_curves import draw_runs

        note(f"curves: {draw_runs({row.path: row.history for row in rows if row.history}, curves)}")
    if any(row.state in ("damaged", "diverged") for row in rows):
        raise typer.Exit(1)


_HEAD = ("run", "state", "net", "data", "parameters", "epochs", "validation", "test", "95 % interval", "time", "seed")


def _cells(row: RunRow) -> tuple[str, ...]:
    interval = "-" if row.interval_95 is None else f"{percent(row.interval_95[0])} - {percent(row.interval_95[1])}"
    return (
        row.path,
        row.state,
        _short(row.key("net")),
        _short(row.key("data")),
        "-" if row.parameters is None else f"{row.parameters:,}",
        f"{len(row.history)} of {_text(row.key('epochs'))}",
        "-" if row.validation is None else percent(row.validation),
        "-" if row.test is None else percent(row.test),
        interval,
        "-" if row.seconds is None else seconds_text(row.seconds),
        _text(row.key("seed")),
    )


def _compared(rows: Sequence[RunRow], differing: dict[str, list[object]]) -> list[str]:
    if not differing:
        return ["the recipes are the same"]
    head = ("key", *(row.path for row in rows if row.recipe is not None))
    return table([head, *((name, *map(_text, values)) for name, values in differing.items())])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns that are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(value: object) -> str:
    text = _text(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None or value == "" else str(value)
