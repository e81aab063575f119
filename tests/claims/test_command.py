from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from claims.made import made
from striate.claims import table
from striate.cli.claims import register


@pytest.fixture
def run():
    app = typer.Typer()
    register(app)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_some_statements_as_text(run):
    result = run("12", "11")
    assert result.exit_code == 0
    assert [line[:9] for line in result.stdout.splitlines() if line[:2].strip()] == [
        "12  holds",
        "11  holds",
        "2 of 2 st",
    ]


def test_some_statements_as_json(run):
    result = run("12", "8", "--json")
    rows = json.loads(result.stdout)
    assert [row["number"] for row in rows] == [12, 8]
    assert all(sorted(row) == ["expected", "measured", "number", "seconds", "statement", "verdict"] for row in rows)
    assert {row["verdict"] for row in rows} == {"holds"}


def test_a_failing_statement_is_a_finding(run, monkeypatch):
    monkeypatch.setattr(table, "CLAIMS", (made(holds=False, number=5), made(number=6)))
    result = run()
    assert result.exit_code == 1
    assert "1 of 2 statements hold" in result.stdout


def test_figures_and_page_are_written(run, tmp_path):
    result = run("11", "--figures", str(tmp_path / "pictures"), "--page", str(tmp_path / "page.md"))
    assert result.exit_code == 0, result.output
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == ["page.md", "page/claim-11.png", "pictures/claim-11.png"]
