"""Intervals by resampling patients.

Rows of one patient are not independent, so whole patients are drawn with replacement. A resample is how often
each patient was drawn; every metric is a function of sums over rows weighted by it, so no row is ever copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ecgeval.metrics import Array, Counts, divide, tie_groups

QUANTILES = (2.5, 97.5)
CELLS_AT_ONCE = 2_000_000  # rows × resamples in memory for the ranking metrics: 16 MB an array


def draw_patients(n_patients: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each patient is drawn in each resample, with replacement.

    Parameters
    ----------
    n_patients, n_resamples : int
        Sizes.
    rng : numpy.random.Generator
        Where the draws come from.

    Returns
    -------
    ndarray of float64, shape (n_resamples, n_patients)
        Each row sums to `n_patients`.
    """
    shares = np.full(n_patients, 1 / n_patients)
    return rng.multinomial(n_patients, shares, size=n_resamples).astype(np.float64)


def resample_counts(draws: Array, by_patient: Counts) -> Counts:
    """Return the counts of each resample.

    Parameters
    ----------
    draws : ndarray of float64, shape (n_resamples, n_patients)
        From `draw_patients`.
    by_patient : Counts
        Arrays of shape (n_patients, n_classes).

    Returns
    -------
    Counts
        Arrays of shape (n_resamples, n_classes).
    """
    return Counts(*(draws @ cell for cell in by_patient))


def resample_mean(draws: Array, values: NDArray[np.bool_], patient: NDArray[np.int64]) -> Array:
    """Return the mean of a value of rows in each resample.

    Parameters
    ----------
    draws : ndarray of float64, shape (n_resamples, n_patients)
        From `draw_patients`.
    values : ndarray of bool, shape (n,)
        A value a row.
    patient : ndarray of int64, shape (n,)
        Column of `draws` for each row.
    """
    n_patients = draws.shape[1]
    sums = np.bincount(patient, weights=values, minlength=n_patients)
    return divide(draws @ sums, draws @ np.bincount(patient, minlength=n_patients))


def resample_ranking(draws: Array, y: NDArray[np.bool_], p: Array, patient: NDArray[np.int64]) -> dict[str, Array]:
    """Return AUROC and average precision of each class in each resample.

    Parameters
    ----------
    draws : ndarray of float64, shape (n_resamples, n_patients)
        From `draw_patients`.
    y : ndarray of bool, shape (n, n_classes)
        Labels.
    p : ndarray of float64, shape (n, n_classes)
        Probabilities.
    patient : ndarray of int64, shape (n,)
        Column of `draws` for each row.

    Returns
    -------
    dict of str to ndarray
        ``auroc`` and ``auprc``, each of shape (n_resamples, n_classes); NaN where the class, or for AUROC the
        rest, is absent from the resample.
    """
    shape = (len(draws), y.shape[1])
    result = {"auroc": np.empty(shape), "auprc": np.empty(shape)}
    for column in range(y.shape[1]):
        order, ends = tie_groups(p[:, column])
        positive = y[order, column]
        for part in _parts(len(draws), len(y)):
            weight = draws[part].T[patient[order]]
            areas = _areas(weight, positive, ends)
            result["auroc"][part, column], result["auprc"][part, column] = areas
    return result


def percentile_interval(values: Array) -> tuple[float, float, int]:
    """Return the 2.5 and 97.5 percentiles of a number over resamples, and in how many it is undefined.

    Parameters
    ----------
    values : ndarray of float64, shape (n_resamples,)
        Undefined ones are NaN; they are left out of the percentiles, which are NaN if all are.
    """
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, QUANTILES) if len(defined) else (np.nan, np.nan)
    return float(low), float(high), len(values) - len(defined)


def _areas(weight: Array, positive: NDArray[np.bool_], ends: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return AUROC and average precision under weights of shape (n, n_resamples), rows by falling score."""
    tp = np.cumsum(weight * positive[:, None], axis=0)[ends]
    seen = np.cumsum(weight, axis=0)[ends]
    n_positive, n_negative = tp[-1], seen[-1] - tp[-1]
    gain = np.diff(tp, axis=0, prepend=0)
    precision = np.divide(tp, seen, out=np.zeros_like(tp), where=seen > 0)
    above_or_tied = seen - tp
    above = above_or_tied - np.diff(above_or_tied, axis=0, prepend=0) / 2  # a tie counts half
    auprc = divide(np.einsum("ij,ij->j", gain, precision), n_positive)
    concordant = n_positive * n_negative - np.einsum("ij,ij->j", gain, above)
    return divide(concordant, n_positive * n_negative), auprc


def _parts(n_resamples: int, n_rows: int) -> Iterator[slice]:
    size = max(1, CELLS_AT_ONCE // n_rows)
    for start in range(0, n_resamples, size):
        yield slice(start, start + size)
