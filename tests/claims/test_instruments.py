from __future__ import annotations

import numpy as np
import pytest

from striate.claims.instruments import images, interior, labelled, mosaic, network, shift_error, shifted
from striate.geometry import Field
from striate.graph import reference
from striate.measure import views


def test_images_come_class_by_class_in_turn():
    x, labels = labelled(23)
    assert (x.shape, x.dtype) == ((23, 1, 28, 28), np.float64)
    assert labels.tolist() == [*range(10), *range(10), 0, 1, 2]
    assert 0 <= x.min() < x.max() <= 1


def test_the_mosaic_is_made_of_sample_images():
    assert np.array_equal(mosaic()[0, 0, :28, :28], images(10)[9, 0])


def test_shifting_moves_pixels_and_lets_zeros_in():
    x = np.arange(12.0).reshape(1, 1, 3, 4) + 1
    assert shifted(x, 1, 2)[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 5, 6]]
    assert np.array_equal(shifted(x, 0, 0), x)


@pytest.mark.parametrize(
    ("field", "shift", "after", "before"),
    [
        # 3 px with padding 1 on 10 px: units 1..8 see no padding; after a shift of 2, units 3..8 see moved pixels
        (Field(3, 1, -1), 2, slice(3, 9), slice(1, 7)),
        (Field(2, 2, 0), 2, slice(1, 5), slice(0, 4)),
        (Field(2, 2, 0), 4, slice(2, 5), slice(0, 3)),
    ],
)
def test_interior_units_see_moved_pixels_only(field, shift, after, before):
    units = (10 - field.size - 2 * field.start) // field.jump + 1
    assert interior(field, 10, units, shift) == (after, before)


def test_shift_error_sees_a_network_that_is_not_equivariant():
    net = network("4C3-R")
    fields = [axis.field for axis in views(net)[net.output]]
    assert shift_error(lambda x: reference.output(net, x), fields, images(4), 3, 1) < 1e-12
    assert shift_error(lambda x: reference.output(net, x)[..., ::-1, :], fields, images(4), 3, 1) > 0.1


def test_biases_of_a_network_are_not_zero():
    net = network("4C3-BN-R-F-10")
    assert all(np.abs(net.weights[name]).min() > 0 for name, spec in net.weight_specs().items() if spec.role == "bias")
