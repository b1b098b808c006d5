"""Metrics as functions on arrays.

Counts are one-vs-rest for each class. Whatever is 0/0 is NaN, never 0 or 1, and `why_undefined` says why. All
functions on counts take any leading axes, so that a thousand resamples are scored like one sample.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Metric(NamedTuple):
    """A metric's name in tables and what it is."""

    title: str
    definition: str


METRICS = {
    "sensitivity": Metric("Sensitivity", "TP / (TP + FN)"),
    "specificity": Metric("Specificity", "TN / (TN + FP)"),
    "precision": Metric("Precision", "TP / (TP + FP), the positive predictive value"),
    "npv": Metric("NPV", "TN / (TN + FN)"),
    "f1": Metric("F1-Score", "2 TP / (2 TP + FP + FN)"),
    "accuracy": Metric("Accuracy", "(TP + TN) / n, one class against the rest"),
    "auroc": Metric("AUC-ROC", "P(score of a positive > score of a negative) + half the ties"),
    "auprc": Metric("AUC-PR", "average precision, the sum of (R_k - R_k-1) P_k; its chance level is the prevalence"),
}
OF_COUNTS = ("sensitivity", "specificity", "precision", "npv", "f1", "accuracy")
RANKING = ("auroc", "auprc")
EXACT_MATCH = Metric("Exact-Match", "share of rows with all labels right; for a single-label task the accuracy")


class Counts(NamedTuple):
    """True and false positives and negatives, each of shape (..., n_classes)."""

    tp: Array
    fp: Array
    fn: Array
    tn: Array

    @property
    def support(self) -> Array:
        """Rows that have the class."""
        return self.tp + self.fn


def predict_classes(p: ArrayLike) -> NDArray[np.bool_]:
    """Return the most probable class of each row, one-hot; the first one where several are equal.

    Parameters
    ----------
    p : array_like, shape (n, n_classes)
        Probabilities of a single-label task.
    """
    p = np.asarray(p)
    return np.asarray(p.argmax(axis=1)[:, None] == np.arange(p.shape[1]), dtype=bool)


def predict_labels(p: ArrayLike, thresholds: ArrayLike = 0.5) -> NDArray[np.bool_]:
    """Return the labels whose probability reaches its threshold.

    Parameters
    ----------
    p : array_like, shape (n, n_classes)
        Probabilities of a multi-label task.
    thresholds : array_like, shape () or (n_classes,)
        A class is predicted where ``p >= threshold``.
    """
    return np.asarray(np.asarray(p) >= np.asarray(thresholds), dtype=bool)


def count(y: ArrayLike, predicted: ArrayLike) -> Counts:
    """Return the one-vs-rest counts of each class.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        Labels and predictions, one-hot or multi-hot.

    Returns
    -------
    Counts
        Arrays of shape (n_classes,).
    """
    y = np.asarray(y, dtype=bool)
    counts = count_by_group(y, predicted, np.zeros(len(y), dtype=np.int64), 1)
    return Counts(*(cell[0] for cell in counts))


def count_by_group(y: ArrayLike, predicted: ArrayLike, group: NDArray[np.int64], n_groups: int) -> Counts:
    """Return the one-vs-rest counts of each class in each group of rows.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        Labels and predictions.
    group : ndarray of int64, shape (n,)
        Group of each row, such as its patient, from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.

    Returns
    -------
    Counts
        Arrays of shape (n_groups, n_classes).
    """
    cell = 2 * np.asarray(y, dtype=np.int64) + np.asarray(predicted, dtype=np.int64)
    sums = [np.bincount(4 * group + column, minlength=4 * n_groups).reshape(n_groups, 4) for column in cell.T]
    tn, fp, fn, tp = np.moveaxis(np.stack(sums, axis=1).astype(np.float64), -1, 0)
    return Counts(tp=tp, fp=fp, fn=fn, tn=tn)


def confusion_matrix(y: ArrayLike, predicted: ArrayLike) -> NDArray[np.int64]:
    """Return the rows of each class (down) by predicted class (across) of a single-label task.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        One-hot labels and predictions.
    """
    result: NDArray[np.int64] = np.asarray(y, dtype=np.int64).T @ np.asarray(predicted, dtype=np.int64)
    return result


def rates(counts: Counts) -> dict[str, Array]:
    """Return sensitivity, specificity, precision, NPV, F1 and accuracy; 0/0 is NaN.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (..., n_classes).

    Returns
    -------
    dict of str to ndarray
        The metrics of ``OF_COUNTS``, each of the counts' shape.
    """
    tp, fp, fn, tn = counts
    return {
        "sensitivity": divide(tp, tp + fn),
        "specificity": divide(tn, tn + fp),
        "precision": divide(tp, tp + fp),
        "npv": divide(tn, tn + fn),
        "f1": divide(2 * tp, 2 * tp + fp + fn),
        "accuracy": divide(tp + tn, tp + fp + fn + tn),
    }


def divide(numerator: ArrayLike, denominator: ArrayLike) -> Array:
    """Return the quotient, NaN where the denominator is 0."""
    a, b = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0))


