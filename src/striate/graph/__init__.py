"""The network as a value: nodes, weights, shapes, the NumPy reference, and the ways in and out."""

from striate.graph.build import Builder as Builder
from striate.graph.build import state_name as state_name
from striate.graph.check import check as check
from striate.graph.check import infer_shapes as infer_shapes
from striate.graph.initialise import initialise as initialise
from striate.graph.network import INPUT as INPUT
from striate.graph.network import Network as Network
from striate.graph.network import Node as Node
from striate.graph.network import fresh as fresh
