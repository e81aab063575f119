"""Engines that compute a network, one file each, all behind one function: a batch in, its logits out."""

from striate.runtime.engines.setting import Runner as Runner
from striate.runtime.engines.setting import Setting as Setting
from striate.runtime.engines.table import ENGINES as ENGINES
from striate.runtime.engines.table import is_installed as is_installed
from striate.runtime.engines.table import open_runner as open_runner
from striate.runtime.engines.table import version as version
