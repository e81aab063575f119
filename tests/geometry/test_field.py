from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.errors import GeometryError
from striate.geometry import Adaptive, Field, Pointwise, Sight, Transposed, Whole, Window, step

windows = st.builds(
    Window,
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    pad_lo=st.integers(0, 4),
    pad_hi=st.integers(0, 4),
    ceil_mode=st.booleans(),
)
chains = st.lists(windows, max_size=5)


def field_of(chain) -> Field:
    field = Field()
    for window in chain:
        field = field.then(window)
    return field


@given(chains)
def test_the_recurrence_has_the_closed_form(chain):
    strides = [w.stride for w in chain]
    before = [prod(strides[:layer]) for layer in range(len(chain))]
    assert field_of(chain) == Field(
        size=1 + sum((w.extent - 1) * jump for w, jump in zip(chain, before, strict=True)),
        jump=prod(strides),
        start=-sum(w.pad_lo * jump for w, jump in zip(chain, before, strict=True)),
    )


@given(chains, chains)
def test_fields_compose_whichever_half_is_worked_out_first(first, second):
    a, b = field_of(first), field_of(second)
    together = Field(a.size + (b.size - 1) * a.jump, a.jump * b.jump, a.start + b.start * a.jump)
    assert field_of([*first, *second]) == together


@given(chains, st.integers(1, 60))
def test_the_affine_field_is_the_hull_of_the_exact_set_wherever_no_padding_is_touched(chain, image):
    field, sight = Field(), Sight.of_image(image)
    for window in chain:
        try:
            window.out_size(len(sight))
        except GeometryError:
            return
        field, sight = step(field, window, len(sight)), sight.through(window)
    for unit in range(len(sight)):
        first, last = field.clipped(unit, image)
        seen = sight.interval(unit)
        if sight.touches_padding(unit) == (False, False):
            start = field.start + unit * field.jump
            assert seen == (start, start + field.size - 1) == (first, last)
        elif seen is not None:
            assert first <= seen[0] <= seen[1] <= last


def test_clipping_cuts_at_the_image():
    field = Field(size=7, jump=4, start=-3)
    assert [field.clipped(unit, 11) for unit in range(4)] == [(0, 3), (1, 7), (5, 10), (9, 10)]


def test_branches_of_one_jump_merge_to_their_hull():
    assert Field(3, 2, 0).merge(Field(3, 2, -4)) == Field(7, 2, -4)
    assert Field(9, 2, -4).merge(Field(1, 2, 0)) == Field(9, 2, -4)
    assert Field(3, 2, 0).merge(Field(3, 1, 0)) is None


def test_step_has_no_affine_form_where_there_is_none():
    field = Field(5, 2, -1)
    assert step(field, Pointwise(), 12) == field
    assert step(field, Adaptive(4), 12) == field.then(Window(3, stride=3))
    assert [step(field, axis, 13) for axis in (Adaptive(4), Transposed(2, stride=2), Whole())] == [None] * 3
    assert step(None, Window(3), 12) is None


# Araujo, Norris, Sim (2019), doi:10.23915/distill.00021, and the table of google-research/receptive_field: for each
# endpoint receptive field, effective stride, effective padding. SAME is written out for an image of 224 px.
CONV3, POOL2 = Window(3, pad_lo=1, pad_hi=1), Window(2, stride=2)

ALEXNET_V2 = [
    ("conv1", [Window(11, stride=4)], (11, 4, 0)),
    ("pool1", [Window(3, stride=2)], (19, 8, 0)),
    ("conv2", [Window(5, pad_lo=2, pad_hi=2)], (51, 8, 16)),
    ("pool2", [Window(3, stride=2)], (67, 16, 16)),
    ("conv3", [CONV3], (99, 16, 32)),
    ("conv4", [CONV3], (131, 16, 48)),
    ("conv5", [CONV3], (163, 16, 64)),
    ("pool5", [Window(3, stride=2)], (195, 32, 64)),
]
VGG_16 = [
    ("conv1_1", [CONV3], (3, 1, 1)),
    ("pool1", [CONV3, POOL2], (6, 2, 2)),
    ("conv2_1", [CONV3], (10, 2, 4)),
    ("pool2", [CONV3, POOL2], (16, 4, 6)),
    ("conv3_1", [CONV3], (24, 4, 10)),
    ("pool3", [CONV3, CONV3, POOL2], (44, 8, 18)),
    ("conv4_1", [CONV3], (60, 8, 26)),
    ("pool4", [CONV3, CONV3, POOL2], (100, 16, 42)),
    ("conv5_1", [CONV3], (132, 16, 58)),
    ("pool5", [CONV3, CONV3, POOL2], (212, 32, 90)),
]


def slim_block(units, stride):
    """Bottleneck units of TF-Slim along the long path: the 3x3 of the last unit carries the stride."""
    return [CONV3] * (units - 1) + [Window(3, stride=stride, pad_lo=1, pad_hi=1)]


RESNET_STEM = [Window(7, stride=2, pad_lo=3, pad_hi=3), Window(3, stride=2, pad_hi=1)]


def resnet_50(stem):
    return [
        ("block1", [*stem, *slim_block(3, 2)], (35, 8, 15)),
        ("block2", slim_block(4, 2), (99, 16, 47)),
        ("block3", slim_block(6, 2), (291, 32, 143)),
        ("block4", slim_block(3, 1), (483, 32, 239)),
    ]


def resnet_101(stem):
    return [
        ("block1", [*stem, *slim_block(3, 2)], (35, 8, 15)),
        ("block2", slim_block(4, 2), (99, 16, 47)),
        ("block3", slim_block(23, 2), (835, 32, 415)),
        ("block4", slim_block(3, 1), (1027, 32, 511)),
    ]


def resnet_152(stem):
    return [
        ("block1", [*stem, *slim_block(3, 2)], (35, 8, 15)),
        ("block2", slim_block(8, 2), (163, 16, 79)),
        ("block3", slim_block(36, 2), (1315, 32, 655)),
        ("block4", slim_block(3, 1), (1507, 32, 751)),
    ]


PUBLISHED = {
    "alexnet_v2": ALEXNET_V2,
    "vgg_16": VGG_16,
    "resnet_v1_50": resnet_50(RESNET_STEM),
    "resnet_v1_101": resnet_101(RESNET_STEM),
    "resnet_v1_152": resnet_152(RESNET_STEM),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_fields_are_reproduced(name):
    field, size = Field(), 224
    for endpoint, chain, (field_px, stride, padding) in PUBLISHED[name]:
        for window in chain:
            field, size = step(field, window, size), window.out_size(size)
        assert (endpoint, field.size, field.jump, -field.start) == (endpoint, field_px, stride, padding)


def test_resnet_50_at_321_is_padded_two_pixels_more():
    # The pool is padded by SAME: of 161 px, three at stride 2 need one px before and one after, 2 image px each.
    stem = [RESNET_STEM[0], Window(3, stride=2, pad_lo=1, pad_hi=1)]
    assert field_of([w for _, chain, _ in resnet_50(stem) for w in chain]) == Field(483, 32, -241)
