"""Rules about the source as a whole, read from its syntax: who may import whom, and what nobody may do.

To add a room, give it a place in LEVELS. A room imports only rooms of lower levels, and itself.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SRC = Path(__file__).parents[1] / "src" / "striate"

LEVELS = (
    "_version errors choice",
    "geometry",
    "ops",
    "graph",
    "notation",
    "measure data verify",
    "train lint probe rewrite design",
    "artifact",
    "runtime claims",
    "serve report",
    "jobs",
    "classifier",
    "cli",
    "__main__",
)
RANK = {room: level for level, row in enumerate(LEVELS) for room in row.split()}
ROOT = "<the package root>"

# Where torch is at home; elsewhere only these may load it, and only when a function that needs it is called.
TORCH_HOMES = (
    "train/", "data/augment/", "graph/from_torch.py", "graph/to_torch.py",
    "graph/torch/", "jobs/training.py", "claims/",
)  # fmt: skip
TORCH_WHEN_CALLED = (
    "classifier.py",
    "jobs/networks.py",
    "jobs/recalibrating.py",
    "jobs/spelled.py",
    "jobs/torch_peers.py",
    "probe/running.py",
    "cli/",
)
TORCH = {"torch", "torchvision", "safetensors.torch"}

BANNED_MODULES = {
    "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve",
    "ftplib", "http.client", "httpx", "requests", "socket", "urllib", "urllib3",
    "pip", "ensurepip",
}  # fmt: skip
BANNED_CALLS = {"eval", "exec", "torch.save", "torch.load", "os.system", "os.popen"}
INTEGER_MATH = {"comb", "gcd", "isqrt", "lcm", "prod"}
SIZE_BUDGET_LINES = 400


def sources(src: Path) -> list[str]:
    """Every source file, as its path inside the package."""
    return sorted(path.relative_to(src).as_posix() for path in src.rglob("*.py"))


def parse(src: Path, file: str) -> ast.Module:
    return ast.parse((src / file).read_text(encoding="utf-8"), file)


def room_of(file: str) -> str:
    first = file.partition("/")[0].removesuffix(".py")
    return ROOT if first == "__init__" else first


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names, and "" for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr) if base := dotted(value):
            return f"{base}.{attr}"
    return ""


def imported(node: ast.AST, file: str) -> list[str]:
    """The modules (or names in them) a node imports, absolute; a from-import gives module.name."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            package = ["striate", *file.split("/")[:-1]]
            base = package[: len(package) - level + 1] if level else []
            return [".".join([*base, *filter(None, [module]), alias.name]) for alias in names]
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
            return [name] if dotted(func).rpartition(".")[2] in {"import_module", "__import__"} else []
    return []


def imports(src: Path, file: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parse(src, file)):
        for name in imported(node, file):
            yield getattr(node, "lineno", 0), name


def is_within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def faults_of_direction(src: Path) -> list[str]:
    """Each import from a room to one that does not lie below it, or to the package root."""
    faults = []
    for file in sources(src):
        room = room_of(file)
        for line, name in imports(src, file):
            if room == ROOT or not is_within(name, {"striate"}):
                continue
            target = [*name.split("."), ""][1]
            target = target if target in RANK else ROOT
            if target != room and RANK.get(target, 99) >= RANK.get(room, -1):
                faults.append(f"{file}:{line}: {room} imports {target}")
    return faults


