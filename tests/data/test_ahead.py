from __future__ import annotations

import threading

import pytest

from striate.data.ahead import map_ahead


def test_the_order_is_kept_whatever_the_threads():
    for threads in (1, 3):
        assert list(map_ahead(lambda x: x * x, range(50), threads)) == [x * x for x in range(50)]


def test_it_never_runs_far_ahead():
    asked = []
    results = map_ahead(str, (asked.append(i) or i for i in range(100)), threads=3)
    next(results)
    assert len(asked) == 6
    results.close()
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_an_error_comes_at_its_place():
    results = map_ahead(lambda x: 1 // x, [1, 1, 0, 1], threads=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
