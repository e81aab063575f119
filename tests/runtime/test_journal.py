"""The journal: cut anywhere it goes on, and what does not belong to it is refused."""

from __future__ import annotations

import json
import os

import pytest

import predicted
from striate.data import find_units
from striate.errors import DataError, UsageError
from striate.runtime import Prediction, Unreadable
from striate.runtime import journal as module
from striate.runtime.journal import Counts, Journal, left, open_journal

SETTINGS = {"model_sha256": "ab" * 32, "sources": ["shots"], "batch_images": 2, "probabilities": False}
COUNT = 7


@pytest.fixture
def shots(tmp_path):
    return predicted.write_pictures(tmp_path / "shots", COUNT)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results.csv"


def answers(paths):
    """Made-up results, batch by batch: the third image is bad, the fourth abstained."""
    each = [Prediction(str(path), "ant", 0.5 + i / 100, (), i == 3) for i, path in enumerate(paths)]
    each[2] = Unreadable(str(paths[2]), "unreadable")
    return [tuple(each[i : i + 2]) for i in range(0, len(each), 2)]


def go_on(out, shots, stop_after=None):
    """What is left to do, and done; at most ``stop_after`` batches of it."""
    batches = {batch[0].path: batch for batch in answers(shots)}
    with open_journal(out, SETTINGS) as journal:
        for i, (unit, done) in enumerate(left(find_units([shots[0].parents[1]], 2), journal, 2)):
            assert done == 0
            if i == stop_after:
                return None
            journal.append(batches[str(unit[0])])
        return journal.finish(())


def opened(out, settings):
    with open_journal(out, settings) as found:
        return found


def files(out):
    return {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}


def test_from_begin_to_end(out, shots):
    assert go_on(out, shots) == Counts(images=7, unreadable=1, abstained=1)
    assert set(files(out)) == {"results.csv", "results.csv.run.json"}
    assert json.loads(files(out)["results.csv.run.json"]) == {
        **SETTINGS, "counts": {"images": 7, "unreadable": 1, "abstained": 1},
    }  # fmt: skip
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,label,probability,abstain,error"
    assert lines[3] == f"{shots[2]},,,,unreadable"
    assert len(lines) == 1 + COUNT


def test_cut_at_any_byte_it_goes_on_to_the_same_files(out, shots):
    go_on(out, shots)
    wanted = files(out)
    out.unlink()
    go_on(out, shots, stop_after=3)
    partial = out.with_name("results.csv.partial")
    whole = partial.read_bytes()
    assert whole.count(b"\n") == 4
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in sorted({0, 1, len(whole) - 1, len(whole), *range(0, len(whole), 37), *ends, *(end - 1 for end in ends)}):
        for path in out.parent.glob("results*"):
            path.unlink()
        partial.write_bytes(whole[:cut])
        go_on(out, shots)
        assert files(out) == wanted, cut


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "unlink"])
@pytest.mark.parametrize("nth", [0, 1])
def test_stopped_in_the_last_steps_it_ends_in_the_same_files(out, shots, monkeypatch, step, nth):
    go_on(out, shots)
    wanted = files(out)
    for path in out.parent.glob("results*"):
        path.unlink()

    class KilledError(BaseException):
        pass

    calls = []

    def killed(real):
        def call(*args, **kwargs):
            calls.append(args)
            if len(calls) > nth:
                raise KilledError
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        targets = {"fsync": (os, "fsync"), "replace": (module.Path, "replace"), "unlink": (module.Path, "unlink")}
        if step == "write":
            patch.setattr(module, "WRITERS", {".csv": killed(module.WRITERS[".csv"])})
        else:
            patch.setattr(*targets[step], killed(getattr(*targets[step])))
        try:
            go_on(out, shots)
        except KilledError:
            assert "results.csv.partial" in files(out)
    if "results.csv.partial" in files(out):
        go_on(out, shots)
    assert files(out) == wanted


