"""A function over many items in threads: in order, and never far ahead of whoever takes the results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Generator[Result]:
    """``function`` of each item, the items' order kept; threads default to one a core.

    At most ``2 threads`` results wait in memory. ``items`` is iterated in the caller's thread. What the function
    raises is raised here, at its place in the order, and ends the iteration. Closed early, it ends its threads.
    """
    threads = threads or len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads)
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) == 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
