"""The command line: one file a command, each of which parses, calls one function, and prints.

Exit codes: 0 clean, 1 findings (a proof that fails, images that cannot be read), 2 wrong usage or input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from striate._version import __version__
from striate.cli import (
    audit,
    bench,
    claims,
    demo,
    design,
    draw,
    evaluate,
    inspect,
    lr,
    predict,
    preview,
    probe,
    quantize,
    recalibrate,
    recipe,
    resume,
    runs,
    ship,
    train,
    verify,
)
from striate.errors import StriateError

INTERRUPTED = 130  # what a shell expects of a process that Ctrl-C ended


class _Commands(TyperGroup):
    """The commands, in the order of a project's life."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; every fault of ours becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except StriateError as fault:
            print(f"striate: {fault}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("striate: stopped; what was written so far is whole", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output went away (`striate inspect ... | head`): nothing is wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in two thirds of the time
    help="Convolutional networks you can trust: see what every layer sees, train, and ship a network proved equal.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"striate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


for _command in (
    demo, inspect, draw, design, audit, preview, recipe, lr, train, resume, runs, evaluate, probe, recalibrate, ship,
    verify, bench, quantize, predict, claims,
):  # fmt: skip
    _command.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is the process's own by default."""
    try:
        app(args=None if argv is None else list(argv), prog_name="striate")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0
