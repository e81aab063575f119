from __future__ import annotations

import pytest

from striate.data.memory import free_bytes, gigabytes


def test_the_free_memory_is_the_machines():
    free = free_bytes()
    if free is None:
        pytest.skip("no /proc/meminfo here")
    assert 2**20 < free < 2**50


def test_bytes_in_words():
    assert [gigabytes(count) for count in (0, 245_760_000, 12_300_000_000)] == ["0 GB", "0.25 GB", "12 GB"]
