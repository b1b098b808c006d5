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
OF_ROWS = {
    "exact": EXACT_MATCH,
    "hamming": Metric("Hamming", "share of right labels over all rows and classes"),
    "kappa": Metric("Kappa", "Cohen's kappa, (p_o - p_e) / (1 - p_e)"),
    "mcc": Metric("MCC", "Matthews correlation of several classes, Gorodkin's R_K"),
    "sample_f1": Metric("Sample-F1", "mean over rows of 2 |labels and predictions| / (|labels| + |predictions|)"),
    "fmax": Metric("Fmax", "greatest F1 of mean precision and mean recall of rows over one threshold for all classes"),
}


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


def count_by_group(y: ArrayLike, predicted: ArrayLike, group: NDArray[np.integer[Any]], n_groups: int) -> Counts:
    """Return the one-vs-rest counts of each class in each group of rows.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        Labels and predictions.
    group : ndarray of int, shape (n,)
        Group of each row, such as its patient, from 0 to ``n_groups - 1``.
    n_groups : int
        Number of groups.

    Returns
    -------
    Counts
        Arrays of shape (n_groups, n_classes).
    """
    cells = 2 * np.asarray(y, dtype=np.int8) + np.asarray(predicted, dtype=np.int8)
    sums = [np.bincount(4 * group + cell, minlength=4 * n_groups).reshape(n_groups, 4) for cell in cells.T]
    tn, fp, fn, tp = np.moveaxis(np.stack(sums, axis=1).astype(np.float64), -1, 0)
    return Counts(tp=tp, fp=fp, fn=fn, tn=tn)


def confusion_matrix(y: ArrayLike, predicted: ArrayLike) -> NDArray[np.int64]:
    """Return the rows of each class (down) by predicted class (across) of a single-label task.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        One-hot labels and predictions.
    """
    label, said = np.asarray(y), np.asarray(predicted)
    n_classes = label.shape[1]
    cells = n_classes * label.argmax(axis=1) + said.argmax(axis=1)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


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


def agreement(counts: Counts) -> dict[str, Array]:
    """Return Cohen's kappa and Gorodkin's R_K of a single-label task, which counts of each class determine.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (..., n_classes), over all classes.

    Returns
    -------
    dict of str to ndarray, shape (...)
        ``kappa`` and ``mcc``; NaN where one class alone is present or predicted and no chance is left.

    References
    ----------
    Gorodkin J. Comparing two K-category assignments by a K-category correlation coefficient. Computational Biology
    and Chemistry 28 (2004).
    """
    right, support, predicted = counts.tp.sum(axis=-1), counts.support, counts.tp + counts.fp
    n = support.sum(axis=-1)
    by_chance = (support * predicted).sum(axis=-1)
    spread = (n**2 - (predicted**2).sum(axis=-1)) * (n**2 - (support**2).sum(axis=-1))
    covariance = right * n - by_chance
    return {"kappa": divide(covariance, n**2 - by_chance), "mcc": divide(covariance, np.sqrt(spread))}


def sample_f1(y: ArrayLike, predicted: ArrayLike) -> Array:
    """Return the F1 of each row over its labels; NaN where it has and is given none.

    Parameters
    ----------
    y, predicted : array_like of bool, shape (n, n_classes)
        Labels and predictions.
    """
    y, predicted = np.asarray(y, dtype=bool), np.asarray(predicted, dtype=bool)
    return divide(2 * (y & predicted).sum(axis=1), y.sum(axis=1) + predicted.sum(axis=1))


def fmax(y: ArrayLike, p: ArrayLike, thresholds: ArrayLike | None = None) -> float:
    """Return the record-centric Fmax: the greatest F1 of mean precision and mean recall over one threshold.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        Labels and probabilities.
    thresholds : array_like of float, optional
        Thresholds tried, by default 0, 0.01, …, 1.

    Returns
    -------
    float
        Precision is averaged over rows with a prediction, recall over all rows that have a label.

    References
    ----------
    Radivojac P et al. A large-scale evaluation of computational protein function prediction. Nature Methods 10 (2013).
    """
    y, p = np.asarray(y, dtype=bool), np.asarray(p)
    n_labels, best = y.sum(axis=1), float("nan")
    for threshold in np.linspace(0, 1, 101) if thresholds is None else np.asarray(thresholds):
        predicted = p >= threshold
        right, n_predicted = (y & predicted).sum(axis=1), predicted.sum(axis=1)
        if not n_predicted.any() or not n_labels.any():
            continue
        precision, recall = np.nanmean(divide(right, n_predicted)), np.nanmean(divide(right, n_labels))
        if precision + recall > 0:
            best = float(np.fmax(best, 2 * precision * recall / (precision + recall)))
    return best


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


def metrics(y: ArrayLike, p: ArrayLike, thresholds: ArrayLike | None = None) -> dict[str, dict[str, Array]]:
    """Return every metric of predictions: of each class, and their averages over the classes where it is defined.

    Parameters
    ----------
    y : array_like of bool, shape (n, n_classes)
        Labels, one-hot or multi-hot.
    p : array_like of float, shape (n, n_classes)
        Probabilities.
    thresholds : array_like, shape () or (n_classes,), optional
        For a multi-label task; without them the most probable class is predicted.

    Returns
    -------
    dict of str to dict of str to ndarray
        ``class`` (each metric of shape (n_classes,)), ``macro``, ``micro``, ``weighted`` and ``rows``.

    Examples
    --------
    >>> metrics([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]])["macro"]["f1"]
    array(1.)
    """
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    predicted = predict_classes(p) if thresholds is None else predict_labels(p, thresholds)
    counts = count(y, predicted)
    per_class = {**rates(counts), **ranking(y, p)}
    every = np.ones(y.shape[1], dtype=bool)
    rows = {"exact": exact_match(y, predicted).mean(), **(agreement(counts) if thresholds is None else {})}
    return {
        "class": per_class,
        "macro": {name: macro(values, ~np.isnan(values)) for name, values in per_class.items()},
        "micro": micro(counts, every),
        "weighted": {name: weighted(v, counts.support, ~np.isnan(v)) for name, v in per_class.items()},
        "rows": {name: np.asarray(value) for name, value in rows.items()},
    }
