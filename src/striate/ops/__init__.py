"""The layers: one file a family, holding all that is true of it. `OPS` lists them."""

from striate.ops.activation import CURVES as CURVES
from striate.ops.activation import Activation as Activation
from striate.ops.activation import Softmax as Softmax
from striate.ops.base import Array as Array
from striate.ops.base import OnnxNode as OnnxNode
from striate.ops.base import Op as Op
from striate.ops.base import Shape as Shape
from striate.ops.base import Weights as Weights
from striate.ops.base import WeightSpec as WeightSpec
from striate.ops.batch_norm import BatchNorm as BatchNorm
from striate.ops.batch_norm import kept_share as kept_share
from striate.ops.batch_norm import new_share as new_share
from striate.ops.conv import Conv as Conv
from striate.ops.linear import Linear as Linear
from striate.ops.merge import Add as Add
from striate.ops.merge import Concat as Concat
from striate.ops.merge import Mul as Mul
from striate.ops.pool import AdaptiveAvgPool as AdaptiveAvgPool
from striate.ops.pool import AvgPool as AvgPool
from striate.ops.pool import GlobalAvgPool as GlobalAvgPool
from striate.ops.pool import MaxPool as MaxPool
from striate.ops.shaping import Dropout as Dropout
from striate.ops.shaping import Flatten as Flatten
from striate.ops.shaping import Identity as Identity
from striate.ops.table import OPS as OPS
