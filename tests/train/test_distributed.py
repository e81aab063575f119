"""Two processes under torchrun, on the loopback, beside one process that does the same."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from striate.errors import RecipeError, RunError
from striate.train.binding import prepare, stepper_for
from striate.train.loop import build
from striate.train.team.distributed import ALONE, Team, cores_of_one, joined

DRIVER = Path(__file__).with_name("team_driver.py")
SPEC = importlib.util.spec_from_file_location("team_driver", DRIVER)
driver = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(driver)

LIMIT_SECONDS = 90  # for what takes 6 on a quiet machine


ENVIRON = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "STRIATE_TIMEOUT_SECONDS": "60"}


def under_torchrun(*words: object) -> None:
    """Two ranks of the driver, which must succeed, with a store of their own on a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    done = subprocess.run(
        [*command, str(DRIVER), *map(str, words)],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def started(*words: object, **environ: str) -> list[subprocess.Popen[str]]:
    """Two ranks without torchrun, which would end the other itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = (
        ENVIRON
        | environ
        | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    )
    return [
        subprocess.Popen(
            [sys.executable, str(DRIVER), *map(str, words)],
            env=meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]


def side_by_side(*words: object) -> list[tuple[int, str, int]]:
    """Exit code, what was said, and process id of two ranks that run to their end."""
    ranks = started(*words)
    said = [rank.communicate(timeout=LIMIT_SECONDS)[1] for rank in ranks]
    return [(rank.returncode, text, rank.pid) for rank, text in zip(ranks, said, strict=True)]


@pytest.fixture(scope="module")
def calculated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("team")
    under_torchrun(folder, "calculate", "whole")
    return folder


def found(folder: Path, name: str, rank: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / f"{name}-{rank}of2.safetensors")


def compared(calculated: Path, case: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What one process found and what two did, which is the same on both; their images are the same."""
    dtype, step, mean, options = driver.CASES[case]
    if options.get("sync_batch_norm") is False:  # statistics of each share are those of ghost batches of its size
        options = {"ghost_batch_images": 4}
    alone = driver.gradients(ALONE, dtype, step, mean, **options)
    first, second = (found(calculated, case, rank) for rank in (0, 1))
    assert torch.equal(torch.cat([first.pop("images"), second.pop("images")]), alone.pop("images"))
    assert [name for name in alone if not torch.equal(first[name], second[name])] == []
    return alone, first


def differences(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest difference in each tensor, as a share of its largest number.

    Of a bias, whose gradient is 0 before a norm, as a share of all gradients' largest.
    """
    most = max(float(tensor.abs().max()) for name, tensor in wanted.items() if name.endswith("weight"))
    sizes = {name: most if name.endswith("bias") else float(tensor.abs().max()) for name, tensor in wanted.items()}
    return {name: float((found[name].double() - wanted[name]).abs().max()) / sizes[name] for name in wanted}


EXACT = [case for case, (dtype, *_) in driver.CASES.items() if dtype == torch.float64]


@pytest.mark.parametrize("case", EXACT)
def test_two_processes_take_the_step_of_one(calculated, case):
    """Loss, gradients and statistics, in float64 to 1e-12."""
    alone, together = compared(calculated, case)
    assert {name: share for name, share in differences(together, alone).items() if share > 1e-12} == {}


@pytest.mark.parametrize(("case", "mean", "tolerance"), [("single precision", 0.0, 1e-6), ("large means", 30.0, 1e-5)])
def test_float32_is_as_near_to_the_whole_batch_as_one_process_comes(calculated, case, mean, tolerance):
    """Both beside one process in float64. Means far above the deviation cost one process a digit more than two."""
    alone, together = compared(calculated, case)
    exact = driver.gradients(ALONE, torch.float64, 0, mean)
    exact.pop("images")
    worst = max(differences(together, exact).values())
    assert worst <= tolerance
    assert worst <= max(differences(alone, exact).values())


def test_shares_are_uneven_and_whole(calculated):
    sizes = [len(found(calculated, "double precision", rank)["images"]) for rank in (0, 1)]
    assert sizes == [3, 4]


def test_every_answer_counts_once_and_in_the_same_bits(calculated):
    dataset, recipe = driver.problem()
    module = build(driver.network, recipe, dataset.classes)
    for name, batch in (("logits", 5), ("few", 64)):
        alone = driver.answers(module, dataset.test, dataset.preprocessing, batch).logits
        for rank in (0, 1):
            np.testing.assert_array_equal(found(calculated, "answers", rank)[name].numpy(), alone)


def test_a_fault_of_some_is_a_fault_of_all_and_one_says_why(calculated):
    first, second = (json.loads((calculated / f"faults-{rank}of2.json").read_text()) for rank in (0, 1))
    differing = [
        "RunError",
        (
            "rank 1 of 2: its weights are not those of rank 0; a layer draws chance or keeps state of its own, "
            "which many processes cannot share: train with one"
        ),
    ]
    other_data = [
        "RunError",
        (
            f"rank 1 of 2: {calculated / '1.npz'}: holds other images here than for rank 0; "
            "give all processes the same data"
        ),
    ]
    assert first == [
        ["RunError", "rank 0 of 2: the disk is full"],
        ["ElsewhereError", "rank 1 of 2 failed and says why"],
        ["RunError", "the disk is full"],
        differing,
        ["ElsewhereError", "rank 1 of 2 failed and says why"],
    ]
    assert second == [
        ["ElsewhereError", "rank 0 of 2 failed and says why"],
        ["RunError", "rank 1 of 2: the disk is full"],
        ["ElsewhereError", "rank 0 of 2 failed and says why"],
        differing,
        other_data,
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "weights.safetensors")


def losses(run: Path) -> list[float]:
    return [json.loads(row)["train_loss"] for row in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_killed_rank_ends_all_and_any_number_resumes(calculated, tmp_path):
    whole = calculated / "whole"
    start = time.perf_counter()
    (code, said, _), (killed, _, pid) = side_by_side(tmp_path, "run", "same", 1, 11)
    assert time.perf_counter() - start < LIMIT_SECONDS / 2  # most of it is starting; one that waited would need 60 s
    assert (code, killed) == (2, -signal.SIGKILL)
    assert said.splitlines()[-1] == (
        f"striate: rank 0 of 2 cannot go on: rank 1 (process {pid}) has ended; see what ended it, then start "
        "`striate resume RUN` with as many processes as you have"
    )
    shutil.copytree(tmp_path / "same", tmp_path / "alone")
    assert [(code, said) for code, said, _ in side_by_side(tmp_path, "run", "same", -1, 0)] == [(0, ""), (0, "")]
    for name in ("metrics.jsonl", "weights.safetensors", "recipe.json"):
        assert (tmp_path / "same" / name).read_bytes() == (whole / name).read_bytes(), name
    driver.run(tmp_path, ALONE, "alone", -1, 0)
    np.testing.assert_allclose(losses(tmp_path / "alone"), losses(whole), rtol=1e-4)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(tmp_path / "alone")[name], tensor, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize("halted", [0, 1])
def test_a_silent_rank_ends_the_others_within_the_time_and_is_named(tmp_path, halted):
    seconds = 5
    ranks = started(tmp_path, "run", "it", halted, 5, int(signal.SIGSTOP), STRIATE_TIMEOUT_SECONDS=str(seconds))
    try:
        os.waitid(os.P_PID, ranks[halted].pid, os.WSTOPPED)
        start = time.perf_counter()
        _, said = ranks[1 - halted].communicate(timeout=LIMIT_SECONDS)
        passed = time.perf_counter() - start
    finally:
        ranks[halted].kill()
        ranks[halted].communicate()
    assert seconds - 1 < passed < 2 * seconds + 10
    assert ranks[1 - halted].returncode == 2
    it = f"rank {halted} (process {ranks[halted].pid} on {platform.node()})"
    assert said.splitlines()[-1] == (
        f"striate: rank {1 - halted} of 2 cannot go on: {it} "
        "does not answer; see what holds it, then start `striate resume RUN` with as many processes as you have"
    )


def test_shares_meet_without_gap_or_overlap():
    for images in (0, 2, 7, 11):
        for size in (1, 2, 3, 7):
            shares = [Team(rank, size).share(slice(5, 5 + images)) for rank in range(size)]
            assert [row for share in shares for row in range(share.start, share.stop)] == list(range(5, 5 + images))
            lengths = [share.stop - share.start for share in shares]
            assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        (
            {},
            9,
            "9 processes need 9",
        ),
        (
            {"sync_batch_norm": False},
            4,
            "4 processes need 8",
        ),
        ({"compile": True}, 2, "recipe: compile = true works in one process, and these are 2; use false"),
    ],
)
def test_a_recipe_that_many_cannot_share_is_refused(options, size, message):
    dataset, recipe = driver.problem(**options)
    module = prepare(build(driver.network, recipe, dataset.classes), recipe)
    with pytest.raises(RecipeError) as caught:
        stepper_for(module, dataset, recipe, Team(0, size))
    few = (
        f"recipe: batch_images = 8 makes steps of 7 images, and {message}; raise batch_images or start fewer processes"
    )
    assert str(caught.value) == (message if message.startswith("recipe") else few)


def test_without_torchrun_a_process_is_alone():
    for environ in ({}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "2"}):
        with joined(environ) as team:
            assert team == ALONE
    assert cores_of_one({"LOCAL_WORLD_SIZE": "1000"}) == 1


def test_ranks_that_do_not_meet_are_one_line():
    environ = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
        "STRIATE_TIMEOUT_SECONDS": "1",
    }
    with pytest.raises(RunError) as caught, joined(environ):
        pass
    assert str(caught.value).startswith("rank 1 of 2: did not meet the others at 127.0.0.1:1 (")
    assert str(caught.value).endswith("); see that all 2 are started and the port is free")
    assert "\n" not in str(caught.value)


def test_a_variable_that_is_no_number_is_one_line():
    environ = {"RANK": "1", "WORLD_SIZE": "two", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    with pytest.raises(RunError) as caught, joined(environ):
        pass
    assert str(caught.value) == "environment: WORLD_SIZE = 'two'; allowed: a whole number, as torchrun sets it"
