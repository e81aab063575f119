"""Values made visible: pictures of a run."""

from striate.report.figures import draw_confusion as draw_confusion
from striate.report.figures import draw_curves as draw_curves
