"""Exact measurements of a network: sizes, receptive fields, costs."""

from striate.measure.cost import Cost as Cost
from striate.measure.cost import costs as costs
from striate.measure.cost import peak_activation_bytes as peak_activation_bytes
from striate.measure.fields import AxisView as AxisView
from striate.measure.fields import views as views
from striate.measure.inspection import Inspection as Inspection
from striate.measure.inspection import Layer as Layer
from striate.measure.inspection import inspect_network as inspect_network
from striate.measure.inspection import parts as parts
