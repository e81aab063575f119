from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from striate.data.augment.mix import beta, mix  # noqa: E402 - only where torch is installed
from striate.data.augmentation import Augmentation  # noqa: E402

SIZE = (7, 11)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_draws_have_the_beta_distribution(alpha):
    drawn = beta(alpha, 3, "mixup", 0, np.arange(4000))
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_a_tiny_alpha_takes_all_of_one_image():
    """Its powers underflow; half of the draws are next to 0, the others next to 1."""
    drawn = beta(0.01, 3, "mixup", 0, np.arange(4000))
    assert np.isfinite(drawn).all()
    assert abs((drawn < 0.5).mean() - 0.5) < 0.04
    assert ((drawn > 1e-3) & (drawn < 1 - 1e-3)).mean() < 0.1


@pytest.mark.parametrize("spec", [Augmentation(mixup=0.5), Augmentation(cutmix=1.0), Augmentation(mixup=1, cutmix=1)])
def test_a_mixture_depends_on_seed_epoch_and_image_alone(spec):
    index = torch.arange(19) * 3 + 1
    whole = mix(index, 2, 7, spec, 100, SIZE)
    for k in (0, 11, 18):
        alone = mix(index[k : k + 1], 2, 7, spec, 100, SIZE)
        assert (alone.partner[0], alone.share[0]) == (whole.partner[k], whole.share[k])
        assert torch.equal(alone.pasted[0], whole.pasted[k])
    others = mix(index, 3, 7, spec, 100, SIZE), mix(index, 2, 8, spec, 100, SIZE)
    assert all(not torch.equal(whole.partner, other.partner) for other in others)
    assert all(not np.array_equal(whole.share, other.share) for other in others)


def test_mixup_blends_inputs_and_labels_by_one_share():
    rng = np.random.default_rng(0)
    own, other = (torch.from_numpy(rng.normal(size=(5, 3, *SIZE)).astype(np.float32)) for _ in range(2))
    mixed = mix(torch.arange(5), 0, 0, Augmentation(mixup=1.0), 50, SIZE)
    got, share = mixed.inputs(own, other).numpy(), mixed.share[:, None, None, None]
    np.testing.assert_allclose(got, (1 - share) * own.numpy() + share * other.numpy(), atol=1e-6)
    targets = mixed.targets(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0]), 4).numpy()
    expected = np.zeros((5, 4))
    for row, (a, b) in enumerate([(0, 1), (1, 1), (2, 0), (0, 2), (1, 0)]):
        expected[row, a] += 1 - mixed.share[row]
        expected[row, b] += mixed.share[row]
    np.testing.assert_allclose(targets, expected, atol=1e-7)
    assert 0 < mixed.share.max() <= 0.5


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels():
    own, other = torch.zeros(40, 2, *SIZE), torch.ones(40, 2, *SIZE)
    mixed = mix(torch.arange(40), 1, 0, Augmentation(cutmix=1.0), 50, SIZE)
    got = mixed.inputs(own, other).numpy()
    assert set(np.unique(got)) == {0.0, 1.0}
    np.testing.assert_allclose(got.mean(axis=(1, 2, 3)), mixed.share, atol=1e-6)
    rows, columns = got[:, 0].any(axis=2).sum(axis=1), got[:, 0].any(axis=1).sum(axis=1)
    np.testing.assert_allclose(rows * columns, mixed.share * 77, atol=1e-4)  # it is one whole rectangle
    assert mixed.share.max() <= 0.56  # half the area, sides rounded


def test_with_both_half_of_the_images_get_each():
    mixed = mix(torch.arange(4000), 0, 1, Augmentation(mixup=1.0, cutmix=1.0), 4000, SIZE)
    assert abs(mixed.is_pasted.mean() - 0.5) < 0.04
    assert not mixed.pasted[~torch.from_numpy(mixed.is_pasted)].any()
    counts = np.bincount(mixed.partner.numpy(), minlength=4000)
    assert counts.max() < 10  # every image is as likely a partner


def test_nothing_mixed_changes_nothing():
    own, other = torch.rand(3, 1, *SIZE, generator=torch.Generator().manual_seed(0)), torch.ones(3, 1, *SIZE)
    mixed = mix(torch.arange(3), 0, 0, Augmentation(), 9, SIZE)
    assert torch.equal(mixed.inputs(own, other), own)
