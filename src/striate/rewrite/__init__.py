"""Exact rewrites, one file a pass: Network -> Network, the same function in a cheaper form."""

from striate.rewrite.drop_identities import drop_identities as drop_identities
from striate.rewrite.engine import DEFAULT as DEFAULT
from striate.rewrite.engine import PASSES as PASSES
from striate.rewrite.engine import Rewritten as Rewritten
from striate.rewrite.engine import rewrite as rewrite
from striate.rewrite.fold_batch_norm import fold_batch_norm as fold_batch_norm
from striate.rewrite.note import Applied as Applied
from striate.rewrite.note import Note as Note
from striate.rewrite.note import Pass as Pass
from striate.rewrite.note import Refused as Refused
