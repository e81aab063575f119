"""SIGKILL at random moments, over the kinds of state a run can have and 0, 1 and 2 loader workers.

STRIATE_KILLS=100 kills that often (a few minutes), STRIATE_KILL_SEED rotates the moments,
STRIATE_KILL_THREADS trains with more than one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_run_killed_at_random_moments_ends_in_the_same_bits(tmp_path):
    kills = int(os.environ.get("STRIATE_KILLS", "9"))
    seed = os.environ.get("STRIATE_KILL_SEED", "2")
    driver = Path(__file__).with_name("kill_driver.py")
    command = [sys.executable, str(driver), str(tmp_path), str(kills), seed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180 + 30 * kills, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(found["kills"].values()) >= kills
    assert len(found["kills"]) == 9
    assert min(found["kills"].values()) > 0 or kills < 9, found
    assert found["differing"] == [], found
