"""How long until striate answers: `striate --help` and `import striate`, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _record import record, summary

ROUNDS = 25
STRIATE = Path(sys.executable).with_name("striate")
COMMANDS = {
    "striate --help": [str(STRIATE), "--help"],
    "striate inspect (a notation)": [str(STRIATE), "inspect", "32C3-BN-R-MP2-64C3-BN-R-GAP-10", "-i", "1x28x28"],
    "python -c 'import striate'": [sys.executable, "-c", "import striate"],
    "python -c pass": [sys.executable, "-c", "pass"],
}
GOALS_S = {"striate --help": 0.2, "python -c 'import striate'": 0.1}


def seconds(command: list[str]) -> float:
    """Wall time of one fresh process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Interleave the commands, so that each meets the same moments of the machine."""
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        seconds(command)  # the first one fills the disk cache
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            samples[name].append(seconds(command))
    results = {name: {"seconds": summary(values)} for name, values in samples.items()}
    record(
        "startup",
        {
            "question": "how long until striate answers?",
            "n": ROUNDS,
            "goals_s": GOALS_S,
            "results": results,
            "met": {name: results[name]["seconds"]["median"] < goal for name, goal in GOALS_S.items()},
            "excluded": ["one run of each command before, which fills the disk cache"],
        },
    )


if __name__ == "__main__":
    main()
