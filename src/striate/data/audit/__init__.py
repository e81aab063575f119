"""A source looked at before anything is trained: bad files, copies, leaks, conflicts, and what else is unusual."""

from striate.data.audit.audit import audit as audit
from striate.data.audit.report import Audit as Audit
from striate.data.audit.report import Case as Case
from striate.data.audit.report import Finding as Finding
from striate.data.audit.report import Image as Image
