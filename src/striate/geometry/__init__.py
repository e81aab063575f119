"""Integers on one axis: windows, affine receptive fields, exact index maps. No float, no array, no torch."""

from striate.geometry.field import Field as Field
from striate.geometry.field import step as step
from striate.geometry.moved import Everywhere as Everywhere
from striate.geometry.moved import Listed as Listed
from striate.geometry.moved import Resized as Resized
from striate.geometry.moved import mirrored as mirrored
from striate.geometry.moved import repeated as repeated
from striate.geometry.moved import wrapped as wrapped
from striate.geometry.sight import Sight as Sight
from striate.geometry.window import Adaptive as Adaptive
from striate.geometry.window import AxisMap as AxisMap
from striate.geometry.window import Pointwise as Pointwise
from striate.geometry.window import Transposed as Transposed
from striate.geometry.window import Whole as Whole
from striate.geometry.window import Window as Window
from striate.geometry.window import per_axis as per_axis
