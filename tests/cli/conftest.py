"""A finished run, a shipped model and image files that all command tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import rich.style  # noqa: F401 - draws from the global generator when first imported, which the guard would see

from striate.cli.app import main
from striate.data import write_sample_images

NET = "4C3s2-BN-R-8C3-BN-R-MP2-F-10"


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str


@pytest.fixture
def striate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run one command in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> Answer:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on the sample."""
    out = tmp_path_factory.mktemp("runs") / "one"
    assert main(["train", "sample", "--net", NET, "--epochs", "1", "--threads", "1", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def model(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, shipped."""
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    assert main(["ship", str(finished), "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Ten image files, one a class."""
    return write_sample_images(tmp_path_factory.mktemp("photos"), 10)
