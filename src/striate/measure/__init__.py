"""Exact measurements of a network: sizes, receptive fields, costs."""

from striate.measure.compare import Comparison as Comparison
from striate.measure.compare import compare as compare
from striate.measure.cost import Cost as Cost
from striate.measure.cost import costs as costs
from striate.measure.fields import AxisView as AxisView
from striate.measure.fields import gated as gated
from striate.measure.fields import views as views
from striate.measure.flops import flops as flops
from striate.measure.inspection import Inspection as Inspection
from striate.measure.inspection import inspect_network as inspect_network
from striate.measure.inspection import parts as parts
from striate.measure.layer import Layer as Layer
from striate.measure.memory import kept_for_training as kept_for_training
from striate.measure.memory import peak_activation_bytes as peak_activation_bytes
from striate.measure.memory import schedule as schedule
from striate.measure.sizes import Size as Size
from striate.measure.sizes import over_sizes as over_sizes
from striate.measure.table import COLUMNS as COLUMNS
from striate.measure.unit import Sighting as Sighting
from striate.measure.unit import look as look
