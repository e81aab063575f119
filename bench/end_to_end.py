"""Measure whether `striate predict` classifies a folder of JPEGs at least twice as fast as a Pillow + torch loop.

The 2,527 photographs of TrashNet (192 x 256 px) in ../shared/data, read from the disk's cache, through ResNet-18 and
MobileNetV2 at SIZE px with random weights, one result file each: the one spends its time on convolutions, the other
on all the rest too. Every contender is a process of its own, timed from its start to its end, imports and
loading included, and told only what to read. One round = every contender in turn, in an order drawn anew.
  striate          striate predict MODEL FOLDER --out FILE.csv, in the engine that `striate bench --save` chose before
  loop             Pillow decodes, resizes and crops, torch eager computes batches of 32; DataLoader without workers
  loop, 2 workers  the same with num_workers=2
Peak memory is the largest resident size of the process and its children together, sampled every 20 ms.
usage: end_to_end.py [--rounds N] [--size PX] [--network NAME] [--images N] [--select SECONDS]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _record import ROOT, record, summary

from striate.artifact import About, golden_case, write
from striate.data.decode import decode
from striate.data.preprocess import Preprocessing, normalise
from striate.graph import initialise
from striate.graph.reference import output
from striate.jobs.benchmarking import benchmark, save_fastest
from striate.notation import read as read_notation
from striate.rewrite import rewrite

IMAGES = ROOT.parent / "shared" / "data" / "trashnet"
CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
NETWORKS = ("resnet18", "mobilenet_v2")
BATCH, SAMPLE_S = 32, 0.02
GOAL_RATIO, GOAL_MB = 2.0, 600


def files(count: int) -> list[Path]:
    """The photographs, every n-th of them where fewer are asked for."""
    found = sorted(IMAGES.glob("*/*.jpg"))
    return [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]


def prepare(folder: Path, network: str, size: int, select_s: float) -> None:
    """model.onnx, as striate ships it, and the weights of the same network for torch."""
    from safetensors.numpy import save_file

    pre = Preprocessing(3, size, size, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    original = initialise(read_notation(network, pre.shape, len(CLASSES)), seed=0)
    exact = original.astype(np.float64)
    pixels = decode(files(1)[0], pre)
    logits = output(exact, normalise(pixels[None], pre).astype(np.float64))[0]
    about = About(
        network=network,
        classes=CLASSES,
        preprocessing=pre.to_json(),
        created="2026-01-01T00:00:00+00:00",
        golden=(golden_case(pixels, pre, logits),),
        golden_bound=1e-4 * float(np.abs(logits).max()),
    )
    write(folder / "model.onnx", rewrite(exact).network.astype(np.float32), about)
    save_file({name: np.ascontiguousarray(array) for name, array in original.weights.items()}, folder / "weights")
    if select_s:
        save_fastest(benchmark(folder / "model.onnx", (8,), select_s, peers=False))


def loop(folder: Path, network: str, size: int, workers: int, list_of_files: Path) -> None:
    """The loop that people write: a dataset that decodes with Pillow, a DataLoader, torch in eval mode."""
    import torch
    from PIL import Image
    from safetensors.numpy import load_file
    from torch.utils.data import DataLoader, Dataset

    from striate.graph.to_torch import to_module

    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    class Photographs(Dataset[torch.Tensor]):
        def __init__(self) -> None:
            self.paths = list_of_files.read_text(encoding="utf-8").splitlines()

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            image = Image.open(self.paths[i]).convert("RGB")
            scale = size / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
            left, top = (image.width - size) // 2, (image.height - size) // 2
            pixels = torch.from_numpy(np.array(image.crop((left, top, left + size, top + size))))
            return (pixels.permute(2, 0, 1).to(torch.float32).div(255) - mean) / std

    module = to_module(
        initialise(read_notation(network, (3, size, size), len(CLASSES)), seed=0).with_weights(
            load_file(folder / "weights")
        )
    )
    module.eval()
    with torch.no_grad():
        batches = DataLoader(Photographs(), batch_size=BATCH, num_workers=workers)
        answers = torch.cat([module(batch).softmax(dim=1) for batch in batches])
    (folder / "loop.csv").write_text("\n".join(map(str, answers.argmax(dim=1).tolist())), encoding="utf-8")


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds from start to end, and the peak memory in MB of the process and its children."""
    start = time.perf_counter()
    peak = 0.0
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process:
        while process.poll() is None:
            peak = max(peak, resident_mb(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - start
        said.seek(0)
        last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}: {' '.join(last)}")
    return seconds, peak


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children; pages that they share count for each."""
    try:
        status = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return 0.0
    own = int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return own + sum(resident_mb(int(child)) for child in children)


def main(arguments: argparse.Namespace) -> None:
    """Interleave the contenders and record images a second, ratios and memory."""
    if not IMAGES.is_dir():
        raise SystemExit(f"needs the photographs in {IMAGES}")
    chosen = files(arguments.images)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.network, arguments.size, arguments.select)
        photos = folder / "photos"
        photos.mkdir()
        copies = [str(shutil.copy(path, photos)) for path in chosen]
        (folder / "files.txt").write_text("\n".join(copies), encoding="utf-8")
        speeds, peaks = race(folder, photos, arguments, len(chosen))
        saved = folder / "model.bench.json"
        settings = json.loads(saved.read_text(encoding="utf-8"))["fastest"] if saved.exists() else []
    ratios = {
        f"striate / {other}": summary([a / b for a, b in zip(speeds["striate"], speeds[other], strict=True)])
        for other in speeds
        if other != "striate"
    }
    record(
        f"end_to_end_{arguments.network}",
        {
            "question": __doc__.splitlines()[0] if __doc__ else "",
            "network": arguments.network,
            "input": f"3x{arguments.size}x{arguments.size} from {len(chosen)} JPEGs of 192x256",
            "threads": len(os.sched_getaffinity(0)),
            "versions": {
                p: version(p)
                for p in ("torch", "onnxruntime", "openvino", "ncnn", "pillow")
                if find_spec(p) or p == "pillow"
            },
            "engine": next((s["engine"] for s in settings if s["use"] == "beside"), "onnxruntime"),
            "dtype": "float32",
            "n": arguments.rounds,
            "results": {
                key: {"images_per_s": summary(values), "peak_mb": summary(peaks[key])} for key, values in speeds.items()
            },
            "ratios": ratios,
            "excluded": ["nothing of a process's life; the files lie in the disk's cache after the first round"],
            "verdict": {
                f"at least {GOAL_RATIO} times each loop": all(r["median"] >= GOAL_RATIO for r in ratios.values()),
                f"below {GOAL_MB} MB": max(peaks["striate"]) < GOAL_MB,
            },
        },
    )


def race(
    folder: Path, photos: Path, arguments: argparse.Namespace, images: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Images a second and peak memory of every contender, round by round."""
    own = [
        sys.executable,
        __file__,
        "--network",
        arguments.network,
        "--size",
        str(arguments.size),
        "--loop",
        str(folder),
    ]
    out = folder / "out.csv"
    commands = {
        "striate": [
            sys.executable,
            "-m",
            "striate",
            "predict",
            str(folder / "model.onnx"),
            str(photos),
            "--out",
            str(out),
        ],
        "loop": [*own, "--workers", "0"],
        "loop, 2 workers": [*own, "--workers", "2"],
    }
    speeds: dict[str, list[float]] = {key: [] for key in commands}
    peaks: dict[str, list[float]] = {key: [] for key in commands}
    for number in range(arguments.rounds + 1):
        for key in np.random.default_rng(number).permutation(list(commands)):
            if key == "striate":
                out.unlink(missing_ok=True)
            seconds, peak = timed(commands[str(key)])
            if number:  # round 0 fills the disk's cache
                speeds[str(key)].append(images / seconds)
                peaks[str(key)].append(peak)
        if len(out.read_text(encoding="utf-8").splitlines()) != images + 1:
            raise SystemExit(f"striate predict answered not all of {images} images")
    return speeds, peaks


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").splitlines()[-1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--network", action="append")
    parser.add_argument("--images", type=int, default=2527)
    parser.add_argument("--select", type=float, default=20.0)
    parser.add_argument("--loop", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    options = parsed()
    for network in options.network or NETWORKS:
        options.network = network
        if options.loop:
            loop(options.loop, network, options.size, options.workers, options.loop / "files.txt")
        else:
            main(options)
