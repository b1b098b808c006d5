"""Scores of validation that steer a run: F1, AUROC, and the thresholds that maximise F1.

A score that is undefined, because a class does not occur, is NaN and is left out of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


class Scores(NamedTuple):
    """Scores of each class, shape (n_classes,), NaN where undefined."""

    f1: Floats
    auroc: Floats

    def macro(self, classes: Sequence[int]) -> dict[str, float]:
        """Return the means over some classes, without those where a score is undefined."""
        return {name: _mean(values[list(classes)]) for name, values in self._asdict().items()}


def score(truth: Flags, probability: Floats, *, multilabel: bool) -> Scores:
    """Return F1 (threshold 0.5, or the most probable class) and AUROC of each class.

    Parameters
    ----------
    truth : ndarray of bool, shape (n_rows, n_classes)
        Which classes a row has.
    probability : ndarray of float, shape (n_rows, n_classes)
        What the model says.
    multilabel : bool
        Whether a row can have several classes.
    """
    classes = np.arange(truth.shape[1])
    predicted = probability >= 0.5 if multilabel else classes == probability.argmax(axis=1)[:, None]
    return Scores(
        f1=np.array([f1(truth[:, c], predicted[:, c]) for c in classes]),
        auroc=np.array([auroc(truth[:, c], probability[:, c]) for c in classes]),
    )


def plain(values: dict[str, float]) -> dict[str, float | None]:
    """Return values as JSON knows them: what is undefined is null."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def f1(truth: Flags, predicted: Flags) -> float:
    """Return 2TP/(2TP + FP + FN); NaN if there is no reference and no prediction."""
    total = int(truth.sum()) + int(predicted.sum())
    return 2 * int((truth & predicted).sum()) / total if total else float("nan")


def auroc(truth: Flags, probability: Floats) -> float:
    """Return P(s⁺ > s⁻) + ½P(tie) by mid-ranks; NaN without positives or without negatives."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    return float((rankdata(probability)[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def best_threshold(truth: Flags, probability: Floats) -> float:
    """Return the threshold with the highest F1, between two neighbouring probabilities; 0.5 without positives.

    Parameters
    ----------
    truth : ndarray of bool, shape (n_rows,)
        Which rows have the class.
    probability : ndarray of float, shape (n_rows,)
        What the model says.
    """
    if not truth.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order].astype(np.float64)
    true_positive = np.cumsum(truth[order])
    f1_after = 2 * true_positive / (np.arange(1, len(order) + 1) + truth.sum())
    last_of_ties = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.argmax(np.where(last_of_ties, f1_after, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
