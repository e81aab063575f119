"""The probes against the same measurements made by hand in torch: autograd, hooks and loops over a plain module."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from striate.probe import activations, batch_norm, consistency, evidence, receptive_field

torch = pytest.importorskip("torch")
nn = torch.nn

SHAPE = (2, 13, 18)
CLASSES = 5


@pytest.fixture
def module(seeded: None) -> torch.nn.Module:
    """A network of plain torch layers in float64, its running statistics and biases moved from where they start."""
    made = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 7, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(7, CLASSES),
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        made[1].running_mean.uniform_(-0.3, 0.3)
        made[1].running_var.uniform_(0.5, 2)
        made[1].bias.copy_(torch.tensor([0.0, -9, 0.2, 0.1, -0.1, 0.3]))  # channel 1 is dead behind the ReLU
    return made


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(4).normal(0.4, 1, (8, *SHAPE))


@pytest.fixture
def network(module):
    from striate.graph.from_torch import capture

    return capture(module, SHAPE)


def test_effective_field_is_autograds(module, network, images) -> None:
    (found,) = receptive_field(network, images, layers=("4",)).layers
    x = torch.from_numpy(images).requires_grad_()
    maps = module[:5](x)
    maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    share = x.grad.abs().sum(dim=(0, 1))
    np.testing.assert_allclose(found.share, (share / share.sum()).numpy(), atol=1e-14)


def test_grad_cam_is_that_of_hooks(module, network, images) -> None:
    found = evidence(network, images, answer=3)
    kept: dict[str, torch.Tensor] = {}

    def keep(_: object, __: object, result: torch.Tensor) -> None:
        kept["maps"] = result
        result.register_hook(lambda grad: kept.__setitem__("slope", grad))

    hook = module[5].register_forward_hook(keep)
    logits = module(torch.from_numpy(images[:1]).requires_grad_())
    logits[0, 3].backward()
    hook.remove()
    weights = kept["slope"].mean(dim=(2, 3), keepdim=True)
    cam = (weights * kept["maps"]).sum(dim=1).relu()[0]
    assert found.cam_layer == "5"
    np.testing.assert_allclose(found.grad_cam, cam.detach().numpy(), atol=1e-14)
    assert found.logit == pytest.approx(logits[0, 3].item())


def test_occlusion_is_that_of_a_loop(module, network, images) -> None:
    found = evidence(network, images)
    image, side, answer = torch.from_numpy(images[:1]), found.patch_px, found.answer
    rows, columns = ([*range(0, n - side + 1, side // 2 or 1)] for n in SHAPE[1:])
    falls: dict[tuple[int, int], list[float]] = {}
    with torch.inference_mode():
        whole = module(image)[0, answer].item()
        for top in {*rows, SHAPE[1] - side}:
            for left in {*columns, SHAPE[2] - side}:
                hidden = image.clone()
                hidden[..., top : top + side, left : left + side] = 0
                fall = whole - module(hidden)[0, answer].item()
                for pixel in np.ndindex(side, side):
                    falls.setdefault((top + pixel[0], left + pixel[1]), []).append(fall)
    want = np.array([[np.mean(falls[r, c]) for c in range(SHAPE[2])] for r in range(SHAPE[1])])
    np.testing.assert_allclose(found.occlusion, want, atol=1e-13)


def test_train_eval_gap_is_torchs(module, network, images) -> None:
    modes = batch_norm(network, images).modes
    x = torch.from_numpy(images)
    with torch.inference_mode():
        settled = module(x)
        trained = module.train()(x)
    assert modes is not None
    assert modes.gap == pytest.approx(((trained - settled).norm() / settled.norm()).item(), rel=1e-12)
    assert modes.agreement == (settled.argmax(1) == trained.argmax(1)).double().mean().item()


def test_activations_are_those_of_hooks(module, network, images) -> None:
    seen: dict[int, torch.Tensor] = {}
    for i in (2, 5):
        module[i].register_forward_hook(lambda _, __, result, i=i: seen.__setitem__(i, result))
    module(torch.from_numpy(images))
    for found, i in zip(activations(network, images).layers, (2, 5), strict=True):
        assert found.zeros == (seen[i] == 0).double().mean().item()
        assert list(found.dead) == torch.nonzero(seen[i].amax(dim=(0, 2, 3)) <= 0).flatten().tolist()
    assert 1 in activations(network, images).layers[0].dead


def rolled(images: np.ndarray, shift: int, ways: np.ndarray) -> Iterator[torch.Tensor]:
    for image, way in zip(torch.from_numpy(images), ways, strict=True):
        yield torch.roll(image, (shift if way % 2 == 0 else -shift,), (1 if way < 2 else 2,))


def test_circular_agreement_is_torchs_roll(module, network, images) -> None:
    ways = np.random.default_rng(7).integers(4, size=len(images))
    found = consistency(network, images, (3,), seed=7).agreements[0]
    with torch.inference_mode():
        before = module(torch.from_numpy(images)).softmax(1)
        after = module(torch.stack(list(rolled(images, 3, ways)))).softmax(1)
    assert (found.protocol, found.images) == ("circular", len(images))
    assert found.same == int((before.argmax(1) == after.argmax(1)).sum())
    assert found.change == pytest.approx((before - after).abs().amax(1).mean().item(), rel=1e-12)
