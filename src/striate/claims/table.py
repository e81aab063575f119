"""Every statement, one row each. To add one, write its file and its row."""

from __future__ import annotations

from collections.abc import Sequence

from striate.claims import (
    c00_reference,
    c01_cross_correlation,
    c02_equivariance,
    c03_stride_equivariance,
    c04_many_input_channels,
    c05_feature_maps,
    c06_many_kernels,
    c07_non_linearity,
    c08_valid_padding,
    c09_zero_padding,
    c10_stride,
    c11_receptive_field,
    c12_receptive_field_strides,
    c13_pooling,
    c14_max_pooling,
    c15_average_pooling,
    c16_classifier,
    c17_batch_norm,
    c18_bias_before_norm,
    c19_running_averages,
    c20_test_time,
    c21_fusing,
    c22_learning_rates,
    c23_batch_mates,
    c24_micro_batches,
    c25_train_and_test,
    c26_covariate_shift,
    c27_norm_in_cnns,
)
from striate.claims.claim import Claim
from striate.errors import UsageError

INSTRUMENT = c00_reference.CLAIM
"""Number 0: not a statement of the theory, but the test of what measures the others."""

CLAIMS: tuple[Claim, ...] = (
    c01_cross_correlation.CLAIM,
    c02_equivariance.CLAIM,
    c03_stride_equivariance.CLAIM,
    c04_many_input_channels.CLAIM,
    c05_feature_maps.CLAIM,
    c06_many_kernels.CLAIM,
    c07_non_linearity.CLAIM,
    c08_valid_padding.CLAIM,
    c09_zero_padding.CLAIM,
    c10_stride.CLAIM,
    c11_receptive_field.CLAIM,
    c12_receptive_field_strides.CLAIM,
    c13_pooling.CLAIM,
    c14_max_pooling.CLAIM,
    c15_average_pooling.CLAIM,
    c16_classifier.CLAIM,
    c17_batch_norm.CLAIM,
    c18_bias_before_norm.CLAIM,
    c19_running_averages.CLAIM,
    c20_test_time.CLAIM,
    c21_fusing.CLAIM,
    c22_learning_rates.CLAIM,
    c23_batch_mates.CLAIM,
    c24_micro_batches.CLAIM,
    c25_train_and_test.CLAIM,
    c26_covariate_shift.CLAIM,
    c27_norm_in_cnns.CLAIM,
)


def chosen(numbers: Sequence[int]) -> tuple[Claim, ...]:
    """The claims of these numbers, in the order given; all 27 if there are none.

    Raises: UsageError on a number that no claim has.
    """
    by_number = {claim.number: claim for claim in (INSTRUMENT, *CLAIMS)}
    for number in numbers:
        if number not in by_number:
            raise UsageError(f"claims: there is no statement {number}; use 1 to {len(CLAIMS)}, or 0 for the instrument")
    return tuple(by_number[number] for number in numbers) or CLAIMS
