"""Figures on arrays, in one style: readable in print, and without relying on colour alone.

Each function returns a Matplotlib figure that belongs to no window; `save` writes it as PNG and SVG.
"""

from ecgeval.figures.bars import bars
from ecgeval.figures.curves import calibration, pr, roc
from ecgeval.figures.matrices import confusion, heatmap, two_by_two
from ecgeval.figures.paper import Strip, strips
from ecgeval.figures.scatter import features, pretraining_fraction
from ecgeval.figures.style import save
from ecgeval.figures.training import Training, loss, macro, per_class, training_curves

__all__ = [
    "Strip",
    "Training",
    "bars",
    "calibration",
    "confusion",
    "features",
    "heatmap",
    "loss",
    "macro",
    "per_class",
    "pr",
    "pretraining_fraction",
    "roc",
    "save",
    "strips",
    "training_curves",
    "two_by_two",
]
