"""Where in an image the evidence for an answer lies: Grad-CAM, occlusion, and the feature maps themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.errors import NetworkError
from striate.graph import Network, infer_shapes
from striate.ops import Array
from striate.probe.running import NO_MAPS, gradients, map_layers, outputs, ready, tensors

PATCH_SHARE = 4
"""The occluding patch is this part of the shorter side."""
MOST_MAPS = 16


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceProbe:
    """One image (C, H, W) and the logit of `answer`; None where there are no answers.

    maps: the first feature maps of `maps_layer` (K, h, w)
    grad_cam: (h, w) of `cam_layer`, in logits, not negative; occlusion: (H, W), by how many logits the answer falls
    when a patch of `patch_px` centred there is 0, which is the mean colour of normalised images
    label: the name of the answer's class, where somebody knows it
    """

    network: str
    image: Array
    answer: int | None
    logit: float | None
    maps_layer: str | None
    maps: Array | None
    cam_layer: str | None
    grad_cam: Array | None
    occlusion: Array | None
    patch_px: int
    label: str = ""
    why_not: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """One."""
        return 1

    def lines(self) -> list[str]:
        """Where the evidence is, in words."""
        said = [self.title()] if self.answer is not None else []
        if self.occlusion is not None:
            said.append(self._hidden(self.occlusion))
        if self.grad_cam is not None:
            row, column = np.unravel_index(int(self.grad_cam.argmax()), self.grad_cam.shape)
            units = "x".join(map(str, self.grad_cam.shape))
            said.append(f"Grad-CAM at {self.cam_layer} ({units} units) peaks at unit {row}, {column}")
        return [*said, *(f"not measured: {why}" for why in self.why_not)]

    def title(self) -> str:
        """The answer, its class by name if that is known, and its logit."""
        if self.answer is None:
            return "no answer"
        name = f" ({self.label})" if self.label else ""
        return f"answer {self.answer}{name}, logit {self.logit:.3g}"

    def _hidden(self, occlusion: Array) -> str:
        """What a hidden patch costs, or that none costs anything."""
        patch, most = f"{self.patch_px} x {self.patch_px} px", occlusion.max()
        if not most > 0:
            return f"hiding {patch} nowhere lowers the logit: no one place carries this answer"
        row, column = np.unravel_index(int(occlusion.argmax()), occlusion.shape)
        return f"hiding {patch} around row {row}, column {column} costs most: {most:.3g} logits"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the maps as nested lists."""
        named = {"grad_cam": self.grad_cam, "occlusion": self.occlusion}
        return {
            "probe": "evidence", "images": 1, "answer": self.answer, "label": self.label,
            "logit": self.logit,
            "cam_layer": self.cam_layer, "patch_px": self.patch_px,
            **{name: None if values is None else values.tolist() for name, values in named.items()},
            "why_not": list(self.why_not),
        }  # fmt: skip


def evidence(network: Network, images: Array, answer: int | None = None) -> EvidenceProbe:
    """Look at the first of `images` (N, C, H, W), for the class `answer`, by default the network's.

    Raises: NetworkError.
    """
    network, image, why = ready(network, images[:1])
    layers, shape = map_layers(network), infer_shapes(network)[network.output]
    maps_layer = layers[0] if layers else None
    maps = tensors(network, image, layers[:1])[layers[0]][0, :MOST_MAPS] if layers else None
    if why or len(shape) != 1:
        why = why or (f"the output {shape} is not a list of classes: no map of evidence",)
        return EvidenceProbe(network.name, image[0], None, None, maps_layer, maps, None, None, None, 0, why_not=why)
    if answer is not None and not 0 <= answer < shape[0]:
        raise NetworkError(f"{network.name}: class {answer} is none of its {shape[0]}; use 0 to {shape[0] - 1}")
    logits = outputs(network, image)[0]
    answer = int(logits.argmax()) if answer is None else answer
    if not layers:
        why = (f"{NO_MAPS}: no Grad-CAM",)
    cam = grad_cam(network, image, layers[-1], answer) if layers else None
    hidden, patch = occlusion(network, image, answer)
    return EvidenceProbe(
        network.name, image[0], answer, float(logits[answer]), maps_layer, maps,
        layers[-1] if layers else None, cam, hidden, patch, why_not=why,
    )  # fmt: skip


def grad_cam(network: Network, image: Array, layer: str, answer: int) -> Array:
    """max(0, sum over k of a_k A_k), a_k the mean over positions of d logit / d A_k.  image (1, C, H, W); (h, w).

    Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2.
    """
    seed = np.zeros((1, *infer_shapes(network)[network.output]), image.dtype)
    seed[0, answer] = 1
    slope = gradients(network, image, {network.output: seed}, layer)[network.output][0]
    values = tensors(network, image, (layer,))[layer][0]
    result: Array = np.maximum(0, (slope.mean(axis=(1, 2))[:, None, None] * values).sum(axis=0))
    return result


def occlusion(network: Network, image: Array, answer: int) -> tuple[Array, int]:
    """How far the logit falls for a patch of zeros at each place, and the patch's side in px.

    Places overlap by half a patch; each pixel gets the mean over the patches that cover it.
    image (1, C, H, W); map (H, W).  Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.2.
    """
    height, width = image.shape[2:]
    patch = max(1, min(height, width) // PATCH_SHARE)
    step = max(1, patch // 2)
    corners = [(r, c) for r in _starts(height, patch, step) for c in _starts(width, patch, step)]
    hidden = np.repeat(image, len(corners), axis=0)
    for one, (row, column) in zip(hidden, corners, strict=True):
        one[:, row : row + patch, column : column + patch] = 0
    falls = outputs(network, image)[0, answer] - outputs(network, hidden)[:, answer]
    total, covered = np.zeros((height, width)), np.zeros((height, width))
    for fall, (row, column) in zip(falls, corners, strict=True):
        total[row : row + patch, column : column + patch] += fall
        covered[row : row + patch, column : column + patch] += 1
    return total / covered, patch


def _starts(size: int, patch: int, step: int) -> list[int]:
    """Where patches begin: every step, and one that ends with the image."""
    return sorted({*range(0, size - patch + 1, step), size - patch})
