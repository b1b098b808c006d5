"""DeLong's test of two areas under the ROC curve on the same rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ecgeval.metrics import Array, mid_ranks


class DeLong(NamedTuple):
    """Two areas, their standard errors, and the test of their difference."""

    auroc_a: float
    auroc_b: float
    se_a: float
    se_b: float
    difference: float
    se: float
    z: float
    p: float


def delong(y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> DeLong:
    """Return DeLong's test of AUROC(b) − AUROC(a).

    It takes rows as independent: use it only where each patient has one row, and the bootstrap otherwise.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score_a, score_b : array_like of float, shape (n,)
        Scores of two models for the same rows.

    Returns
    -------
    DeLong
        NaN where there are not at least two rows on each side; ``p`` is 1 where the scores rank alike.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating
    characteristic curves. Biometrics 44 (1988). The components come from mid-ranks, as in Sun X, Xu W. Fast
    implementation of DeLong's algorithm. IEEE Signal Processing Letters 21 (2014).
    """
    y = np.asarray(y, dtype=bool)
    if min(y.sum(), (~y).sum()) < 2:
        return DeLong(*[math.nan] * 8)
    of_positives, of_negatives = zip(*(components(y, score) for score in (score_a, score_b)), strict=True)
    covariance = np.cov(of_positives) / y.sum() + np.cov(of_negatives) / (~y).sum()
    area_a, area_b = (float(v.mean()) for v in of_positives)
    se = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    difference = area_b - area_a
    z = difference / se if se > 1e-12 else 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
    se_a, se_b = (math.sqrt(v) for v in covariance.diagonal())
    return DeLong(area_a, area_b, se_a, se_b, difference, se, z, math.erfc(abs(z) / math.sqrt(2)))


def components(y: ArrayLike, score: ArrayLike) -> tuple[Array, Array]:
    """Return for each positive the share of negatives below it, and for each negative that of positives above it.

    Parameters
    ----------
    y : array_like of bool, shape (n,)
        Which rows have the class.
    score : array_like of float, shape (n,)
        Higher for the class; ties count half.
    """
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=np.float64)
    ranks = mid_ranks(score)
    of_positives = (ranks[y] - mid_ranks(score[y])) / (~y).sum()
    of_negatives = 1 - (ranks[~y] - mid_ranks(score[~y])) / y.sum()
    return of_positives, of_negatives
