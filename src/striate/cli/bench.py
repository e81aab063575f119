"""striate bench: which engine and setting are fastest for a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.output import AsJson, note, print_json

if TYPE_CHECKING:
    from striate.jobs.benchmarking import Benchmark, Row


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Engines, threads and batch sizes, measured on this machine.")(bench)


def bench(
    model: Annotated[Path, typer.Argument(help="A shipped .onnx file.")],
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images a batch; repeat it for more sizes.")] = None,
    engine: Annotated[list[str] | None, typer.Option(help="Only this engine; repeat it for more.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="For all rounds together; starting comes before.")] = 60.0,
    peers: Annotated[bool, typer.Option(help="Also measure torch eager, torch.fx fuse and torch.compile.")] = True,
    save: Annotated[bool, typer.Option("--save", help="Store the fastest beside the model, for this machine.")] = False,
    json: AsJson = False,
) -> None:
    """Measure engines, threads, spinning and batch sizes on this machine, each in a process of its own, in rounds.

    Engines that are not installed are named. An engine must pass the golden self-test. With --save, striate predict
    uses what was fastest, and says so, as long as model, machine and engine are the same.

    Example: striate bench model.onnx --batch 1 --batch 32 --save
    """
    from striate.cli.meter import meter
    from striate.jobs.benchmarking import BATCHES, benchmark, save_fastest

    with meter("measuring", "steps") as tell:
        found = benchmark(model, tuple(batch or BATCHES), seconds, tuple(engine or ()), peers, tell)
    saved = save_fastest(found) if save else None
    if json:
        print_json(to_json(found) | {"saved": None if saved is None else str(saved)})
        return
    _print(found)
    if saved is not None:
        print(f"saved: {saved}")
    else:
        print(f"next: striate bench {model} --save, so that predict uses the fastest")


def _print(found: Benchmark) -> None:
    """The table, a batch size after the other, then what it means."""
    from striate.jobs.benchmarking import load_now

    print(f"{found.model} on {found.machine.cpu}, {found.machine.cores} cores")
    last = 0
    for row in found.rows:
        if row.batch_images != last:
            last = row.batch_images
            print(f"\nbatch {last:<32} images/s         ms  spread  of best      MB")
        print(
            f"  {row.contender!s:<36} {row.images_per_s:>9,.1f} {row.ms:>10,.3f}  ±{100 * row.spread:>3.0f} %  "
            f"{row.of_best:>7.2f}  {row.peak_mb:>6,.0f}"
        )
    print(
        f"\nmedian of {found.rounds} rounds of {1000 * found.turn_seconds:.0f} ms; ± holds half of the rounds; "
        f"MB is the peak of each process, {found.total_mb:,.0f} together"
    )
    for line in found.notes:
        note(f"  {line}")
    if (load := load_now()) > 1.5 * found.machine.cores:
        note(f"  note: this machine is busy (load {load:.1f} on {found.machine.cores} cores); measure again later")


def to_json(found: Benchmark) -> dict[str, Any]:
    """What was measured, as plain data."""
    return {
        "model": str(found.model),
        "machine": found.machine.model_dump(),
        "rounds": found.rounds,
        "turn_seconds": found.turn_seconds,
        "total_mb": round(found.total_mb, 1),
        "rows": [_row(row) for row in found.rows],
        "notes": list(found.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    setting = row.contender.setting
    return {
        "engine": setting.engine,
        "peer": row.contender.is_peer,
        "threads": setting.threads,
        "spinning": setting.spinning,
        "part_images": setting.part_images,
        "batch_images": row.batch_images,
        "images_per_s": row.images_per_s,
        "ms": row.ms,
        "spread": row.spread,
        "of_best": row.of_best,
        "peak_mb": row.peak_mb,
    }
