"""How batch normalisation is folded on torchvision's and timm's networks, by striate and its peers: docs/folding.md.

Runs in .venv-peers (`make peers`), one process a model, on untrained models with batch statistics that hide nothing:

    .venv-peers/bin/python dev/folding_peers.py               # one model a family, and the page
    .venv-peers/bin/python dev/folding_peers.py torchvision   # the page with its families alone
    .venv-peers/bin/python dev/folding_peers.py resnet18      # some, to the screen
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
import zoo
from torch import nn
from torch.fx.experimental.optimization import fuse

from striate.graph import Network, reference
from striate.graph.from_torch import capture
from striate.graph.to_onnx import to_bytes, to_onnx
from striate.ops import BatchNorm
from striate.rewrite import rewrite

DOCS = Path(__file__).parents[1] / "docs"
PAGE, COVERAGE = DOCS / "folding.md", DOCS / "coverage.md"
SECONDS = 300  # for one model, before it is given up
VARIANCES = (-12.0, 6.0)  # powers of ten between which running variances are drawn
ZERO = 0.05  # share of gammas that are zero
WRONG = 1e-3  # of the largest value: no rounding of float32 explains it where the original is a hundred times nearer
Answer = dict[str, Any]


def hide_nothing(model: nn.Module) -> None:
    """Give every batch normalisation variances over eighteen decades, and gammas to match, negative and zero ones too.

    gamma / sqrt(variance + eps) stays between 0.5 and 1.5 in size, or is 0, so that the network's values stay in range.
    """
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for part in model.modules():
            if not isinstance(part, nn.modules.batchnorm._BatchNorm) or part.running_var is None:  # noqa: SLF001
                continue
            uniform = torch.rand(4, part.num_features, generator=draw, dtype=torch.float64)
            part.running_var.copy_(10 ** (VARIANCES[0] + (VARIANCES[1] - VARIANCES[0]) * uniform[0]))
            part.running_mean.normal_(0, 0.1, generator=draw)
            if part.affine:
                sign = torch.where(uniform[1] < ZERO, 0.0, torch.where(uniform[2] < 0.5, -1.0, 1.0))
                part.weight.copy_(sign * (0.5 + uniform[3]) * torch.sqrt(part.running_var + part.eps))
                part.bias.normal_(0, 0.1, generator=draw)


def norms(parts: Any) -> int:  # noqa: ANN401 - layers of any library
    """How many batch normalisations are among layers, modules or ONNX nodes."""
    kinds = (BatchNorm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
    return sum(isinstance(p, kinds) or getattr(p, "op_type", "") == "BatchNormalization" for p in parts)


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """Largest difference over the largest value; infinite where it is no number."""
    error = float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())
    return error if np.isfinite(error) else float("inf")


def in_ort(model: bytes, x: np.ndarray) -> np.ndarray:
    """The answer of ONNX Runtime with all its optimisations, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return answer


def by_striate(model: nn.Module, x: torch.Tensor, want: np.ndarray) -> Answer:
    """Norms before and left; errors in float64, and in float32 before and after, in NumPy and in ONNX Runtime."""
    network = capture(model, tuple(x.shape[1:]))
    folded = rewrite(network).network
    images = x.numpy()
    answer: Answer = {
        "norms": norms(node.op for node in network),
        "left": norms(node.op for node in folded),
        "algebra": relative(reference.output(folded, images), want),
        "before": _float32(network, images, want),
        "after": _float32(folded, images, want),
    }
    answer["ort"] = _tried(lambda: relative(in_ort(to_bytes(to_onnx(folded)), images.astype(np.float32)), want))
    return answer


