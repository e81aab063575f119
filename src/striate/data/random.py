"""Counter-based randomness: every draw is a pure function of (seed, stream, counters).

No state, hence nothing to save: a run continues, and a batch is cut anew, without any draw changing.
The numbers are integers mixed by SplitMix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators"; constants: Stafford's variant 13) and are the same on every machine.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def bits(seed: int, stream: str, *counters: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each combination of the broadcast counters.

    h_0 = key(seed, stream);  h_j = mix(h_(j-1) xor counter_j).
    mix is a bijection, so draws that differ in the last counter only never collide.

    Shapes: the broadcast shape of the counters, at least (1,).
    """
    name = f"{seed}/{stream}".encode()
    state = np.frombuffer(hashlib.blake2b(name, digest_size=8).digest(), "<u8").astype(np.uint64)
    for counter in counters:
        state = _mix(state ^ np.asarray(counter).astype(np.uint64))
    return state


def uniform(seed: int, stream: str, *counters: ArrayLike) -> NDArray[np.float64]:
    """Uniform in [0, 1): the multiples of 2**-53."""
    return (bits(seed, stream, *counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(high: ArrayLike, seed: int, stream: str, *counters: ArrayLike) -> NDArray[np.int64]:
    """Uniform in 0 .. high - 1; ``high`` broadcasts with the counters. Bias below high * 2**-53."""
    draws: NDArray[np.float64] = uniform(seed, stream, *counters) * np.asarray(high)
    return draws.astype(np.int64)


def epoch_order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The permutation of 0 .. n - 1 in which epoch ``epoch`` visits the images; shape (n,)."""
    return np.argsort(bits(seed, "epoch order", epoch, np.arange(n)), kind="stable").astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + _GAMMA
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
