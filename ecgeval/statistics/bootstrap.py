"""Intervals by resampling patients.

Rows of one patient are not independent, so whole patients are drawn with replacement. A resample is how often
each patient was drawn; every metric is a function of sums over rows weighted by it, so no row is ever copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgeval.metrics import Array, Counts, divide

QUANTILES = (2.5, 97.5)
BENCHMARK_QUANTILES = (5.0, 95.0)
CELLS_AT_ONCE = 1_000_000  # patients or scores × resamples in memory: 8 MB an array
MAX_LEVELS = 4096  # distinct scores of positives told apart in resamples; beyond, AUROC moves by less than 1e-4
MAX_REDRAWS = 10_000


def draw_patients(n_patients: int, n_resamples: int, rng: np.random.Generator) -> Array:
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


def draws_in_parts(n_patients: int, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield the draws of `draw_patients` some resamples at a time, so that memory does not grow with them.

    Parameters
    ----------
    n_patients, n_resamples : int
        Sizes.
    seed : int
        Equal seeds and sizes give equal draws, which is what makes two models comparable on the same resamples.
    """
    rng = np.random.default_rng(seed)
    for part in _parts(n_resamples, n_patients):
        yield draw_patients(n_patients, part.stop - part.start, rng)


def draw_records_with_every_class(y: NDArray[np.bool_], n_resamples: int, rng: np.random.Generator) -> Array:
    """Return how often each record is drawn, each resample drawn again until every class is in it.

    Parameters
    ----------
    y : ndarray of bool, shape (n, n_classes)
        Labels, a row a record; every class occurs.
    n_resamples : int
        Resamples.
    rng : numpy.random.Generator
        Where the draws come from.

    Raises
    ------
    ValueError
        If a class does not occur, or is so rare that ten thousand draws in a row miss one.

    References
    ----------
    Strodthoff N et al. Deep learning for ECG analysis: benchmarks and insights from PTB-XL. IEEE JBHI 25 (2021).
    Departure: records are weighted, not copied; the resamples have the same distribution.
    """
    labels = y.astype(np.float64)
    draws = np.empty((n_resamples, len(y)))
    for i in range(n_resamples):
        for _ in range(MAX_REDRAWS):
            draws[i] = draw_patients(len(y), 1, rng)[0]
            if (draws[i] @ labels > 0).all():
                break
        else:
            raise ValueError("a class is too rare to be in every resample")
    return draws


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


def resample_mean(draws: Array, values: ArrayLike, patient: NDArray[np.int64]) -> Array:
    """Return the mean of a value of rows in each resample; rows where it is NaN are left out.

    Parameters
    ----------
    draws : ndarray of float64, shape (n_resamples, n_patients)
        From `draw_patients`.
    values : array_like, shape (n,)
        A value a row.
    patient : ndarray of int64, shape (n,)
        Column of `draws` for each row.
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(numbers)
    n_patients = draws.shape[1]
    sums = np.bincount(patient[known], weights=numbers[known], minlength=n_patients)
    return divide(draws @ sums, draws @ np.bincount(patient[known], minlength=n_patients))


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
    by_class = [RankedClass.of(y[:, c], p[:, c], patient, draws.shape[1]).resample(draws) for c in range(y.shape[1])]
    return {"auroc": np.stack([a for a, _ in by_class], axis=1), "auprc": np.stack([a for _, a in by_class], axis=1)}


class RankedClass:
    """One class's rows, counted by patient at each level of the score: all that its ranking metrics need.

    AUROC and average precision depend on negatives only through how many lie above, and tie with, each score
    of a positive. So the negatives between two such scores share a level, and resampling costs as much as there
    are distinct (level, patient) pairs, not rows.

    Parameters
    ----------
    positives, negatives : sparse matrix, shape (n_levels, n_patients)
        Rows with and without the class, the highest level first.
    """

    def __init__(self, positives: Any, negatives: Any) -> None:
        self.positives, self.negatives = positives, negatives

    @classmethod
    def of(cls, y: NDArray[np.bool_], score: Array, patient: NDArray[np.int64], n_patients: int) -> RankedClass:
        """Return the counts of a class.

        Parameters
        ----------
        y : ndarray of bool, shape (n,)
            Which rows have the class.
        score : ndarray of float64, shape (n,)
            Higher for the class.
        patient : ndarray of int64, shape (n,)
            Patient of each row, from 0 to ``n_patients - 1``.
        n_patients : int
            Number of patients.
        """
        from scipy.sparse import csr_array

        level, n_levels = _levels(y, score)
        counts = []
        for rows in (y, ~y):
            at, n = np.unique(level[rows] * n_patients + patient[rows], return_counts=True)
            counts.append(csr_array((n.astype(float), (at // n_patients, at % n_patients)), (n_levels, n_patients)))
        return cls(*counts)

    def resample(self, draws: Array) -> tuple[Array, Array]:
        """Return AUROC and average precision in each resample, shape (n_resamples,)."""
        parts = _parts(len(draws), self.positives.shape[0])
        areas = [_areas(self.positives @ draws[part].T, self.negatives @ draws[part].T) for part in parts]
        return np.concatenate([a for a, _ in areas]), np.concatenate([a for _, a in areas])


def percentile_interval(values: Array, quantiles: tuple[float, float] = QUANTILES) -> tuple[float, float, int]:
    """Return two percentiles of a number over resamples, and in how many it is undefined.

    Parameters
    ----------
    values : ndarray of float64, shape (n_resamples,)
        Undefined ones are NaN; they are left out of the percentiles, which are NaN if all are.
    quantiles : tuple of float
        The percentiles.
    """
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, quantiles) if len(defined) else (np.nan, np.nan)
    return float(low), float(high), len(values) - len(defined)


def _levels(y: NDArray[np.bool_], score: Array) -> tuple[NDArray[np.int64], int]:
    """Return each row's level, 0 the highest, and how many there are."""
    distinct = np.unique(score[y])
    if len(distinct) > MAX_LEVELS:
        edges = distinct[np.linspace(0, len(distinct) - 1, MAX_LEVELS).astype(int)]
        return MAX_LEVELS - np.searchsorted(edges, score, side="right"), MAX_LEVELS + 1
    below_or_at = np.searchsorted(distinct, score, side="right")
    tied = below_or_at != np.searchsorted(distinct, score, side="left")
    return 2 * (len(distinct) - below_or_at) + tied, 2 * len(distinct) + 2


def _areas(positives: Array, negatives: Array) -> tuple[Array, Array]:
    """Return AUROC and average precision from weights of shape (n_levels, n_resamples), the highest level first."""
    tp, fp = np.cumsum(positives, axis=0), np.cumsum(negatives, axis=0)
    n_positive, n_negative = tp[-1], fp[-1]
    seen = tp + fp
    precision = np.divide(tp, seen, out=np.zeros_like(tp), where=seen > 0)
    auprc = divide(np.einsum("ij,ij->j", positives, precision), n_positive)
    above = fp - negatives / 2  # a tie counts half
    concordant = n_positive * n_negative - np.einsum("ij,ij->j", positives, above)
    return divide(concordant, n_positive * n_negative), auprc


def _parts(n_resamples: int, n_cells: int) -> Iterator[slice]:
    size = max(1, CELLS_AT_ONCE // max(1, n_cells))
    for start in range(0, n_resamples, size):
        yield slice(start, min(start + size, n_resamples))
