"""What has been predicted so far, on disk: a journal that a kill at any moment leaves usable, and its final table.

Beside OUT lie OUT.partial while work is going on and OUT.run.json when it is done. The journal's first line holds the
settings, each further line one batch. A line without its end was being written when the process died: it is cut off
and its batch computed again. When all is done the table is made from the journal under another name and put in place
in one step, so that OUT is whole or absent; then OUT.run.json is written; then the journal is removed. Whoever finds
the journal can redo the end from it, and so the files are the same bytes however often the work was interrupted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import RawIOBase
from itertools import chain, islice
from pathlib import Path

from striate.data import batches
from striate.data.unlabelled import Unit
from striate.errors import DataError, UsageError
from striate.runtime.predict import Prediction, Result, Unreadable, Work, readable
from striate.runtime.results import WRITERS, Batch, check_out, from_line, to_line

Settings = Mapping[str, object]  # of JSON values: whatever decides a bit of the results
SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images there were, how many of them could not be read, and for how many the model abstains."""

    images: int = 0
    unreadable: int = 0
    abstained: int = 0

    def plus(self, batch: Batch) -> Counts:
        """The counts with one more batch."""
        unreadable = sum(isinstance(result, Unreadable) for result in batch)
        abstained = sum(isinstance(result, Prediction) and result.abstains for result in batch)
        return Counts(self.images + len(batch), self.unreadable + unreadable, self.abstained + abstained)


class Journal:
    """An open journal, locked against other processes; made by `open_journal`."""

    def __init__(self, out: Path, settings: Settings, file: RawIOBase) -> None:
        self.out = out
        self._settings = settings
        self._file = file

    def done(self) -> Iterator[Batch]:
        """The batches that are in the journal.  Raises: DataError if a line is damaged."""
        with _partial(self.out).open("rb") as file:
            for number, line in enumerate(islice(file, 1, None), start=2):
                try:
                    yield from_line(line)
                except ValueError as fault:
                    raise DataError(
                        f"{_partial(self.out)}: line {number} is damaged; remove the file and predict anew"
                    ) from fault

    def append(self, batch: Batch) -> None:
        """Add a batch; when this returns it is the operating system's, and a kill of this process cannot undo it."""
        with _writing(self.out):
            _write(self._file, to_line(batch))

    def finish(self, classes: tuple[str, ...]) -> Counts:
        """Write the table and what is to be known of it, and remove the journal.

        classes: whose probabilities become columns; none for the label's alone
        """
        counts = Counts()
        for batch in self.done():
            counts = counts.plus(batch)
        waiting = self.out.with_name(f"{self.out.name}.writing")
        about = json.dumps({**self._settings, "counts": asdict(counts)}, indent=2)
        with _writing(self.out):
            WRITERS[self.out.suffix.lower()](waiting, chain.from_iterable(self.done()), classes)
            _put_in_place(waiting, self.out)
            waiting.write_text(f"{about}\n", encoding="utf-8")
            _put_in_place(waiting, _about(self.out))
            _partial(self.out).unlink()
        return counts


@contextmanager
def open_journal(out: Path, settings: Settings) -> Iterator[Journal | Counts]:
    """The journal of `out`, begun or found; or the counts, if the table is there already, made with these settings.

    Raises: UsageError if `out` cannot be such a file, was made in another way or with other settings, or is being
    written by another process; DataError if the disk is full, or the journal damaged.
    """
    check_out(out)
    if not _partial(out).exists() and out.exists():
        yield _finished(out, settings)
        return
    with _writing(out):
        file = _partial(out).open("ab", buffering=0)  # unbuffered: a line that is written is the system's
    with file:
        with _writing(out):
            _lock(file, out)
            _begin(file, out, settings)
        yield Journal(out, settings, file)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise DataError(
            f"{out}: cannot be written ({fault.strerror}); mend that and run the same command again, it continues"
        ) from fault


def _write(file: RawIOBase, line: str) -> None:
    """All of a line: the disk's last bytes may take a part of it without an error."""
    waiting = memoryview(f"{line}\n".encode())
    while waiting:
        waiting = waiting[file.write(waiting) or 0 :]


def left(units: Iterator[Unit], journal: Journal, batch_images: int) -> Iterator[Work]:
    """The units that are not all in the journal, with how many of their batches are.

    Raises: DataError where the images are not those of the journal.
    """
    done = journal.done()
    for unit in units:
        for count, batch in enumerate(batches(unit, batch_images)):
            found = next(done, None)
            if found is None:
                yield unit, count
                yield from ((later, 0) for later in units)
                return
            _check_same(found, [readable(image.name) for image in batch], journal.out)
    if (found := next(done, None)) is not None:
        _check_same(found, [], journal.out)


def _check_same(found: tuple[Result, ...], names: list[str], out: Path) -> None:
    for then, now in zip([result.path for result in found] + [None], [*names, None], strict=False):
        if then != now:
            raise DataError(
                f"{out}: was begun when {then or 'no more images'} stood where now stands {now or 'no image'}; "
                f"restore the images, or remove {_partial(out).name} and predict anew"
            )


def _begin(file: RawIOBase, out: Path, settings: Settings) -> None:
    """Cut off a line without its end; then check the settings in the first line, or write them."""
    head, whole_bytes = b"", 0
    with _partial(out).open("rb") as lines:
        for line in lines:
            head = head or line
            whole_bytes += len(line) if line.endswith(b"\n") else 0
    file.truncate(whole_bytes)
    if whole_bytes:
        _check_settings(_read(head, _partial(out)), settings, out, _partial(out))
    else:
        _write(file, json.dumps(settings))


def _finished(out: Path, settings: Settings) -> Counts:
    about = _about(out)
    if not about.is_file():
        raise UsageError(f"{out}: is there already, and no {about.name} says how it came about; choose another --out")
    recorded = _read(about.read_bytes(), about)
    try:
        counts = Counts(**recorded.pop("counts"))  # type: ignore[arg-type]
    except (KeyError, TypeError):
        raise DataError(f"{about}: is damaged; remove it and {out.name}, and predict anew") from None
    _check_settings(recorded, settings, out, out)
    return counts


def _check_settings(then: dict[str, object], now: Settings, out: Path, of: Path) -> None:
    for key in dict.fromkeys([*now, *then]):
        if then.get(key) != now.get(key):
            raise UsageError(
                f"{out}: was begun with {key} {_short(then.get(key))}, now {_short(now.get(key))}; "
                f"use the same again, remove {of.name}, or choose another --out"
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def _read(text: bytes, path: Path) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{path}: is damaged; remove it and predict anew")
    return value


def _lock(file: RawIOBase, out: Path) -> None:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{out}: another process is writing it; wait for it, or choose another --out") from None


def _put_in_place(waiting: Path, path: Path) -> None:
    with waiting.open("rb") as file:
        os.fsync(file.fileno())
    waiting.replace(path)


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def _about(out: Path) -> Path:
    return out.with_name(f"{out.name}.run.json")