def test_other_settings_are_refused_in_one_line(out, shots):
    go_on(out, shots, stop_after=1)
    other = SETTINGS | {"sources": ["x" * 70]}
    message = (
        r"results\.csv: was begun with sources \[\"shots\"\], now \[\"x{38}\.\.\.; use the same again, remove "
        r"results\.csv\.partial, or choose another --out$"
    )
    with pytest.raises(UsageError, match=message):
        opened(out, other)
    go_on(out, shots)
    with pytest.raises(UsageError, match=r"begun with batch_images 2, now 3; .* remove results\.csv, or choose"):
        opened(out, SETTINGS | {"batch_images": 3})
    with pytest.raises(UsageError, match=r"was begun with extra null, now 1; "):
        opened(out, SETTINGS | {"extra": 1})


def test_a_complete_file_is_told_from_a_strangers(out, shots):
    go_on(out, shots)
    with open_journal(out, SETTINGS) as found:
        assert found == Counts(7, 1, 1)
    out.with_name("results.csv.run.json").unlink()
    message = (
        r"results\.csv: is there already, and no results\.csv\.run\.json says how it came about; choose another --out$"
    )
    with pytest.raises(UsageError, match=message), open_journal(out, SETTINGS):
        pass
    assert out.read_text(encoding="utf-8").startswith("path,")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b'{"counts": 3}', b"\xff"])
def test_a_damaged_record_is_one_line(out, content):
    out.write_text("path\n", encoding="utf-8")
    out.with_name("results.csv.run.json").write_bytes(content)
    with pytest.raises(DataError, match=r"results\.csv\.run\.json: is damaged; remove it"), open_journal(out, SETTINGS):
        pass


def test_a_damaged_line_is_named(out, shots):
    go_on(out, shots, stop_after=3)
    partial = out.with_name("results.csv.partial")
    lines = partial.read_bytes().split(b"\n")
    lines[2] = b'[["a"'
    partial.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"results\.csv\.partial: line 3 is damaged; remove the file and predict anew$"):
        go_on(out, shots)
    lines[0] = b"no settings"
    partial.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"results\.csv\.partial: is damaged; remove it and predict anew$"):
        go_on(out, shots)


def test_two_processes_do_not_write_one_file(out):
    message = r"results\.csv: another process is writing it; wait for it, or choose another --out$"
    with open_journal(out, SETTINGS), pytest.raises(UsageError, match=message), open_journal(out, SETTINGS):
        pass


def test_other_images_than_before_are_named(out, shots):
    go_on(out, shots, stop_after=2)
    shots[1].rename(shots[1].with_name("1b.jpg"))
    message = (
        r"results\.csv: was begun when .*/cat/1\.jpg stood where now stands .*/cat/1b\.jpg; restore the images, or "
        r"remove results\.csv\.partial and predict anew$"
    )
    with pytest.raises(DataError, match=message):
        go_on(out, shots)
    for path in shots[1:]:
        path.unlink(missing_ok=True)
    (shots[0].parent / "1b.jpg").unlink()
    with pytest.raises(DataError, match=r"was begun when .*/cat/1\.jpg stood where now stands no image; restore"):
        go_on(out, shots)


def test_a_full_disk_is_one_line_and_costs_nothing(out, shots, monkeypatch):
    """A write that takes a part of the line and then none, as on a disk's last bytes."""
    go_on(out, shots)
    wanted = files(out)
    out.unlink()
    real = module._write

    def full(file, line):
        if line.startswith("[") and shots[4].name in line:
            file.write(line[:20].encode())
            raise OSError(28, "No space left on device")
        real(file, line)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        message = (
            r"results\.csv: cannot be written \(No space left on device\); mend that and run the same command again, "
            r"it continues$"
        )
        with pytest.raises(DataError, match=message):
            go_on(out, shots)
    assert not out.exists()
    go_on(out, shots)
    assert files(out) == wanted


def test_a_short_write_is_finished():
    class Slow:
        taken = b""

        def write(self, data):
            self.taken += bytes(data[:3])
            return min(3, len(data))

    file = Slow()
    module._write(file, "abcdefgh")
    assert file.taken == b"abcdefgh\n"


def test_a_journal_is_what_is_open(out):
    with open_journal(out, SETTINGS) as journal:
        assert isinstance(journal, Journal)
        assert list(journal.done()) == []
