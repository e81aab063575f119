"""Do two networks compute the same function? Bounds, inputs that bring out faults, and proofs as values."""

from striate.verify.bound import error_bounds as error_bounds
from striate.verify.bound import propagate as propagate
from striate.verify.inputs import BATCH_SIZES as BATCH_SIZES
from striate.verify.inputs import Cases as Cases
from striate.verify.inputs import input_cases as input_cases
from striate.verify.proof import Decisions as Decisions
from striate.verify.proof import LayerProof as LayerProof
from striate.verify.proof import Proof as Proof
from striate.verify.proof import Worst as Worst
from striate.verify.proof import require as require
from striate.verify.prove import Engine as Engine
from striate.verify.prove import Serve as Serve
from striate.verify.prove import Tell as Tell
from striate.verify.prove import prove as prove
from striate.verify.prove import silent as silent
from striate.verify.shipped import Recheck as Recheck
from striate.verify.shipped import prove_shipped as prove_shipped
