"""Pictures that lie in two parts: what was trained on cannot measure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from striate.data.dataset import Part


def leaks(parts: Mapping[str, Part]) -> dict[tuple[str, str], int]:
    """How many images of a later part have exactly the pixels of an image in an earlier one, for each pair of parts.

    After decoding and resizing, hence what a network sees as the same; a digest of 16 bytes an image.
    """
    seen: dict[str, set[bytes]] = {}
    found: dict[tuple[str, str], int] = {}
    for name, part in parts.items():
        digests = [hashlib.blake2b(image, digest_size=16).digest() for image in part.images]
        for earlier, others in seen.items():
            if count := sum(digest in others for digest in digests):
                found[earlier, name] = count
        seen[name] = set(digests)
    return found
