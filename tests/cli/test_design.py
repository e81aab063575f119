"""striate design: the table, JSON, refusals and amounts."""

from __future__ import annotations

import json

import pytest
import typer

from striate.cli import design
from striate.cli.app import _Commands


@pytest.fixture
def run(capsys):
    """The command by itself, as `striate design`."""
    app = typer.Typer(cls=_Commands)
    app.callback()(lambda: None)
    design.register(app)

    def invoke(*arguments):
        try:
            app(args=["design", *map(str, arguments)], prog_name="striate")
        except SystemExit as done:
            captured = capsys.readouterr()
            return done.code, captured.out, captured.err

    return invoke


ASK = ("--input", "1x28x28", "--classes", "7", "--receptive-field", "20")


def test_networks_are_proposed_best_first(run):
    code, out, _ = run(*ASK, "--macs", "2M", "--parameters", "50k")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["score", "field", "jump", "MACs", "parameters", "activations"]
    scores = [float(line.split()[0]) for line in lines[1:16:3]]
    assert scores == sorted(scores, reverse=True)
    assert all(line.endswith("-GAP-7") for line in lines[2:17:3])
    assert lines[-1].endswith("it does not forecast accuracy")


def test_json(run):
    _, out, _ = run(*ASK, "--memory", "100kB", "--json")
    found = json.loads(out)
    assert found["impossible"] is None
    assert all(one["peak_activation_bytes"] <= 100_000 for one in found["designs"])
    assert all(one["receptive_field"] >= 20 for one in found["designs"])


def test_what_cannot_be_is_said_with_the_least_that_can(run):
    code, out, _ = run(*ASK, "--macs", "1k")
    assert code == 1
    assert out.startswith("1,000 MACs are too few for a field of 20 px: the least is ")
    code, out, _ = run(*ASK, "--macs", "1k", "--json")
    assert code == 1
    assert json.loads(out)["designs"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "striate: design: without a limit there is no best network; give --macs, --parameters or --memory\n"),
        (
            ("--macs", "many"),
            "striate: --macs 'many' is no amount; write a number with k, M or G, as in --macs 20M\n",
        ),
        (("--macs", "2MB"), "striate: --macs '2MB' is no amount; write a number with k, M or G, as in --macs 20M\n"),
        (
            ("--memory", "0"),
            "striate: --memory '0' is no amount; write a number with k, M or G, as in --memory 2MB\n",
        ),
    ],
)
def test_amounts_that_are_none(run, arguments, message):
    assert run(*ASK, *arguments) == (2, "", message)
