"""Measuring instruments for trained networks: each takes a network and images and returns a value."""

from striate.probe.activations import ActivationProbe as ActivationProbe
from striate.probe.activations import activations as activations
from striate.probe.batch_norm import BatchNormProbe as BatchNormProbe
from striate.probe.batch_norm import batch_norm as batch_norm
from striate.probe.batch_norm import recalibrate as recalibrate
from striate.probe.consistency import ConsistencyProbe as ConsistencyProbe
from striate.probe.consistency import consistency as consistency
from striate.probe.covariate_shift import CovariateShiftProbe as CovariateShiftProbe
from striate.probe.covariate_shift import covariate_shift as covariate_shift
from striate.probe.equivariance import EquivarianceProbe as EquivarianceProbe
from striate.probe.equivariance import equivariance as equivariance
from striate.probe.evidence import EvidenceProbe as EvidenceProbe
from striate.probe.evidence import evidence as evidence
from striate.probe.receptive_field import ReceptiveFieldProbe as ReceptiveFieldProbe
from striate.probe.receptive_field import receptive_field as receptive_field
