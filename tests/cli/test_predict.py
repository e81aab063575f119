"""striate predict as a person uses it: the screen, files, exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import csv
import inspect
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import predicted
from striate.cli import meter
from striate.cli.predict import predict as command
from striate.data.folders import SUFFIXES
from striate.runtime import Engine
from striate.runtime.predict import BATCH_IMAGES

COUNT = 6


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return predicted.ship(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def shots(tmp_path):
    """A folder of six pictures."""
    predicted.write_pictures(tmp_path / "shots", COUNT)
    return tmp_path / "shots"


def fault(answer) -> str:
    """The one line of an error: exit code 2, no traceback, nothing on the screen."""
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("striate: ")
    return line.removeprefix("striate: ")


def bomb() -> bytes:
    """A PNG of 300 bytes that says it is 30,000 x 30,000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_pattern_on_the_screen(striate, small, shots):
    answer = striate("predict", small, f"{shots}/**/[0-3].jpg", "--top", "2")
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert (answer.code, answer.err) == (0, "")
    assert [row[0] for row in rows] == [f"{shots}/cat/{i}.jpg" for i in range(3)] + [f"{shots}/dog/3.jpg"]
    assert all(len(row) == 5 and float(row[2]) >= float(row[4]) for row in rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_into_a_file(striate, small, shots, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"results{suffix}"
    answer = striate("predict", small, shots, "--out", out, "--probabilities")
    assert (answer.code, answer.out, answer.err) == (0, "", f"{out}: 6 images\n")
    assert out.stat().st_size > 200
    again = striate("predict", small, shots, "--out", out, "--probabilities", "--json", "--threads", "1")
    assert again.code == 0
    assert json.loads(again.out) == {
        "out": str(out), "images": 6, "unreadable": 0, "abstained": 0, "was_complete": True,
    }  # fmt: skip
    assert again.err.splitlines() == [
        f"{out} is complete already: nothing was done; to predict again, remove it or choose another --out",
        f"{out}: 6 images",
    ]


def test_bad_images_are_named_and_the_exit_code_is_one(striate, small, shots, tmp_path):
    (shots / "cat" / "1.jpg").write_bytes(predicted.picture(1)[:60])
    (shots / "dog" / "4.jpg").write_bytes(bomb())
    out = tmp_path / "results.csv"
    answer = striate("predict", small, shots, "-o", out)
    lines = answer.err.splitlines()
    assert answer.code == 1
    assert lines[0].startswith(f"striate: {shots}/cat/1.jpg: unreadable image (")
    assert lines[1] == f"striate: {shots}/dog/4.jpg: more than 67,108,864 pixels; make it smaller first"
    assert lines[2:] == [f"{out}: 6 images, 2 could not be read (named above, and in column error)"]
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    bad = [row for row in rows if row["error"]]
    assert [(row["path"], row["label"], row["probability"]) for row in bad] == [
        (f"{shots}/cat/1.jpg", "", ""), (f"{shots}/dog/4.jpg", "", ""),
    ]  # fmt: skip
    assert striate("predict", small, shots, "-o", out).code == 1
    screen = striate("predict", small, shots, "--json")
    rows = [json.loads(line) for line in screen.out.splitlines()]
    assert screen.code == 1
    assert [row["error"] for row in rows if row["error"]] == [line.removeprefix("striate: ") for line in lines[:2]]
    assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-12 for row in rows if not row["error"])


def test_what_the_model_abstains_from_is_marked_and_keeps_its_guess(striate, shots, tmp_path):
    unsure = predicted.ship(tmp_path / "unsure.onnx", temperature=9.0, abstain_below=0.9)
    answer = striate("predict", unsure, shots / "cat" / "0.jpg")
    path, label, _, mark = answer.out.rstrip("\n").split("\t")
    assert (path, label in Engine(unsure).manifest.classes, mark) == (f"{shots}/cat/0.jpg", True, "abstain")
    assert answer.code == 0
    out = tmp_path / "results.csv"
    assert striate("predict", unsure, shots, "-o", out).err == f"{out}: 6 images, 6 abstained\n"
    assert all(line.endswith(",true,") for line in out.read_text(encoding="utf-8").splitlines()[1:])


def test_a_name_cannot_command_the_terminal(striate, small, shots):
    odd = shots / "\x1b[31mred\nline.jpg"
    odd.write_bytes(predicted.picture(1))
    assert striate("predict", small, odd).out.startswith(f"{shots}/\\x1b[31mred\\nline.jpg\t")
    odd.write_bytes(b"")
    assert len(striate("predict", small, odd).err.splitlines()) == 1


def test_progress_without_a_known_end(striate, small, shots, tmp_path, monkeypatch):
    monkeypatch.setattr(meter, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(meter, "LINE_SECONDS", 0.0)
    lines = striate("predict", small, shots, "-o", tmp_path / "r.csv", "--batch", "4").err.splitlines()
    assert [line.rpartition(",")[0] for line in lines[:2]] == ["  predicting: 4 images", "  predicting: 6 images"]
    assert lines[0].endswith(" a second")


def test_a_bad_image_is_named_over_the_bar_on_a_terminal(striate, small, shots, monkeypatch):
    (shots / "cat" / "1.jpg").write_bytes(b"")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert f"\r\x1b[Kstriate: {shots}/cat/1.jpg: not an image" in striate("predict", small, shots).err


def test_the_batch_is_what_the_library_takes():
    assert inspect.signature(command).parameters["batch"].default == BATCH_IMAGES


def test_options_that_do_not_fit(striate, small, shots, tmp_path):
    assert fault(striate("predict", small, shots, "-o", tmp_path / "r.csv", "--top", "2")) == (
        "predict: --top is for the screen; with --out use --probabilities"
    )
    assert fault(striate("predict", small, shots, "--probabilities")) == (
        "predict: --probabilities is for --out; on the screen use --top or --json"
    )
    assert fault(striate("predict", small, shots, "-o", tmp_path)) == (
        f"{tmp_path}: is a folder; name a file in it that ends in .csv, .jsonl, .parquet"
    )


def test_another_model_into_the_same_file(striate, small, shots, tmp_path):
    out = tmp_path / "r.csv"
    striate("predict", small, shots, "-o", out)
    other = predicted.ship(tmp_path / "other.onnx", seed=5)
    line = fault(striate("predict", other, shots, "-o", out))
    assert line.startswith(f'{out}: was begun with model_sha256 "')
    assert line.endswith("; use the same again, remove r.csv, or choose another --out")
    assert fault(striate("predict", small, shots, "-o", out, "--batch", "3")) == (
        f"{out}: was begun with batch_images 8, now 3; use the same again, remove r.csv, or choose another --out"
    )


def broken_sources(folder: Path) -> list[tuple[Path | str, str]]:
    image = predicted.picture(1)
    shard = predicted.write_tar(folder / "cut.tar", {"1.jpg": image, "2.jpg": image})
    shard.write_bytes(shard.read_bytes()[:600])
    predicted.write_zip(folder / "out.zip", {"../1.jpg": image})
    predicted.write_csv(folder / "no.csv", [["name", "label"], ["1.jpg", "cat"]])
    (folder / "empty").mkdir()
    return [
        (folder / "gone", f"{folder}/gone: no such file or folder; check the path"),
        (folder / "*.gif", f"{folder}/*.gif: no image or container of images fits this pattern; check it"),
        (
            folder / "empty",
            f"{folder}/empty: holds no images ({', '.join(SUFFIXES)}); check the path, or name archives by a pattern",
        ),
        (shard, f"{shard}: ends inside '1.jpg'; the shard is truncated, copy it again"),
        (folder / "out.zip", f"{folder}/out.zip: '../1.jpg' leads out of the archive; make it again from a folder"),
        (
            folder / "no.csv",
            f"{folder}/no.csv: no column 'path' or 'file_name' or 'filename' or 'image'; the columns are name, label",
        ),
    ]


def test_broken_sources_are_one_line(striate, small, tmp_path):
    for source, message in broken_sources(tmp_path):
        assert fault(striate("predict", small, source)) == message


def test_a_zip_bomb_is_one_line(striate, small, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", bytes(2**22))
    assert fault(striate("predict", small, tmp_path / "bomb.zip")) == (
        f"{tmp_path}/bomb.zip: '1.png' expands more than 200 times; no image file does, remove it"
    )


@pytest.mark.parametrize("pattern", ["", "/**/*.jpg"])
def test_a_folder_that_may_not_be_read_is_named(striate, small, shots, monkeypatch, pattern):
    listed = os.listdir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    answer = striate("predict", small, f"{shots}{pattern}")
    assert answer.code == 2
    assert answer.err == f"striate: {shots}/dog: cannot be listed (Permission denied); check it\n"


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(striate, small, shots, tmp_path):
    """The system lets no file of this process grow beyond 900 bytes; without that it ends as if nothing had been."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))\n"
        "from striate.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    out, whole = tmp_path / "results.csv", tmp_path / "whole.csv"
    arguments = ["predict", str(small), str(shots), "--batch", "2", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"striate: {out}: cannot be written (File too large); mend that and run the same command again, it continues\n"
    )
    assert not out.exists()
    assert out.with_name("results.csv.partial").stat().st_size == 900
    assert striate(*arguments).code == 0
    striate("predict", small, shots, "--batch", "2", "--out", whole)
    assert out.read_bytes() == whole.read_bytes()
