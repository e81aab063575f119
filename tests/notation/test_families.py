"""Named families against torchvision 0.28.0: `state_dicts/` and the digests below were written from its modules."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from striate.graph import infer_shapes
from striate.notation import FAMILIES, build, canonical, from_network, parse, write
from striate.notation.families.mobilenet_v2 import divisible

STATE_DICTS = Path(__file__).parent / "state_dicts"
IMAGENET = (3, 224, 224)

TORCHVISION = {
    # name: (parameters, first half of the SHA-256 of "key shape" lines of its state dict without num_batches_tracked)
    "vgg11": (132_863_336, "6fb51e64f39daf03"),
    "vgg13": (133_047_848, "706ed6e351a36536"),
    "vgg16": (138_357_544, "390ecfd46b10e2b3"),
    "vgg19": (143_667_240, "44b0baff14322d40"),
    "vgg11_bn": (132_868_840, "4903c9b0375ea7df"),
    "vgg13_bn": (133_053_736, "b10eabd16494bec9"),
    "vgg16_bn": (138_365_992, "d66972188c91efb8"),
    "vgg19_bn": (143_678_248, "ad27763f3a0e9c49"),
    "resnet18": (11_689_512, "33f42e9d4f4b0f12"),
    "resnet34": (21_797_672, "5143590bd3f12b41"),
    "resnet50": (25_557_032, "4cbfe8108cdf5547"),
    "resnet101": (44_549_160, "5be0d9031c71ce91"),
    "resnet152": (60_192_808, "5f1244bdb5a982dd"),
    "mobilenet_v2": (3_504_872, "b0c22ca02bbfee5d"),
    "mobilenet_v2_0.35": (1_677_128, "480090d20ad39f8f"),
    "mobilenet_v2_0.5": (1_968_680, "2b3c8896ec446947"),
    "mobilenet_v2_0.75": (2_636_424, "483a8fcc8e072395"),
    "mobilenet_v2_1.3": (5_386_792, "9c759c490ea2d0cf"),
    "mobilenet_v2_1.4": (6_108_776, "9ead9cc992aeab96"),
}


def state_dict_lines(network):
    return [f"{name} {'x'.join(map(str, spec.shape))}" for name, spec in network.weight_specs().items()]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg16_bn"])
def test_keys_and_shapes_in_order(name):
    assert state_dict_lines(FAMILIES[name](IMAGENET)) == (STATE_DICTS / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", TORCHVISION)
def test_parameters_and_state_dict(name):
    network = FAMILIES[name](IMAGENET)
    lines = "".join(line + "\n" for line in state_dict_lines(network))
    digest = hashlib.sha256(lines.encode()).hexdigest()[:16]
    assert (network.parameters(), digest) == TORCHVISION[name]
    assert network.name == name


@pytest.mark.parametrize(
    ("name", "macs"),
    # as published: 15.47 G, 1.814 G, 4.089 G, 0.301 G
    [
        ("vgg16", 15_470_264_320),
        ("resnet18", 1_814_073_344),
        ("resnet50", 4_089_184_256),
        ("mobilenet_v2", 300_774_272),
    ],
)
def test_macs(name, macs):
    network = FAMILIES[name](IMAGENET)
    shapes = infer_shapes(network)
    assert sum(node.op.macs(*(shapes[i] for i in node.inputs)) for node in network) == macs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("plain20", 269_722),  # He et al. 2015, table 6: 0.27 M; the option A ResNet-20 has the same
        ("plain56", 853_018),  # 0.85 M
        ("resnet20", 269_722 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64),  # and two projections
        ("resnet110", 1_727_962 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64),  # 1.7 M
        ("resnet18_cifar", 11_173_962),  # as counted in widespread CIFAR code with this stem
        ("resnet50_cifar", 23_520_842),
    ],
)
def test_cifar_networks(name, parameters):
    network = FAMILIES[name]((3, 32, 32))
    assert network.parameters() == parameters
    assert infer_shapes(network)[network.output] == (10,)
    assert network.name == name


@pytest.mark.parametrize(("name", "depth"), [("plain32", 32), ("resnet44", 44), ("resnet152", 152), ("vgg19", 19)])
def test_depth_is_the_number_of_layers_with_weights(name, depth):
    layers = [n for n in FAMILIES[name](IMAGENET) if n.op.kind in ("conv", "linear") and "downsample" not in n.name]
    assert len(layers) == depth


def test_the_cifar_stem_keeps_the_map():
    shapes = infer_shapes(FAMILIES["resnet18_cifar"]((3, 32, 32)))
    assert [shapes[f"layer{i}.1.relu"][1] for i in (1, 2, 3, 4)] == [32, 16, 8, 4]


@pytest.mark.parametrize(("shape", "filters"), [((3, 32, 32), 24), ((1, 28, 28), 8)])
def test_cifar_fast_is_the_papers_network(shape, filters):
    """Parameters counted by hand, convolutions' sizes from the paper: 32 px shrink to 31, 15, 7, 3 and 1."""
    network = FAMILIES["cifar_fast"](shape)
    convs = filters * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256
    stem = filters * shape[0] * 4 + filters
    assert network.parameters() == stem + 9 * convs + 2 * 2 * (64 + 256 + 256) + 256 * 10
    shapes = infer_shapes(network)
    assert [shapes[f"block{i}.norm1"][1] for i in (1, 2, 3)] == ([15, 7, 3] if filters == 24 else [13, 6, 3])
    assert shapes["pool"] == (256, 1, 1)


def test_a_deeper_block_adds_to_what_enters_its_second_convolution():
    plain, deeper = FAMILIES["cifar_fast"]((3, 32, 32)), FAMILIES["cifar_fast_deeper"]((3, 32, 32))
    assert deeper.parameters() - plain.parameters() == 9 * (64**2 + 256**2) + 2 * (64 + 256)
    adds = {node.name: node.inputs for node in deeper if node.op.kind == "add"}
    assert adds == {f"block{i}.add": (f"block{i}.norm3", f"block{i}.gelu1") for i in (1, 3)}


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_and_classes_are_free(name):
    network = FAMILIES[name]((2, 33, 47), 7)
    assert infer_shapes(network)[network.output] == (7,)
    assert next(iter(network.weight_specs().values())).shape[1] == 2


UNSAID = {
    "cifar_fast",
    "cifar_fast_deeper",
    "cifar_fast_half",
}  # they scale their logits, for which the notation has no letters


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in UNSAID])
def test_every_family_can_be_said_in_the_notation(name):
    network = FAMILIES[name](IMAGENET)
    chain = from_network(network)
    again = build(parse(write(chain)), IMAGENET)
    assert canonical(chain) == chain
    assert [node.op for node in again] == [node.op for node in network]


@pytest.mark.parametrize(
    ("channels", "rounded"), [(32 * 0.35, 16), (24 * 0.35, 8), (3, 8), (16 * 0.75, 16), (11, 16), (1280 * 1.4, 1792)]
)
def test_mobilenet_rounds_channels_to_eights_and_never_below_nine_tenths(channels, rounded):
    assert divisible(channels) == rounded


@pytest.mark.peers
def test_against_the_installed_torchvision(seeded):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    for name in TORCHVISION:
        base, _, width = name.rpartition("_")
        module = models.mobilenet_v2(width_mult=float(width)) if base == "mobilenet_v2" else getattr(models, name)()
        theirs = {k: tuple(v.shape) for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
        ours = {k: spec.shape for k, spec in FAMILIES[name](IMAGENET).weight_specs().items()}
        assert list(ours.items()) == list(theirs.items())
