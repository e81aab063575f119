"""Networks with a name, one file a family; `FAMILIES` lists them."""

from striate.notation.families.table import FAMILIES as FAMILIES
from striate.notation.families.table import Family as Family
