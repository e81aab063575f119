from __future__ import annotations

import numpy as np
import pytest

from striate.errors import ProofError
from striate.verify import input_cases

LOW, HIGH = np.array([-2.0, -1.0, 0.0]), np.array([2.0, 3.0, 5.0])


def case(cases, name):
    return cases.images[cases.names.index(name)]


def test_what_there_is_for_an_image():
    cases = input_cases((3, 6, 9), LOW, HIGH, seed=0)
    counts = {kind: cases.kinds.count(kind) for kind in dict.fromkeys(cases.kinds)}
    assert counts == {"zeros": 1, "maxima": 1, "hot pixel": 9, "one channel": 3, "checkerboard": 1, "random": 5}
    assert cases.images.shape == (20, 3, 6, 9)
    assert cases.images.dtype == np.float32
    assert len(set(cases.names)) == 20
    assert [n for n in cases.names if n.startswith("hot")][::4] == ["hot pixel 0,0", "hot pixel 3,4", "hot pixel 5,8"]


def test_the_pixels_are_where_they_say():
    cases = input_cases((3, 6, 9), LOW, HIGH, seed=0)
    dark = case(cases, "zeros")
    assert np.array_equal(dark[:, 2, 7], LOW)
    assert np.array_equal(case(cases, "maxima")[:, 2, 7], HIGH)
    hot = case(cases, "hot pixel 5,0")
    assert np.argwhere((hot != dark).any(axis=0)).tolist() == [[5, 0]]
    assert np.array_equal(hot[:, 5, 0], HIGH)
    one = case(cases, "one channel 1")
    assert (one[1] == 3).all()
    assert np.array_equal(one[[0, 2]], dark[[0, 2]])
    board = case(cases, "checkerboard")[2]
    assert board[:2, :3].tolist() == [[0, 5, 0], [5, 0, 5]]
    noise = case(cases, "random 4")
    assert ((noise >= dark) & (noise <= case(cases, "maxima"))).all()


def test_a_seed_gives_the_same_noise_and_another_gives_another():
    a, b, c = (input_cases((3, 4, 5), LOW, HIGH, seed).images for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(("shape", "hot"), [((3, 1, 1), 1), ((3, 2, 5), 6), ((3, 7), 3), ((3,), 0)])
def test_small_maps_and_vectors_have_no_case_twice(shape, hot):
    cases = input_cases(shape, LOW, HIGH, seed=0)
    assert cases.kinds.count("hot pixel") == hot
    assert cases.images.shape[1:] == shape


def test_real_images_come_last_under_their_numbers():
    mine = np.ones((2, 3, 4, 5), np.float32)
    cases = input_cases((3, 4, 5), LOW, HIGH, 0, mine)
    assert cases.names[-2:] == ("image 0", "image 1")
    assert np.array_equal(cases.images[-2:], mine)


def test_images_of_another_shape_are_refused():
    message = r"^proof images have shape \(3, 5, 4\), the network reads \(3, 4, 5\); resize them first$"
    with pytest.raises(ProofError, match=message):
        input_cases((3, 4, 5), LOW, HIGH, 0, np.ones((2, 3, 5, 4), np.float32))


def test_batches_go_round_their_sizes_and_leave_nothing_out():
    cases = input_cases((3, 6, 9), LOW, HIGH, seed=0)
    batches = list(cases.batches((1, 2, 5)))
    assert [len(names) for names, _ in batches] == [1, 2, 5, 1, 2, 5, 1, 2, 1]
    assert tuple(name for names, _ in batches for name in names) == cases.names
    assert np.array_equal(np.concatenate([x for _, x in batches]), cases.images)
