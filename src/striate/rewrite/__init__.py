"""Exact rewrites, one file a pass: Network -> Network, the same function in a cheaper form."""

from striate.rewrite.absorb_input_norm import absorb_input_norm as absorb_input_norm
from striate.rewrite.constant_channel import constant_channel as constant_channel
from striate.rewrite.drop_dead_channels import drop_dead_channels as drop_dead_channels
from striate.rewrite.drop_identities import drop_identities as drop_identities
from striate.rewrite.engine import CONSTANT as CONSTANT
from striate.rewrite.engine import DEFAULT as DEFAULT
from striate.rewrite.engine import PASSES as PASSES
from striate.rewrite.engine import Rewritten as Rewritten
from striate.rewrite.engine import rewrite as rewrite
from striate.rewrite.fold_batch_norm import fold_batch_norm as fold_batch_norm
from striate.rewrite.fold_constants import fold_constants as fold_constants
from striate.rewrite.hoist_batch_norm import hoist_batch_norm as hoist_batch_norm
from striate.rewrite.merge_batch_norms import merge_batch_norms as merge_batch_norms
from striate.rewrite.merge_branches import merge_branches as merge_branches
from striate.rewrite.merge_convolutions import merge_convolutions as merge_convolutions
from striate.rewrite.norm_as_convolution import norm_as_convolution as norm_as_convolution
from striate.rewrite.note import Applied as Applied
from striate.rewrite.note import Note as Note
from striate.rewrite.note import Pass as Pass
from striate.rewrite.note import Refused as Refused
from striate.rewrite.pool_first import pool_first as pool_first
from striate.rewrite.push_batch_norm import push_batch_norm as push_batch_norm
from striate.rewrite.push_strides import push_strides as push_strides
from striate.rewrite.read_pixels import read_pixels as read_pixels