def nodes_run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not function bodies, not `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If(test=test) if dotted(test).rpartition(".")[2] == "TYPE_CHECKING":
                continue
        yield child
        yield from nodes_run_at_import(child)


def faults_of_torch(src: Path) -> list[str]:
    faults = []
    for file in sources(src):
        if file.startswith(TORCH_HOMES):
            continue
        tree = parse(src, file)
        nodes = nodes_run_at_import(tree) if file.startswith(TORCH_WHEN_CALLED) else ast.walk(tree)
        faults += [
            f"{file}:{getattr(node, 'lineno', 0)}: imports {name}"
            for node in nodes
            for name in imported(node, file)
            if is_within(name, TORCH)
        ]
    return faults


def fault_of_danger(node: ast.AST, file: str) -> str:
    """What is wrong with a node: loads code from data, talks to a network, installs; "" if nothing."""
    for name in imported(node, file):
        if is_within(name, BANNED_MODULES | BANNED_CALLS):
            return f"imports {name}"
    match node:
        case ast.Call(func=func) if dotted(func) in BANNED_CALLS:
            return f"calls {dotted(func)}"
        case ast.Call(func=func) if dotted(func).startswith("subprocess."):
            words = [w for n in ast.walk(node) if isinstance(n, ast.Constant) for w in str(n.value).split()]
            return "runs pip" if {"pip", "pip3"} & set(words) else ""
        case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
            return "allows pickle"
    return ""


def fault_of_geometry(node: ast.AST, file: str) -> str:
    """What is not integer arithmetic on plain Python numbers; "" if nothing."""
    for name in imported(node, file):
        if is_within(name, {"numpy", "torch"}) or (
            name.startswith("math.") and name.removeprefix("math.") not in INTEGER_MATH
        ):
            return f"imports {name}"
    match node:
        case ast.Constant(value=float() as value):
            return f"float literal {value}"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "divides with /"
        case ast.Call(func=ast.Name(id="float" | "int" | "round" as name)):
            return f"calls {name}()"
        case ast.Attribute(value=ast.Name(id="math"), attr=attr) if attr not in INTEGER_MATH:
            return f"uses math.{attr}"
    return ""


def faults_by(check: Callable[[ast.AST, str], str], src: Path, under: str = "") -> list[str]:
    """What `check` says of every node, in the files whose path begins with `under`."""
    return [
        f"{file}:{getattr(node, 'lineno', 0)}: {fault}"
        for file in sources(src)
        if file.startswith(under)
        for node in ast.walk(parse(src, file))
        if (fault := check(node, file))
    ]


def test_every_room_has_a_level():
    assert sorted({room_of(file) for file in sources(SRC)} - {ROOT, *RANK}) == []


def test_imports_point_down():
    assert faults_of_direction(SRC) == []


def test_torch_stays_where_it_is_at_home():
    assert faults_of_torch(SRC) == []


def test_nothing_runs_foreign_code_or_reaches_a_network():
    assert faults_by(fault_of_danger, SRC) == []


def test_geometry_is_integers_only():
    assert faults_by(fault_of_geometry, SRC, "geometry/") == []


def test_files_stay_within_the_size_budget():
    lines = {file: len((SRC / file).read_text(encoding="utf-8").splitlines()) for file in sources(SRC)}
    over = {file: n for file, n in lines.items() if n > SIZE_BUDGET_LINES}
    assert over == {}, "split the file, or raise the budget in the same change and say why"


def test_every_folder_of_code_is_a_package():
    folders = {(SRC / file).parent for file in sources(SRC)}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("room", [r for r in RANK if not f"{r}/".startswith(TORCH_HOMES)])
def test_room_starts_without_torch(room):
    """Every module of the room, in a fresh process: what a base install must be able to import."""
    files = [f for f in sources(SRC) if room_of(f) == room and not f.startswith(TORCH_HOMES)]
    if not files:
        pytest.skip(f"striate.{room} is not written yet")
    modules = ["striate." + f.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for f in files]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch is loaded' if 'torch' in sys.modules else 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


# The checks themselves must be able to fail: each is shown a source tree with the fault it looks for.


def plant(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("ops/conv.py", "from striate.graph.network import Network", "ops/conv.py:1: ops imports graph"),
        ("ops/conv.py", "def f():\n    import striate.graph", "ops/conv.py:2: ops imports graph"),
        ("ops/conv.py", "from ..graph import check", "ops/conv.py:1: ops imports graph"),
        ("ops/conv.py", "from .. import graph", "ops/conv.py:1: ops imports graph"),
        ("ops/conv.py", "from striate import graph", "ops/conv.py:1: ops imports graph"),
        ("measure/table.py", "import striate.data", "measure/table.py:1: measure imports data"),
        ("ops/conv.py", "import striate", f"ops/conv.py:1: ops imports {ROOT}"),
        ("cli/app.py", "from striate import __version__", f"cli/app.py:1: cli imports {ROOT}"),
        ("cli/app.py", "import_module('striate')", f"cli/app.py:1: cli imports {ROOT}"),
        ("ops/conv.py", "importlib.import_module('striate.cli.app')", "ops/conv.py:1: ops imports cli"),
        ("errors.py", "from striate import geometry", "errors.py:1: errors imports geometry"),
    ],
)
def test_a_planted_import_is_found(tmp_path, file, text, fault):
    assert faults_of_direction(plant(tmp_path, file, text)) == [fault]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("graph/check.py", "from striate.ops.table import OPS\nfrom . import network\nimport numpy"),
        ("__init__.py", "from striate.graph.network import Network"),
    ],
)
def test_a_downward_import_is_no_fault(tmp_path, file, text):
    assert faults_of_direction(plant(tmp_path, file, text)) == []


@pytest.mark.parametrize(
    ("file", "text", "faults"),
    [
        ("runtime/run.py", "def f():\n    import torch", ["runtime/run.py:2: imports torch"]),
        (
            "runtime/run.py",
            "from torch.nn import functional",
            ["runtime/run.py:1: imports torch.nn.functional"],
        ),
        ("cli/app.py", "import torch", ["cli/app.py:1: imports torch"]),
        ("cli/app.py", "def f():\n    import torch", []),
        ("classifier.py", "if TYPE_CHECKING:\n    from torch import nn", []),
        ("train/loop.py", "import torch", []),
        ("runtime/run.py", "import torchless", []),
    ],
)
def test_a_planted_torch_is_found(tmp_path, file, text, faults):
    assert faults_of_torch(plant(tmp_path, file, text)) == faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("import pickle", ["data/x.py:1: imports pickle"]),
        ("from urllib.request import urlopen", ["data/x.py:1: imports urllib.request.urlopen"]),
        ("from torch import load", ["data/x.py:1: imports torch.load"]),
        ("torch.save(m, p)", ["data/x.py:1: calls torch.save"]),
        ("eval('1')", ["data/x.py:1: calls eval"]),
        ("np.load(p, allow_pickle=True)", ["data/x.py:1: allows pickle"]),
        ("subprocess.run(['python', '-m', 'pip', 'install', 'x'])", ["data/x.py:1: runs pip"]),
        ("model.eval(); np.load(p); subprocess.run(['git', 'status'])", []),
    ],
)
def test_a_planted_danger_is_found(tmp_path, text, faults):
    assert faults_by(fault_of_danger, plant(tmp_path, "data/x.py", text)) == faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a = 1.0", ["geometry/x.py:1: float literal 1.0"]),
        ("a = b / 2", ["geometry/x.py:1: divides with /"]),
        ("a /= 2", ["geometry/x.py:1: divides with /"]),
        ("float(a)", ["geometry/x.py:1: calls float()"]),
        ("math.floor(a)", ["geometry/x.py:1: uses math.floor"]),
        ("from math import ceil", ["geometry/x.py:1: imports math.ceil"]),
        ("import numpy as np", ["geometry/x.py:1: imports numpy"]),
        ("import math\na = math.gcd(b // 2, -(-c // 3))", []),
    ],
)
def test_a_planted_float_is_found(tmp_path, text, faults):
    assert faults_by(fault_of_geometry, plant(tmp_path, "geometry/x.py", text), "geometry/") == faults
