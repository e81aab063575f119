"""The theory of convolutional networks as experiments that can fail: one file a statement, one row each in `CLAIMS`."""

from striate.claims.claim import Claim as Claim
from striate.claims.claim import Finding as Finding
from striate.claims.claim import Outcome as Outcome
from striate.claims.claim import examine as examine
from striate.claims.table import CLAIMS as CLAIMS
from striate.claims.table import INSTRUMENT as INSTRUMENT
from striate.claims.table import chosen as chosen
