"""For every statement, its experiment on a subject that is broken on purpose: each must be found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

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
from striate.claims.instruments import convolve, network
from striate.graph import Network, reference
from striate.measure import views
from striate.ops import AvgPool, BatchNorm, GlobalAvgPool, MaxPool


def with_norms(net: Network, **changes) -> Network:
    nodes = (replace(n, op=replace(n.op, **changes)) if isinstance(n.op, BatchNorm) else n for n in net)
    return replace(net, nodes=tuple(nodes))


class UnbiasedBatchNorm(BatchNorm):
    def batch_statistics(self, x):
        axes = (0, *range(2, x.ndim))
        return x.mean(axis=axes), x.var(axis=axes, ddof=1)


class CarelessBatchNorm(BatchNorm):
    def backward_through_statistics(self, grad, x, weights):
        return self.backward(grad, [x], x, self.with_batch_statistics(x, weights))


def train_with_another_momentum(net, x, labels):
    losses, trained = c00_reference.train_in_numpy(with_norms(net, momentum=0.9), x, labels)
    return losses, net.with_weights(trained.weights)


def flipped(x, weight, bias, windows):
    return convolve(x, weight[..., ::-1, ::-1], bias, windows)


def maps_that_know_where_they_are(x):
    maps = reference.output(network(c02_equivariance.NOTATION), x)
    return maps + 1e-6 * np.arange(maps.shape[-1])


def maps_that_mix(x, weight, bias, windows):
    y = convolve(x, weight, bias, windows)
    return y + 1e-9 * y.mean(axis=1, keepdims=True)


def one_bias_for_all(x, weight, bias, windows):
    return convolve(x, weight, np.full_like(bias, bias[0]), windows)


def collapse_flipped(first, second):
    one = c07_non_linearity.collapse(first, second)
    return replace(one, weight=one.weight[..., ::-1, ::-1])


def collapse_without_first_bias(first, second):
    return c07_non_linearity.collapse(replace(first, bias=np.zeros_like(first.bias)), second)


def ceil_in_place_of_floor(in_size, kernel, padding, stride):
    return -(-(in_size - kernel + 2 * padding) // stride) + 1


def own_stride_counts(stack):
    strides = np.cumprod([stride for _, stride in stack])
    return 1 + sum((kernel - 1) * int(s) for (kernel, _), s in zip(stack, strides, strict=True))


def pool_over_channels(op, x):
    y = op.forward([x], {})
    return np.maximum(y, y[:, :1])


def maximum_for_average(op, x):
    return (MaxPool(op.windows) if isinstance(op, AvgPool) else op).forward([x], {})


def sum_for_mean(op, x):
    return x.sum(axis=(2, 3)) if isinstance(op, GlobalAvgPool) else op.forward([x], {})


def seen_by_the_first_layer(net):
    return tuple(axis.sight.interval(14) for axis in views(net)[net.nodes[0].name])


def old_and_new_exchanged(layer, x, weights):
    return replace(layer, momentum=1 - layer.momentum).running_averages(x, weights)


def biased_running_variance(layer, x, weights):
    mean, _ = layer.running_averages(x, weights)
    kept = 1 - layer.momentum
    return mean, kept * weights["running_var"] + layer.momentum * x.var(axis=(0, 2, 3))


def run_in_training(net, x):
    return reference.run(net, x, training=True)


def fold_with_another_epsilon(net):
    return c21_fusing.fold(with_norms(net, eps=1e-3))


def outputs_of_layers(net, x):
    values = reference.run(net, x, training=True)
    written = [values[node.name] for node in net if node.op.kind in ("conv", "linear")]
    return [(y.mean(axis=(0, *range(2, y.ndim))), y.std(axis=(0, *range(2, y.ndim)))) for y in written]


def image_by_image(x):
    return x.mean(axis=(0, 2, 3)), x.var(axis=(2, 3)).mean(axis=0)


def over_batch_and_channels(x):
    shape = x.shape[1]
    return np.full(shape, x.mean()), np.full(shape, x.var())


BROKEN = {
    # number: experiments on broken subjects
    0: [lambda: c00_reference.measure(train_with_another_momentum)],
    1: [lambda: c01_cross_correlation.measure(flipped)],
    2: [lambda: c02_equivariance.measure(maps_that_know_where_they_are)],
    3: [
        lambda: c03_stride_equivariance.measure(lambda net: c03_stride_equivariance.total_stride(net) // 2),
        lambda: c03_stride_equivariance.measure(lambda net: c03_stride_equivariance.total_stride(net) * 2),
    ],
    4: [lambda: c04_many_input_channels.measure(lambda conv, shape: conv.macs(shape) // conv.in_channels)],
    5: [lambda: c05_feature_maps.measure(maps_that_mix)],
    6: [lambda: c06_many_kernels.measure(one_bias_for_all)],
    7: [
        lambda: c07_non_linearity.measure(collapse_flipped),
        lambda: c07_non_linearity.measure(collapse_without_first_bias),
    ],
    8: [lambda: c08_valid_padding.measure(lambda h, k, p, s: h - k)],
    9: [lambda: c09_zero_padding.measure(lambda h, k, p, s: h - k + 1 + p)],
    10: [
        lambda: c10_stride.measure(formula=ceil_in_place_of_floor),
        lambda: c10_stride.measure(dropped=lambda window, size: ()),
        lambda: c10_stride.measure(dropped=lambda window, size: tuple(range(size - window.unread_at_end(size), size))),
    ],
    11: [lambda: c11_receptive_field.measure(lambda depth, kernel: depth * kernel)],
    12: [lambda: c12_receptive_field_strides.measure(own_stride_counts)],
    13: [lambda: c13_pooling.measure(pool_over_channels)],
    15: [lambda: c15_average_pooling.measure(maximum_for_average), lambda: c15_average_pooling.measure(sum_for_mean)],
    16: [lambda: c16_classifier.measure(seen_by_the_first_layer)],
    17: [
        lambda: c17_batch_norm.measure(UnbiasedBatchNorm(c17_batch_norm.CHANNELS)),
        lambda: c17_batch_norm.measure(CarelessBatchNorm(c17_batch_norm.CHANNELS)),
    ],
    18: [lambda: c18_bias_before_norm.measure(c18_bias_before_norm.statistics_as_constants)],
    19: [
        lambda: c19_running_averages.measure(old_and_new_exchanged),
        lambda: c19_running_averages.measure(biased_running_variance),
    ],
    20: [lambda: c20_test_time.measure(run_in_training)],
    21: [lambda: c21_fusing.measure(lambda net: net), lambda: c21_fusing.measure(fold_with_another_epsilon)],
    27: [lambda: c27_norm_in_cnns.measure(image_by_image), lambda: c27_norm_in_cnns.measure(over_batch_and_channels)],
}

BROKEN_TRAINING = {
    14: [
        lambda: c14_max_pooling.measure(c14_max_pooling.STRIDED, c14_max_pooling.POOLED),
        lambda: c14_max_pooling.measure(blurred=c14_max_pooling.POOLED),
    ],
    22: [lambda: c22_learning_rates.measure(c22_learning_rates.WITHOUT, c22_learning_rates.WITH)],
    23: [lambda: c23_batch_mates.measure(lambda net, x: reference.run(net, x)[net.output])],
    24: [lambda: c24_micro_batches.measure(*reversed(c24_micro_batches.NORMS))],
    25: [lambda: c25_train_and_test.measure(lambda net, x: net)],
    26: [lambda: c26_covariate_shift.measure(outputs_of_layers)],
}
