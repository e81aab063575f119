"""Measuring instruments for trained networks: each takes a network and images and returns a value."""

from striate.probe.batch_norm import BatchNormProbe as BatchNormProbe
from striate.probe.batch_norm import batch_norm as batch_norm
from striate.probe.batch_norm import recalibrate as recalibrate