def _float32(network: Network, images: np.ndarray, want: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return relative(reference.output(network.astype(np.float32), images.astype(np.float32)), want)


def by_fx(model: nn.Module, x: torch.Tensor, want: np.ndarray) -> Answer:
    """torch.fx's fuse in float64: what is left, and an error that is its algebra's alone."""
    fused = fuse(model)
    with torch.inference_mode():
        return {"left": norms(fused.modules()), "algebra": relative(fused(x).numpy(), want)}


def exported(model: nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    """torch.onnx's export of the float32 model, by its default exporter with its default optimisations."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return torch.onnx.export(model.float(), (x.float(),), dynamo=True, verbose=False).model_proto


def by_torch_onnx(proto: onnx.ModelProto, x: torch.Tensor, want: np.ndarray) -> Answer:
    """The exported file in ONNX Runtime, and the norms left in the file."""
    got = in_ort(proto.SerializeToString(), x.float().numpy())
    return {"left": norms(proto.graph.node), "float32": relative(got, want)}


def by_openvino(proto: onnx.ModelProto, x: torch.Tensor, want: np.ndarray) -> Answer:
    """The exported file in OpenVINO, in float32."""
    import openvino

    core = openvino.Core()
    read = core.read_model(io.BytesIO(proto.SerializeToString()))
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return {"float32": relative(np.asarray(compiled(x.float().numpy())[0]), want)}


def _tried(work: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What `work` gives, or why it failed."""
    try:
        return work()
    except Exception as fault:  # noqa: BLE001 - a failure is a result here
        return {"fault": f"{type(fault).__name__}: {' '.join(str(fault).split())[:160]}"}


def looked_at(library: str, name: str) -> Answer | None:
    """All answers for one model; None where it has no batch normalisation."""
    with suppress(NotImplementedError), torch.device("meta"):  # some compute numbers while they are made
        if not norms(zoo.made(library, name)[0].modules()):
            return None
    model, own = zoo.build(library, name)
    hide_nothing(model)
    x, y = zoo.smallest_input(model, own)
    want = y.numpy()
    answer = {"px": x.shape[-1], "striate": _tried(lambda: by_striate(model, x, want))}
    answer["fx"] = _tried(lambda: by_fx(model, x, want))
    proto = _tried(lambda: exported(model, x))
    for peer, by in (("onnx", by_torch_onnx), ("openvino", by_openvino)):
        failed = isinstance(proto, dict)
        answer[peer] = proto if failed else _tried(lambda by=by: by(proto, x, want))
    return answer


def in_its_own_process(library: str, name: str) -> Answer | None:
    """`looked_at`, so that one model's memory, or crash, is not the next one's."""
    command = [sys.executable, __file__, "--one", library, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"fault": f"not done after {SECONDS} s"}
    except (IndexError, ValueError):
        return {"fault": f"ended with code {done.returncode}: {' '.join(done.stderr.split())[-160:]}"}


def families(libraries: set[str]) -> Iterator[tuple[str, list[str]]]:
    """(library, names) of each family: torchvision's two smallest; timm's on the coverage page."""
    sized: dict[str, list[tuple[int, str]]] = {}
    for family, name in zoo.torchvision_models() if "torchvision" in libraries else ():
        size = next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
        sized.setdefault(family, []).append((size, name))
    yield from (("torchvision", [name for _, name in sorted(family)[:2]]) for family in sized.values())
    if "timm" in libraries:
        rows = COVERAGE.read_text(encoding="utf-8").partition("## timm")[2].splitlines()
        yield from (("timm", [row.split(" | ")[1]]) for row in rows if row.startswith("| ") and " | yes | " in row)


def cell(part: Answer, key: str) -> str:
    """A number of the table; a dash for a failure."""
    value = part.get(key, part) if isinstance(part, dict) else part
    if isinstance(value, dict):
        return "failed"
    return f"{value:.0e}" if isinstance(value, float) else str(value)


def line(library: str, name: str, found: Answer) -> str:
    """A row of the table."""
    if "fault" in found:
        return f"| {library} | {name} | {found['fault']} |"
    ours = found["striate"]
    if "fault" in ours:
        own = ["", *["failed"] * 5]
    else:
        own = [str(ours["norms"]), str(ours["left"]), *(cell(ours, k) for k in ("algebra", "before", "after", "ort"))]
    peers = [cell(found[p], k) for p, k in (("fx", "left"), ("fx", "algebra"), ("onnx", "left"), ("onnx", "float32"),
                                            ("openvino", "float32"))]  # fmt: skip
    return f"| {' | '.join([library, name, str(found['px']), *own, *peers])} |"


HEADS = (
    "library", "model", "px", "BN", "left", "float64", "float32 before", "after", "after, in ORT", "fx: left",
    "fx: float64", "torch.onnx: left", "torch.onnx + ORT", "OpenVINO",
)  # fmt: skip


def faults(rows: list[tuple[str, str, Answer]]) -> Iterator[str]:
    """A line for everything that failed, ours first."""
    for peer in ("striate", "fx", "onnx", "openvino"):
        for library, name, found in rows:
            part = found.get(peer, {})
            for key, value in (("", part), *part.items()):
                if isinstance(value, dict) and "fault" in value:
                    yield f"- {peer}{' ' + key if key else ''}, {library} {name}: {value['fault']}"


TOOLS = {
    "striate, float64": ("striate", "algebra"),
    "striate, float32 in NumPy": ("striate", "after"),
    "striate, float32 in ONNX Runtime": ("striate", "ort"),
    "torch.fx fuse, float64": ("fx", "algebra"),
    "torch.onnx + ONNX Runtime, float32": ("onnx", "float32"),
    "torch.onnx + OpenVINO, float32": ("openvino", "float32"),
}


def verdicts(rows: list[tuple[str, str, Answer]]) -> Iterator[str]:
    """A line a tool: on how many models it answers, and on how many the answer is wrong."""
    all_found = [found for _, _, found in rows if "px" in found]
    for title, (peer, key) in TOOLS.items():
        errors = [(found[peer].get(key), found["striate"].get("before", 0)) for found in all_found]
        known = [(error, before) for error, before in errors if isinstance(error, float)]
        wrong = sum(error > WRONG and error > 100 * before for error, before in known)
        worst = max((error for error, _ in known), default=float("nan"))
        yield f"| {title} | {len(known)} | {len(errors) - len(known)} | {wrong} | {worst:.0e} |"


def page(rows: list[tuple[str, str, Answer]]) -> str:
    """docs/folding.md."""
    tools = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnxscript", "openvino"))
    total, left = (sum(f["striate"].get(k, 0) for _, _, f in rows if "px" in f) for k in ("norms", "left"))
    libraries = " and ".join(dict.fromkeys(library for library, _, _ in rows))
    parts = [
        f"""# Batch normalisation folded, on networks of {libraries}

Written by `dev/folding_peers.py` (environment: `make peers`) with {zoo.versions()}, {tools}. Not edited by hand.

{len(rows)} networks with batch normalisation, one a family, untrained, on two random images. Their batch statistics
hide nothing: variances from 1e{VARIANCES[0]:.0f} to 1e{VARIANCES[1]:.0f}, gammas to match, half of them negative and
{100 * ZERO:.0f} % zero, means and betas around 0. Every error is the largest difference from torch's float64 answer,
over the largest value. In float64 only a fault of the algebra shows; in float32 rounding shows too, so it stands beside
the float32 error of the network before. **Wrong**: above {WRONG:g} and a hundred times the error before.

| | answers | fails | wrong | largest error |
| --- | --- | --- | --- | --- |""",
        *verdicts(rows),
        "",
        f"Of {total:,} batch normalisations striate leaves {left:,}, which no layer before or after can take exactly.",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{' --- |' * len(HEADS)}",
        *(line(*row) for row in rows),
        "",
        "BN: batch normalisations before; left: after, for torch.onnx in the exported file.",
        "",
        "## What failed",
        "",
        *(list(faults(rows)) or ["Nothing."]),
        "",
    ]
    return "\n".join(parts)


def main(arguments: list[str]) -> None:
    """Look at all models, or at those wanted by name or library; with --one, at one in this process."""
    if arguments[:1] == ["--one"]:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        torch.set_num_threads(1)
        print(json.dumps(looked_at(*arguments[1:])))
        return
    rows, libraries = [], {"torchvision", "timm"} & set(arguments) or {"torchvision", "timm"}
    for library, names in families(libraries):
        for name in names:
            found = in_its_own_process(library, name) if not arguments or {library, name} & set(arguments) else None
            if found is not None:
                rows.append((library, name, found))
                print(line(*rows[-1]), flush=True)
                break
    print("\n".join(faults(rows)))
    if libraries >= set(arguments):
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1:])