def auroc(y: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve by mid-ranks; NaN without positives or without negatives.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class.

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a ROC curve. Radiology 143 (1982).
    """
    y = np.asarray(y, dtype=bool)
    n_positive, n_negative = y.sum(), (~y).sum()
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = mid_ranks(score)[y].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def mid_ranks(values: ArrayLike) -> Array:
    """Return the rank of each value from 1, ties sharing the mean of theirs.

    Parameters
    ----------
    values : array_like, shape (n,)
        Numbers.
    """
    _, inverse, sizes = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    ranks: Array = (last - (sizes - 1) / 2)[inverse]
    return ranks


def average_precision(y: ArrayLike, score: ArrayLike) -> float:
    """Return the average precision, without interpolation; NaN without positives.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class.
    """
    tp, fp, _ = cumulative_counts(y, score)
    if not tp[-1]:
        return float("nan")
    return float(np.sum(np.diff(tp, prepend=0) * tp / (tp + fp)) / tp[-1])


def cumulative_counts(y: ArrayLike, score: ArrayLike) -> tuple[Array, Array, Array]:
    """Return true and false positives at each distinct score, from the highest down, and the scores.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class.

    Returns
    -------
    tp, fp, thresholds : ndarray of float64, shape (n_distinct,)
        Rows with ``score >= threshold`` that have, and do not have, the class.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=np.float64)
    order, ends = tie_groups(score)
    tp = np.cumsum(y[order], dtype=np.float64)[ends]
    return tp, ends + 1 - tp, score[order][ends]


def tie_groups(score: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order from the highest score down, and where the last row of each distinct score stands."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def roc_curve(y: ArrayLike, score: ArrayLike) -> tuple[Array, Array]:
    """Return false and true positive rate from (0, 0) to (1, 1), one point a distinct score.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class.

    Returns
    -------
    fpr, tpr : ndarray of float64
        NaN throughout where the rate is undefined.
    """
    tp, fp, _ = cumulative_counts(y, score)
    return divide(np.append(0, fp), fp[-1]), divide(np.append(0, tp), tp[-1])


def pr_curve(y: ArrayLike, score: ArrayLike) -> tuple[Array, Array]:
    """Return recall and precision, one point a distinct score from the highest down.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class.

    Returns
    -------
    recall, precision : ndarray of float64
        Recall is NaN throughout without positives.
    """
    tp, fp, _ = cumulative_counts(y, score)
    return divide(tp, tp[-1]), divide(tp, tp + fp)


def ranking(y: ArrayLike, p: ArrayLike) -> dict[str, Array]:
    """Return AUROC and average precision of each class against the rest.

    Parameters
    ----------
    y : array_like of bool, shape (n, n_classes)
        Labels.
    p : array_like of float, shape (n, n_classes)
        Probabilities.
    """
    pairs = list(zip(np.asarray(y).T, np.asarray(p).T, strict=True))
    return {
        "auroc": np.array([auroc(*pair) for pair in pairs]),
        "auprc": np.array([average_precision(*pair) for pair in pairs]),
    }


def macro(values: Array, included: NDArray[np.bool_]) -> Array:
    """Return the plain mean over the included classes; NaN where one of them is, or there are none.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_classes)
        One metric.
    included : ndarray of bool, shape (n_classes,)
        The classes to average, from `defined_classes`.
    """
    if not included.any():
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values[..., included].mean(axis=-1))


def weighted(values: Array, support: Array, included: NDArray[np.bool_]) -> Array:
    """Return the mean over the included classes, each weighted by the rows that have it.

    Parameters
    ----------
    values, support : ndarray of float64, shape (..., n_classes)
        One metric, and the rows that have each class.
    included : ndarray of bool, shape (n_classes,)
        The classes to average.
    """
    weight = support * included
    return divide(np.where(weight > 0, values * weight, 0).sum(axis=-1), weight.sum(axis=-1))


def micro(counts: Counts, included: NDArray[np.bool_]) -> dict[str, Array]:
    """Return the rates of the counts pooled over the included classes.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (..., n_classes).
    included : ndarray of bool, shape (n_classes,)
        The classes to pool.
    """
    return rates(Counts(*(cell[..., included].sum(axis=-1) for cell in counts)))


def exact_match(y: ArrayLike, predicted: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows have all labels right.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        Labels and predictions.
    """
    return np.asarray((np.asarray(y) == np.asarray(predicted)).all(axis=1), dtype=bool)


def why_undefined(metric: str, counts: Counts) -> list[str]:
    """Return for each class why a metric is undefined, an empty string where it is defined.

    Parameters
    ----------
    metric : str
        A key of ``METRICS``.
    counts : Counts
        Arrays of shape (n_classes,).
    """
    tp, fp, fn, tn = counts
    no_positive, no_negative = tp + fn == 0, tn + fp == 0
    causes: dict[str, list[tuple[Any, str]]] = {
        "sensitivity": [(no_positive, "no row has this class")],
        "specificity": [(no_negative, "every row has this class")],
        "precision": [(tp + fp == 0, "never predicted")],
        "npv": [(tn + fn == 0, "predicted for every row")],
        "f1": [(tp + fp + fn == 0, "neither present nor predicted")],
        "accuracy": [],
        "auroc": [(no_positive, "no row has this class"), (no_negative, "every row has this class")],
        "auprc": [(no_positive, "no row has this class")],
    }
    reasons = [""] * len(tp)
    for mask, text in causes[metric]:
        reasons = [text if hit else reason for hit, reason in zip(mask, reasons, strict=True)]
    return reasons
