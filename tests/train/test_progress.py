from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import given

from striate.train.progress import Progress


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 10**9))
def test_it_survives_json_to_the_last_bit(number, count):
    progress = Progress(step=count, loss_sum=number, history=[{"train_loss": number}])
    assert Progress(**json.loads(json.dumps(progress.to_dict()))) == progress


def test_steps_add_up_and_an_epoch_begins_empty():
    progress = Progress()
    progress.add_step(loss=2.0, right=3, images=8, seconds=0.5)
    progress.add_step(loss=1.0, right=4, images=7, seconds=0.25)
    assert (progress.step, progress.loss_sum, progress.right, progress.seen) == (2, 23.0, 7, 15)
    progress.close_epoch()
    assert progress == Progress(epoch=1, train_seconds=0.75, shown=15)


def test_more_right_wins_then_the_lower_loss_then_the_earlier():
    progress = Progress(best_right=10, best_loss=0.5)
    assert progress.is_better(11, 0.9)
    assert progress.is_better(10, 0.4)
    assert not progress.is_better(10, 0.5)
    assert not progress.is_better(9, 0.1)
    assert Progress().is_better(0, 5.0)
