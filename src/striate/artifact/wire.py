"""A bounded walk over a protobuf file: what is in it and how large, before any library builds objects from it.

The messages of an artifact are listed with the fields that our writer uses. Anything else (external data, sparse
weights, subgraphs, functions, training graphs, unknown fields, a singular field given twice) is refused by not
being listed. Nesting is as deep as the table and no deeper; no array is copied.
Source: protobuf.dev/programming-guides/encoding and onnx.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from striate.errors import ArtifactError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000  # a million scalars in a file: far above any network, far below a nuisance
MAX_RANK = 8
ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 6: 4}  # float32; uint8, int8 and int32 in a file of integers


@dataclass(frozen=True, slots=True)
class Field:
    """A field that may occur: its wire type, the message inside it, may it occur more than once, is it text."""

    wire: int
    message: str = ""
    repeated: bool = False
    text: bool = False


SCHEMA: Mapping[str, Mapping[int, Field]] = MappingProxyType(
    {
        "Model": {
            1: Field(VARINT),  # ir_version
            2: Field(BYTES, text=True),  # producer_name
            7: Field(BYTES, "Graph"),
            8: Field(BYTES, "OperatorSet", repeated=True),
            14: Field(BYTES, "Entry", repeated=True),  # metadata_props
        },
        "OperatorSet": {1: Field(BYTES, text=True), 2: Field(VARINT)},
        "Entry": {1: Field(BYTES, text=True), 2: Field(BYTES, text=True)},
        "Graph": {
            1: Field(BYTES, "Node", repeated=True),
            2: Field(BYTES, text=True),  # name
            5: Field(BYTES, "Tensor", repeated=True),  # initializer
            11: Field(BYTES, "Value", repeated=True),  # input
            12: Field(BYTES, "Value", repeated=True),  # output
        },
        "Node": {
            1: Field(BYTES, repeated=True, text=True),  # input
            2: Field(BYTES, repeated=True, text=True),  # output
            3: Field(BYTES, text=True),  # name
            4: Field(BYTES, text=True),  # op_type
            5: Field(BYTES, "Attribute", repeated=True),
        },
        "Attribute": {
            1: Field(BYTES, text=True),  # name
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
            8: Field(BYTES, text=True),  # name
            9: Field(BYTES),  # raw_data
        },
        "Value": {1: Field(BYTES, text=True), 2: Field(BYTES, "Type")},
        "Type": {1: Field(BYTES, "TensorType")},
        "TensorType": {1: Field(VARINT), 2: Field(BYTES, "Shape")},
        "Shape": {1: Field(BYTES, "Dimension", repeated=True)},
        "Dimension": {1: Field(VARINT), 2: Field(BYTES, text=True)},
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
    tensor = _TensorSize()
    at = start
    while at < stop:
        budget["fields"] += 1
        if budget["fields"] > MAX_FIELDS:
            raise ArtifactError(f"more than {MAX_FIELDS:,} fields; this is no network that striate wrote")
        key, at = _varint(view, at, stop)
        number, wire = key >> 3, key & 7
        field = _known_field(message, number, wire, seen[number])
        seen[number] += 1
        first, at, value = _content(view, at, stop, wire)
        if field.text:
            _require_text(view[first:at], message)
        if field.message:
            for _ in _walk(view, first, at, field.message, budget):
                pass
        if message == "Tensor":
            tensor.note(number, value, at - first)
        yield number, first, at
    if message == "Tensor":
        tensor.check()


@dataclass(slots=True)
class _TensorSize:
    """What a weight says of its size, to compare with the bytes that it brings."""

    dims: list[int] = field(default_factory=list)
    element_bytes: int = 0
    raw_bytes: int = 0

    def note(self, number: int, value: int, content_bytes: int) -> None:
        """Remember one field."""
        match number:
            case 1:
                self.dims.append(value)
            case 2:
                self.element_bytes = ELEMENT_BYTES.get(value, 0)
            case 9:
                self.raw_bytes = content_bytes

    def check(self) -> None:
        """Raises: ArtifactError where shape, type and bytes do not fit each other."""
        if len(self.dims) > MAX_RANK or prod(self.dims) * self.element_bytes != self.raw_bytes:
            shape = self.dims[:MAX_RANK]
            raise ArtifactError(f"a weight of shape {shape} holds {self.raw_bytes:,} bytes; ship the network again")


def _known_field(message: str, number: int, wire: int, before: int) -> Field:
    field = SCHEMA[message].get(number)
    if field is None or field.wire != wire or (before and not field.repeated):
        raise ArtifactError(
            f"field {number} of {message} is unknown, of another type, or given twice; "
            "external data, sparse weights, subgraphs, functions and training graphs are not loaded"
        )
    return field


def _require_text(content: memoryview, message: str) -> None:
    try:
        str(content, "utf-8")
    except UnicodeDecodeError:
        raise ArtifactError(f"a text in {message} is not UTF-8: the file is damaged; copy it again") from None


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
