"""Two models on the same rows: the difference of a figure, McNemar's test, and Holm's correction."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ecgeval.metrics import Array
from ecgeval.statistics.bootstrap import percentile_interval

ALPHA = 0.05
Verdict = Literal["better", "worse", "not distinguishable"]


class Difference(NamedTuple):
    """A difference with its 95 % interval, its p value, and the resamples in which it is undefined."""

    value: float
    low: float
    high: float
    p: float
    undefined_resamples: int


class McNemar(NamedTuple):
    """Rows that only one of two models has right, and the exact p value."""

    only_a: int
    only_b: int
    p: float


def paired_difference(value_a: float, value_b: float, resampled_a: Array, resampled_b: Array) -> Difference:
    """Return b − a with its interval from resamples of the same patients.

    Parameters
    ----------
    value_a, value_b : float
        A figure of two models.
    resampled_a, resampled_b : ndarray of float64, shape (n_resamples,)
        The same figures in the same resamples, NaN where undefined; empty without resamples.

    Returns
    -------
    Difference
        ``p = 2 min(share ≤ 0, share ≥ 0)``; 0 says that it is below 2 / n_resamples. All but the value are NaN
        without resamples.
    """
    differences = np.asarray(resampled_b) - np.asarray(resampled_a)
    low, high, undefined = percentile_interval(differences)
    defined = differences[~np.isnan(differences)]
    p = math.nan
    if len(defined):
        p = min(1.0, 2 * float(min((defined <= 0).mean(), (defined >= 0).mean())))
    return Difference(value_b - value_a, low, high, p, undefined)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> McNemar:
    """Return McNemar's exact test of two models' accuracy on the same rows.

    Parameters
    ----------
    right_a, right_b : array_like of bool, shape (n,)
        Which rows each model has right.

    References
    ----------
    McNemar Q. Note on the sampling error of the difference between correlated proportions. Psychometrika 12 (1947);
    exact, from the binomial distribution of the rows on which the two disagree.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p)


def holm(p: ArrayLike) -> Array:
    """Return p values corrected for being several, by Holm's step-down method; NaN stays and counts for none.

    Parameters
    ----------
    p : array_like of float, shape (n,)
        Uncorrected values.

    References
    ----------
    Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(values.shape, np.nan)
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * steps)) if len(order) else 0
    return corrected


def verdict(difference: Difference, p: float | None = None) -> Verdict:
    """Return what a difference says in words.

    Parameters
    ----------
    difference : Difference
        Of the second model to the first.
    p : float, optional
        Its p value corrected for several comparisons; its own by default.
    """
    corrected = difference.p if p is None else p
    if math.isnan(difference.low) or difference.low <= 0 <= difference.high or not corrected <= ALPHA:
        return "not distinguishable"
    return "better" if difference.value > 0 else "worse"
