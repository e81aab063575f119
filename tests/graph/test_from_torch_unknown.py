"""What striate does not know of a module: named where it stands, never counted, never run; the rest is still there."""

from __future__ import annotations

import numpy as np
import pytest

import striate
from striate.errors import CaptureError, NetworkError
from striate.graph import infer_shapes, reference
from striate.graph.from_torch import capture
from striate.graph.to_onnx import to_onnx
from striate.graph.to_torch import to_module
from striate.measure import inspect_network
from striate.ops import Unknown

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.usefixtures("seeded")


class Around(nn.Module):
    """A convolution, what `middle` makes of its maps, and a convolution."""

    def __init__(self, middle, channels=4):
        super().__init__()
        self.before = nn.Conv2d(3, 4, (3, 2))
        self.middle = middle
        self.after = nn.Conv2d(channels, 5, (1, 3))

    def forward(self, x):
        return self.after(self.middle(self.before(x)))


def rolled(x):
    return torch.roll(x, 1, dims=3)


def sorted_maps(x):
    return torch.sort(x, dim=2)[0]


@pytest.mark.parametrize(("middle", "called"), [(rolled, "roll"), (sorted_maps, "sort"), (torch.erfinv, "erfinv")])
def test_an_unknown_function_is_a_layer_with_torchs_shape_and_without_numbers(middle, called):
    network = capture(Around(middle), (3, 9, 8), strict=False)
    unknown = next(node for node in network if node.op.kind == "unknown")
    assert unknown.op.function == called
    assert unknown.op.why == f"Around: calls {called}, which striate has no layer for yet"
    assert infer_shapes(network)[unknown.name] == (4, 7, 7)
    assert network.node("after").weights == {"weight": "after.weight", "bias": "after.bias"}
    found = inspect_network(network)
    assert {layer.name: layer.known for layer in found.layers if layer.name in ("before", unknown.name, "after")} == {
        "before": True, unknown.name: False, "after": False,
    }  # fmt: skip
    row = next(layer for layer in found.layers if layer.name == unknown.name)
    assert (row.parameters, row.macs, row.macs_on_pixels, row.flops, row.moved_bytes) == (None,) * 5
    assert next(layer for layer in found.layers if layer.name == "after").macs == 5 * 4 * 3 * 7 * 5
    with pytest.raises(CaptureError, match=f"^Around: calls {called}, .*; striate inspect shows what is known"):
        capture(Around(middle), (3, 9, 8))


def test_inspect_shows_a_module_that_is_known_in_part_and_leaves_it_in_training():
    module = Around(rolled).train()
    found = striate.inspect(module, (3, 9, 8))
    assert found.unknown == ("roll",)
    assert found.flops is None
    assert "not counted, and no field stated behind: roll (of unknown kind)" in str(found)
    assert "?" in found._repr_html_()
    assert module.training


def test_its_path_is_named():
    network = capture(nn.Sequential(nn.Conv2d(3, 9, 3), nn.Flatten(2), nn.Fold((8, 7), 3)), (3, 8, 7), strict=False)
    assert network.nodes[-1].op.why == "2 (Fold): calls fold, which striate has no layer for yet"
    assert network.nodes[-1].path == "2"


def test_what_follows_from_an_unknown_layer_has_no_reason_of_its_own():
    def apart(x):
        return torch.cat([one.relu() * 2 for one in x.unbind(0)])

    network = capture(Around(apart, 12), (3, 9, 8), strict=False)
    unknown = [node.op for node in network if node.op.kind == "unknown"]
    assert {op.function for op in unknown} > {"unbind", "relu"}
    assert next(op.why for op in unknown if op.why) == (
        "Around: splits the batch; striate describes one image, whichever it is"
    )
    assert len([op.why for op in unknown if op.why]) < len(unknown)


def test_maps_as_an_argument_of_a_stored_tensor():
    network = capture(Around(lambda x: torch.ones(1, 4, 1, 1).reshape_as(x[:, :, :1, :1])), (3, 9, 8), strict=False)
    assert "calls reshape_as in a form striate does not read" in network.nodes[-1].op.why


