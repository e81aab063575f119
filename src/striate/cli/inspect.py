"""striate inspect: what every layer sees and costs; one unit, many sizes, or two networks side by side."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.output import AsJson, close, note, print_json
from striate.errors import UsageError

if TYPE_CHECKING:
    from striate.graph import Network
    from striate.measure import Inspection
    from striate.ops import Shape

SIZES = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")
ROWS_UNASKED = 16  # steps of --sizes where none is given
MOST_SIZES = 1000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(short_help="Sizes, receptive fields and costs of every layer.")(inspect)


def inspect(
    net: Annotated[str, typer.Argument(help="Notation, family, package.module:callable, .onnx file or run folder.")],
    size: Annotated[
        str, typer.Option("--input", "-i", metavar="CxHxW", help="Size of the image; a file or run has its own.")
    ] = "",
    classes: Annotated[int | None, typer.Option(help="Outputs of a family (1000 by default).")] = None,
    columns: Annotated[str, typer.Option(help="Which columns, by comma: layer,output,field; 'help' lists them.")] = "",
    tree: Annotated[bool, typer.Option("--tree", help="Group the layers by module path.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="With --tree: how many levels.")] = None,
    at: Annotated[str, typer.Option(metavar="LAYER", help="What one unit of this layer sees.")] = "",
    unit: Annotated[str, typer.Option(metavar="Y,X", help="With --at: which unit; the middle one by default.")] = "",
    picture: Annotated[bool, typer.Option("--picture", help="With --at: the image as text.")] = False,
    sizes: Annotated[
        str, typer.Option(metavar="A..B[:STEP]", help="The network on square images of these sizes.")
    ] = "",
    compare: Annotated[str, typer.Option(metavar="NET2", help="Beside another network.")] = "",
    json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the layers as CSV, one number a column.")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the network.")] = None,
) -> None:
    """Print each layer's output, receptive field (size, jump, start), parameters and MACs.

    Example: striate inspect 32C3-BN-R-MP2-64C3-BN-R-GAP-10 --input 1x28x28
    """
    from striate.jobs.networks import look_at
    from striate.jobs.spelled import parse_shape
    from striate.measure import inspect_network

    if columns == "help":
        _print_columns()
        return
    _check_together(at=at, sizes=sizes, compare=compare, unit=unit or picture, depth=depth is not None and not tree)
    shape = parse_shape(size) if size else None
    if sizes:
        _print_sizes(net, shape, classes, sizes, json)
        return
    network, remarks, unknown = look_at(net, shape, classes)
    if svg is not None:
        _draw(network, shape, svg)
    if at:
        _print_unit(network, shape, at, unit, picture, json)
        close(remarks, ())
        return
    found = inspect_network(network, shape)
    if compare:
        other, more, also_unknown = look_at(compare, shape or network.input_shape, classes)
        _print_comparison(found, inspect_network(other, shape), json)
        remarks, unknown = (*remarks, *more), (*unknown, *also_unknown)
    elif json:
        print_json(found.to_json())
    elif as_csv:
        print(_csv(found), end="")
    else:
        _print_table(found.table([name.strip() for name in columns.split(",") if name], tree=tree, depth=depth))
    close(remarks, unknown)


def _print_table(text: str) -> None:
    """Print it, and say how to make it narrower where it does not fit the terminal."""
    print(text)
    rule = max((line for line in text.splitlines() if set(line) == {"-"}), key=len, default="")
    width, room = len(rule), shutil.get_terminal_size().columns
    if sys.stdout.isatty() and width > room:
        wider = f"the table is {width} columns wide, the terminal {room}"
        note(f"{wider}; --tree or --columns layer,output,field is narrower")


def _check_together(*, at: str, sizes: str, compare: str, unit: bool | str, depth: bool) -> None:
    if sum(map(bool, (at, sizes, compare))) > 1:
        raise UsageError("--at, --sizes and --compare answer different questions; give one of them")
    if unit and not at:
        raise UsageError("--unit and --picture belong to a layer; name it with --at")
    if depth:
        raise UsageError("--depth counts levels of the tree; give --tree as well")


def _print_columns() -> None:
    from striate.measure import COLUMNS

    width = max(map(len, COLUMNS))
    print("\n".join(f"{name:<{width}}  {column.about}" for name, column in COLUMNS.items()))


def _print_unit(network: Network, shape: Shape | None, layer: str, unit: str, picture: bool, json: bool) -> None:
    from striate.measure import gated, look

    place = _place(unit) if unit else None
    full = look(network, layer, place, shape)
    local = look(network, layer, place, shape, gates=False) if gated(network, shape) else None
    if json:
        print_json(full.to_json() | ({"local": local.to_json()} if local else {}))
        return
    print(full)
    if local:
        print(f"\nwithout what global gates saw\n{local}")
    if picture:
        print((local or full).picture())


def _place(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"unit {text!r} is not a place; write row and column, as in --unit 3,5") from None


def _print_sizes(net: str, shape: Shape | None, classes: int | None, sizes: str, json: bool) -> None:
    from striate.jobs.networks import read_network
    from striate.jobs.spelled import CALLABLE
    from striate.measure.sizes import over_sizes, sizes_table

    # A notation or family is built anew for each size; a file, a run or a module is the same network throughout.
    spelled = not (CALLABLE.fullmatch(net) or net.endswith(".onnx") or Path(net).is_dir())
    network = None if spelled else read_network(net, shape, classes)
    channels = network.input_shape[0] if network else shape[0] if shape else None
    if channels is None:
        raise UsageError("--sizes: how many channels the images have is not known; give --input, as in 3x224x224")
    found = over_sizes(
        lambda image: network or read_network(net, image, classes), [(channels, n, n) for n in _range(sizes)]
    )
    if json:
        print_json({"network": net, "sizes": [size.to_json() for size in found]})
    else:
        print(sizes_table(net, found))


def _range(text: str) -> range:
    match = SIZES.fullmatch(text.strip())
    first, last, step = (int(n or 0) for n in match.groups()) if match else (0, 0, 0)
    if first < 1 or last < first:
        raise UsageError(f"sizes {text!r} are not a range; write it as in --sizes 128..256 or 128..256:16")
    found = range(first, last + 1, step or max(1, (last - first) // ROWS_UNASKED))
    if len(found) > MOST_SIZES:
        raise UsageError(f"sizes {text!r} are {len(found):,} sizes; take at most {MOST_SIZES:,}, by a larger step")
    return found


def _print_comparison(left: Inspection, right: Inspection, json: bool) -> None:
    from striate.measure import compare

    comparison = compare(left, right)
    if json:
        print_json(comparison.to_json())
    else:
        print(comparison)


def _csv(found: Inspection) -> str:
    """The JSON rows with one column for each number: `receptive_field.size.0` is the height's."""
    rows = [dict(_flat("", layer.to_json())) for layer in found.layers]
    heads = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(name: str, value: object) -> list[tuple[str, object]]:
    """Nested lists and dictionaries as one name for each number; shapes, which differ in length, as one text."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in _flat(f"{name}.{key}" if name else key, inner)]
    if isinstance(value, list) and name in ("output", "inputs"):
        return [(name, ("x" if name == "output" else " ").join(map(str, value)))]
    if isinstance(value, list):
        return [one for key, inner in enumerate(value) for one in _flat(f"{name}.{key}", inner)]
    return [(name, value)]


def _draw(network: Network, shape: Shape | None, path: Path) -> None:
    from striate.report.drawing import draw

    path.write_text(draw(network, shape), encoding="utf-8")
    note(f"drawn to {path}")
