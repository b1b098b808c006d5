"""Probabilities to labels: the most probable class, or thresholds fitted on validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgeval.config import Evaluate
from ecgeval.metrics import Array, predict_classes, predict_labels
from ecgeval.predictions import Predictions
from ecgeval.runs import Run


class Decision(NamedTuple):
    """How a run's probabilities become labels.

    Parameters
    ----------
    thresholds : dict of int to ndarray of float64, shape (n_classes,)
        Thresholds by fold; empty for a single-label task.
    rule : str
        The same in words.
    """

    thresholds: dict[int, Array]
    rule: str

    def predict(self, rows: Predictions) -> NDArray[np.bool_]:
        """Return the labels predicted for some rows, shape (n, n_classes)."""
        if not self.thresholds:
            return predict_classes(rows.p)
        if len(self.thresholds) == 1:
            return predict_labels(rows.p, *self.thresholds.values())
        return predict_labels(rows.p, np.stack([self.thresholds[fold] for fold in rows.fold.tolist()]))

    def threshold_of(self, column: int) -> str:
        """Return the threshold of a class in words; with several folds their mean and range."""
        if not self.thresholds:
            return "argmax"
        values = [thresholds[column] for thresholds in self.thresholds.values()]
        if len(set(values)) == 1:
            return f"{values[0]:.3f}"
        return f"{np.mean(values):.3f} (folds {min(values):.3f}–{max(values):.3f})"


def decide(run: Run, folds: list[int], config: Evaluate) -> Decision:
    """Return how a run's probabilities become labels.

    Parameters
    ----------
    run : Run
        The run.
    folds : list of int
        Folds of its rows, [−1] without.
    config : Evaluate
        Says whether the run's own thresholds are used.
    """
    header = run.header
    if header.task == "single":
        return Decision({}, "the most probable class")
    fitted = {fold: run.calibration(fold).thresholds for fold in folds}
    if config.threshold == "calibrated" and all(fitted.values()):
        thresholds = {fold: np.array([values[c] for c in header.classes]) for fold, values in fitted.items()}
        return Decision(thresholds, "thresholds fitted on validation")
    why = "" if config.threshold == "0.5" else " (the run has no fitted thresholds)"
    return Decision({fold: np.full(len(header.classes), 0.5) for fold in folds}, f"threshold 0.5{why}")
