"""The papers' shorthand, read and written: `32C3-BN-R-MP2-64C3s2-BN-R-GAP-10`, and named families of networks."""

from striate.notation.build import build as build
from striate.notation.families import FAMILIES as FAMILIES
from striate.notation.from_network import from_network as from_network
from striate.notation.parse import parse as parse
from striate.notation.repetition import canonical as canonical
from striate.notation.repetition import expand as expand
from striate.notation.resolve import read as read
from striate.notation.syntax import Chain as Chain
from striate.notation.write import write as write
