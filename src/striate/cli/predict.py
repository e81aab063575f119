"""striate predict: classes of images, by a shipped model, without torch."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.meter import meter
from striate.cli.output import AsJson, note, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from striate.jobs.predicting import How
    from striate.runtime.predict import Prediction, Result
    from striate.runtime.results import Batch


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Classes of images, without torch.")(predict)


def predict(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Images, folders, quoted patterns ('shots/**/*.jpg', 'shard-{000..003}.tar'), .tar and .zip files of "
            "images, .csv and .parquet files with a column of paths or image bytes.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a .csv, .jsonl or .parquet file; run again to continue.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="With --out: a column for each class.")
    ] = False,
    top: Annotated[int | None, typer.Option(min=1, help="On the screen: how many classes for an image (1).")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a batch.")] = 8,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Batches side by side (one a core); with --ray, actors of one CPU.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="onnxruntime, openvino, ncnn; what `striate bench --save` chose, if left out.")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run on the Ray cluster of RAY_ADDRESS, else on a local one.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print the class of each image and its probability; an image that cannot be read is named, never replaced.

    Where the model states a temperature, probabilities are softmax(logits / temperature). Where it states a threshold
    and the probability lies below, the image is marked "abstain"; its label is kept, as the model's guess.

    With --out, columns path, label, probability, abstain, error. A run that was killed continues where it was; the
    file is the same, byte for byte, and appears when it is whole. --json prints one JSON object a line on the screen
    or, with --out, the counts.

    Exit code 1 if an image could not be read.

    Example: striate predict model.onnx 'shots/**/*.jpg' --out results.csv
    """
    from striate.errors import UsageError
    from striate.jobs.predicting import How

    if out is not None and top is not None:
        raise UsageError("predict: --top is for the screen; with --out use --probabilities")
    if out is None and probabilities:
        raise UsageError("predict: --probabilities is for --out; on the screen use --top or --json")
    if ray and engine is not None:
        raise UsageError("predict: --ray computes with onnxruntime; leave --engine out")
    how = How(
        batch_images=batch,
        threads=threads,
        engine="onnxruntime" if ray else engine or _saved_engine(model, batch),
        on_cluster=ray,
    )
    if out is None:
        unreadable = _to_screen(model, sources, how, top or 1, json)
    else:
        unreadable = _to_file(out, model, sources, how, probabilities, json)
    if unreadable:
        raise typer.Exit(1)


def _saved_engine(model: Path, batch: int) -> str:
    """The engine that was measured fastest here and saved beside the model, said aloud; else the usual one."""
    from striate.runtime.saved import saved_setting

    setting, line = saved_setting(model, batch, "beside")
    if line:
        note(f"  auto: engine = {line}" if setting else f"  note: {line}")
    return setting.engine if setting else "onnxruntime"


def _to_screen(model: Path, sources: list[str], how: How, top: int, json: bool) -> int:
    from striate.jobs.predicting import predict_each
    from striate.runtime.predict import Unreadable
    from striate.runtime.results import to_row

    results, classes = predict_each(model, sources, how)
    unreadable = 0
    for one in _metered(results):
        if isinstance(one, Unreadable):
            unreadable += 1
            _name_unreadable((one,))
        if json:
            print(jsonlib.dumps(to_row(one, classes), ensure_ascii=False))
        elif not isinstance(one, Unreadable):
            print(_line(one, classes, top))
    return unreadable


def _to_file(out: Path, model: Path, sources: list[str], how: How, probabilities: bool, json: bool) -> int:
    from striate.jobs.predicting import predict_into

    done = 0
    with meter("predicting", "images") as show:

        def tell(batch: Batch) -> None:
            nonlocal done
            done += len(batch)
            _name_unreadable(batch)
            show(done, 0)

        counts, was_complete = predict_into(out, model, sources, how, tell, probabilities)
    if json:
        print_json({"out": str(out), **asdict(counts), "was_complete": was_complete})
    if was_complete:
        note(f"{out} is complete already: nothing was done; to predict again, remove it or choose another --out")
    abstained = f", {counts.abstained:,} abstained" if counts.abstained else ""
    unread = "named above, and in column error" if not was_complete else "named in column error"
    unreadable = f", {counts.unreadable:,} could not be read ({unread})" if counts.unreadable else ""
    note(f"{out}: {counts.images:,} images{abstained}{unreadable}")
    return counts.unreadable


def _metered(batches: Iterator[Batch]) -> Iterator[Result]:
    """Each result; where results are not on the screen themselves, how far it is."""
    done = 0
    with meter("predicting", "images") as show:
        for batch in batches:
            yield from batch
            done += len(batch)
            if not sys.stdout.isatty():
                show(done, 0)


def _name_unreadable(batch: Batch) -> None:
    from striate.runtime.predict import Unreadable

    over_the_bar = "\r\x1b[K" if sys.stderr.isatty() else ""
    for one in batch:
        if isinstance(one, Unreadable):
            note(f"{over_the_bar}striate: {_printable(one.reason)}")


def _line(one: Prediction, classes: tuple[str, ...], top: int) -> str:
    ranked = sorted(zip(one.probabilities, classes, strict=True), key=lambda pair: -pair[0])[:top]
    answer = "\t".join(f"{name}\t{probability:.4f}" for probability, name in ranked)
    return f"{_printable(one.path)}\t{answer}" + ("\tabstain" if one.abstains else "")


def _printable(text: str) -> str:
    """A file's name may hold what ends a line or commands a terminal; it stands as its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
