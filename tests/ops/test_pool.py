from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from striate.geometry import Window
from striate.ops import MaxPool


def test_among_equal_values_the_first_in_row_major_order_takes_the_whole_gradient_as_in_torch():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2, 3, 13, 10)).astype(float)  # ties in nearly every window, as after a ReLU
    op = MaxPool((Window(3, 2, pad_lo=1, pad_hi=1), Window(2, 1)))
    output = op.forward([x], {})
    grad = rng.standard_normal(output.shape)
    tensor = torch.tensor(x, requires_grad=True)
    F.max_pool2d(tensor, (3, 2), (2, 1), (1, 0)).backward(torch.tensor(grad))
    (got,), _ = op.backward(grad, [x], output, {})
    np.testing.assert_allclose(got, tensor.grad.numpy(), rtol=1e-12, atol=1e-12)
