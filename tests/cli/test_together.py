"""What ranks under torchrun print: the first as one process does, the others nothing but a fault of their own."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import typer

from striate.cli import train
from striate.errors import ElsewhereError, RunError


@pytest.fixture
def as_rank(monkeypatch):
    """Let this process believe that it is one of two, without any exchange."""

    def become(rank: int) -> None:
        from striate.train.team import distributed

        @contextmanager
        def joined():
            yield distributed.Team(rank, 2)

        monkeypatch.setattr(distributed, "joined", joined)
        monkeypatch.setattr(train, "GRACE_SECONDS", 0.0)

    return become


def test_only_the_first_rank_prints(as_rank, capsys):
    for rank in (0, 1):
        as_rank(rank)
        with train.together() as team:
            typer.echo(f"result of {team.rank}")
            train.note(f"note of {team.rank}")
    assert capsys.readouterr() == ("result of 0\n", "note of 0\n")


def test_a_fault_told_elsewhere_ends_a_rank_in_silence(as_rank, capsys):
    as_rank(1)
    with pytest.raises(typer.Exit) as ended, train.together():
        raise ElsewhereError("rank 0 of 2 failed and says why")
    assert ended.value.exit_code == 2
    assert capsys.readouterr() == ("", "")


def test_a_fault_of_its_own_is_said(as_rank, capsys):
    as_rank(1)
    with pytest.raises(RunError, match=r"^rank 1 of 2: the disk is full$"), train.together():
        raise RunError("rank 1 of 2: the disk is full")
    train.note("again")  # and the streams are as before
    assert capsys.readouterr() == ("", "again\n")
