"""The progress of long work: plain lines without a terminal, silence where it is short."""

from __future__ import annotations

import pytest

from striate.cli import meter as module
from striate.cli.meter import meter


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]):
    with meter("proving", "inputs") as tell:
        tell(1, 2)
        tell(2, 2)
    assert capsys.readouterr() == ("", "")


def test_long_work_says_where_it_is_in_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    with meter("proving", "inputs") as tell:
        tell(1, 1200)
        tell(600, 1200)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1] == "  proving: 600 of 1,200 inputs, about 0 s left"


def test_on_a_terminal_it_is_a_bar_that_goes_away(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with meter("proving", "inputs") as tell:
        tell(10, 30)
    err = capsys.readouterr().err
    assert err.startswith("\r" + "=" * 10 + " " * 20 + " proving: 10 of 30 inputs")
    assert err.endswith("\r\x1b[K")
