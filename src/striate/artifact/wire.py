"""A bounded walk over a protobuf file: what is in it and how large, before any library builds objects from it.

The messages of an artifact are listed with the fields that our writer uses. Anything else (external data, sparse
weights, subgraphs, functions, training graphs, unknown fields, a singular field given twice) is refused by not
being listed. Nesting is as deep as the table and no deeper; no array is copied.
Source: protobuf.dev/programming-guides/encoding and onnx.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from striate.errors import ArtifactError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000  # a million scalars in a file: far above any network, far below a nuisance
MAX_RANK = 8
ELEMENT_BYTES = 4  # float32, the only type


@dataclass(frozen=True, slots=True)
class Field:
    """A field that may occur: its wire type, the message inside it, and whether it may occur more than once."""

    wire: int
    message: str = ""
    repeated: bool = False


SCHEMA: Mapping[str, Mapping[int, Field]] = MappingProxyType(
    {
        "Model": {
            1: Field(VARINT),  # ir_version
            2: Field(BYTES),  # producer_name
            7: Field(BYTES, "Graph"),
            8: Field(BYTES, "OperatorSet", repeated=True),
            14: Field(BYTES, "Entry", repeated=True),  # metadata_props
        },
        "OperatorSet": {1: Field(BYTES), 2: Field(VARINT)},
        "Entry": {1: Field(BYTES), 2: Field(BYTES)},
        "Graph": {
            1: Field(BYTES, "Node", repeated=True),
            2: Field(BYTES),  # name
            5: Field(BYTES, "Tensor", repeated=True),  # initializer
            11: Field(BYTES, "Value", repeated=True),  # input
            12: Field(BYTES, "Value", repeated=True),  # output
        },
        "Node": {
            1: Field(BYTES, repeated=True),  # input
            2: Field(BYTES, repeated=True),  # output
            3: Field(BYTES),  # name
            4: Field(BYTES),  # op_type
            5: Field(BYTES, "Attribute", repeated=True),
        },
        "Attribute": {
            1: Field(BYTES),  # name
            2: Field(FIXED32),  # f
            3: Field(VARINT),  # i
            4: Field(BYTES),  # s
            7: Field(FIXED32, repeated=True),  # floats
            8: Field(VARINT, repeated=True),  # ints
            20: Field(VARINT),  # type
        },
        "Tensor": {
            1: Field(VARINT, repeated=True),  # dims
            2: Field(VARINT),  # data_type
            8: Field(BYTES),  # name
            9: Field(BYTES),  # raw_data
        },
        "Value": {1: Field(BYTES), 2: Field(BYTES, "Type")},
        "Type": {1: Field(BYTES, "TensorType")},
        "TensorType": {1: Field(VARINT), 2: Field(BYTES, "Shape")},
        "Shape": {1: Field(BYTES, "Dimension", repeated=True)},
        "Dimension": {1: Field(VARINT), 2: Field(BYTES)},
    }
)
"""The fields of each message that an artifact may hold, by number."""


def scan(data: bytes) -> bytes:
    """Walk the whole file and return the bytes of its graph.

    Raises: ArtifactError on whatever is malformed or not in `SCHEMA`, and on a weight whose size is not its shape's.
    """
    view = memoryview(data)
    budget = Counter({"fields": 0})
    graphs = [view[a:b] for number, a, b in _walk(view, 0, len(view), "Model", budget) if number == 7]
    if len(graphs) != 1:
        raise ArtifactError("not a model: the file holds no graph; ship the network again")
    return bytes(graphs[0])


def _walk(
    view: memoryview, start: int, stop: int, message: str, budget: Counter[str]
) -> Iterator[tuple[int, int, int]]:
    """Each field of a message, checked with all inside it: (number, start, stop of its content)."""
    seen: Counter[int] = Counter()
    dims: list[int] = []
    raw_bytes = 0
    at = start
    while at < stop:
        budget["fields"] += 1
        if budget["fields"] > MAX_FIELDS:
            raise ArtifactError(f"more than {MAX_FIELDS:,} fields; this is no network that striate wrote")
        key, at = _varint(view, at, stop)
        number, wire = key >> 3, key & 7
        field = SCHEMA[message].get(number)
        if field is None or (field.wire != wire) or (seen[number] and not field.repeated):
            raise ArtifactError(
                f"field {number} of {message} is unknown, of another type, or given twice; "
                "external data, sparse weights, subgraphs, functions and training graphs are not loaded"
            )
        seen[number] += 1
        first, at, value = _content(view, at, stop, wire)
        if field.message:
            for _ in _walk(view, first, at, field.message, budget):
                pass
        if message == "Tensor" and number == 1:
            dims.append(value)
        if message == "Tensor" and number == 9:
            raw_bytes = at - first
        yield number, first, at
    if message == "Tensor" and (len(dims) > MAX_RANK or prod(dims) * ELEMENT_BYTES != raw_bytes):
        raise ArtifactError(f"a weight of shape {dims[:MAX_RANK]} holds {raw_bytes:,} bytes; ship the network again")


def _content(view: memoryview, at: int, stop: int, wire: int) -> tuple[int, int, int]:
    """Start and stop of a field's content, and its value if it is a varint."""
    if wire == VARINT:
        value, end = _varint(view, at, stop)
        return at, end, value
    if wire == FIXED32:
        first, end = at, at + 4
    else:
        length, first = _varint(view, at, stop)
        end = first + length
    if end > stop:
        raise ArtifactError("a field reaches beyond its message: the file is truncated or damaged; copy it again")
    return first, end, 0


def _varint(view: memoryview, at: int, stop: int) -> tuple[int, int]:
    """A number in groups of 7 bits, at most 10 of them, and where it ends."""
    value = 0
    for i in range(10):
        if at + i >= stop:
            break
        byte = view[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ArtifactError("a number does not end: the file is truncated or damaged; copy it again")