def test_nothing_is_done_with_a_network_that_has_one():
    network = capture(Around(rolled), (3, 9, 8), strict=False)
    for use, said in (
        (lambda: reference.output(network, np.zeros((1, 3, 9, 8))), "roll is unknown to striate and cannot be comput"),
        (lambda: to_onnx(network), "roll is unknown to striate and has no ONNX form; it can only be inspected"),
        (lambda: to_module(network), "unknown"),
    ):
        with pytest.raises(NetworkError, match=said):
            use()
    op = next(node.op for node in network if isinstance(node.op, Unknown))
    x = np.zeros((1, 4, 7, 7))
    with pytest.raises(NetworkError, match="has no gradient"):
        op.backward(x, [x], x, {})
    with pytest.raises(NetworkError, match="has no error bound"):
        op.error_bound([x], [x], x, {}, 2.0**-24)


class Detector(nn.Module):
    """A head that keeps what scores above a half."""

    def __init__(self, keep):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.boxes = nn.Conv2d(4, 6, 1)
        self.keep = keep

    def forward(self, x):
        maps = self.backbone(x)
        return self.keep(self.boxes(maps), maps)


def above_zero(boxes, maps):
    return boxes[boxes > 0]


def by_nonzero(boxes, maps):
    return boxes.nonzero()


def if_any(boxes, maps):
    return boxes if boxes.mean().item() > 0 else maps


def raises(boxes, maps):
    raise KeyError("no anchors")


def as_dictionary(boxes, maps):
    return {"boxes": boxes, "maps": maps}


SHAPES_ONLY = "and striate follows shapes only; give the part before it as a module"


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (above_zero, f"Detector: picks by a mask or an index that it computed from the image, {SHAPES_ONLY}"),
        (by_nonzero, f"Detector: makes a tensor whose size depends on the values of the image, {SHAPES_ONLY}"),
        (if_any, f"Detector: looks at the values of the image to decide what to do, {SHAPES_ONLY}"),
        (raises, "Detector: Detector raised KeyError: 'no anchors'; call it on a real batch of 3x11x9 images"),
        (as_dictionary, "Detector: returns dict, not one tensor; wrap it in a module that returns the logits"),
    ],
)
def test_what_stands_before_a_fault_is_still_there(keep, said):
    module = Detector(keep)
    network = capture(module, (3, 11, 9), strict=False)
    assert [node.name for node in network][:4] == ["backbone.0", "backbone.1", "backbone.2", "boxes"]
    rest = network.nodes[-1]
    assert network.output == rest.name
    assert rest.op.why.removesuffix(" to see where") == said
    assert rest.op.shape == ()
    found = inspect_network(network)
    assert found.layers[3].macs == 6 * 4 * 5 * 4
    assert "MACs >= 2,640 an image" in str(found)
    data = found.to_json()
    assert data["layers"][-1]["output"] is None
    assert data["layers"][-1]["macs"] is None
    assert data["totals"]["macs"] is None
    assert data["layers"][3]["macs"] is not None
    assert module.training
    with pytest.raises(CaptureError):
        capture(module, (3, 11, 9))


def test_several_results_are_read_though_nothing_else_is():
    network = capture(Detector(as_dictionary), (3, 11, 9), strict=False)
    assert network.nodes[-1].inputs == ("boxes", "backbone.2")
    assert network.nodes[-1].op.function == "results"


def test_a_fault_before_any_layer_is_an_error():
    with pytest.raises(CaptureError, match=r"^Sequential: does not fit an input of 4x9x8: 0: conv got 4 channels"):
        capture(nn.Sequential(nn.Conv2d(3, 4, 3)), (4, 9, 8), strict=False)


def test_images_of_another_rank():
    with pytest.raises(CaptureError) as fault:
        capture(nn.Sequential(nn.Conv2d(3, 4, 3)), (9, 8))
    assert str(fault.value) == (
        "Sequential: does not fit an input of 9x8: conv got shape (9, 8), needs feature maps (C, H, W); "
        "put it before the flattening"
    )
