"""Beat-by-beat statistics as the standard EC57 counts them.

A matrix has the reference beats down (N, S, V, F, Q, and O for a detection without a beat, X for one in a part
that was shut off) and the algorithm's across (n, s, v, f, q, o for a beat that was missed, x for a shutdown).
Given R positions leave O, X, o and x empty.

References
----------
ANSI/AAMI EC57:2012, Testing and reporting performance results of cardiac rhythm and ST segment measurement algorithms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgeval.metrics import Array, divide

BEATS = "NSVFQ"
MATCH_WINDOW_S = 0.150
N, S, V, F, Q, UNMATCHED, SHUT = range(7)


class BeatStatistics(NamedTuple):
    """Counts and rates of one kind of beat, each of shape (...)."""

    tp: Array
    fn: Array
    fp: Array
    tn: Array

    @property
    def sensitivity(self) -> Array:
        """TP / (TP + FN)."""
        return divide(self.tp, self.tp + self.fn)

    @property
    def ppv(self) -> Array:
        """TP / (TP + FP), higher than the plain one-vs-rest figure since some confusions are not counted."""
        return divide(self.tp, self.tp + self.fp)

    @property
    def false_positive_rate(self) -> Array:
        """FP / (FP + TN)."""
        return divide(self.fp, self.fp + self.tn)


def match_beats(reference_s: ArrayLike, detected_s: ArrayLike, window_s: float = MATCH_WINDOW_S) -> NDArray[np.int64]:
    """Return for each reference beat the detection that belongs to it, or −1.

    Parameters
    ----------
    reference_s, detected_s : array_like of float
        Times of the beats, ascending.
    window_s : float
        Greatest distance of a match.

    Returns
    -------
    ndarray of int64, shape (n_reference,)
        One-to-one and in the order of time: a pair is matched unless a neighbour is nearer to one of the two.
    """
    reference, detected = np.asarray(reference_s, dtype=np.float64), np.asarray(detected_s, dtype=np.float64)
    match = np.full(len(reference), -1, dtype=np.int64)
    i = j = 0
    while i < len(reference) and j < len(detected):
        gap = detected[j] - reference[i]
        if gap > window_s:
            i += 1
        elif gap < -window_s:
            j += 1
        elif i + 1 < len(reference) and abs(detected[j] - reference[i + 1]) < abs(gap):
            i += 1
        elif j + 1 < len(detected) and abs(detected[j + 1] - reference[i]) < abs(gap):
            j += 1
        else:
            match[i] = j
            i, j = i + 1, j + 1
    return match


def beat_matrix(
    reference: ArrayLike, algorithm: ArrayLike, match: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the matrix of reference by algorithm.

    Parameters
    ----------
    reference : array_like of int, shape (n_reference,)
        Position of each reference beat's class in ``NSVFQ``.
    algorithm : array_like of int, shape (n_detected,)
        The same of each detection.
    match : ndarray of int64, shape (n_reference,), optional
        From `match_beats`; without it the two are the same beats.

    Returns
    -------
    ndarray of int64, shape (7, 7)
    """
    truth, said = np.asarray(reference, dtype=np.int64), np.asarray(algorithm, dtype=np.int64)
    match = np.arange(len(truth)) if match is None else match
    found = match >= 0
    extra = np.setdiff1d(np.arange(len(said)), match[found])
    matrix = np.zeros((7, 7), dtype=np.int64)
    np.add.at(matrix, (truth[found], said[match[found]]), 1)
    np.add.at(matrix, (truth[~found], np.full((~found).sum(), UNMATCHED)), 1)
    np.add.at(matrix, (np.full(len(extra), UNMATCHED), said[extra]), 1)
    return matrix


def ventricular(matrix: ArrayLike) -> BeatStatistics:
    """Return the statistics of ventricular beats; fusion and unclassifiable beats called v count for nothing.

    Parameters
    ----------
    matrix : array_like, shape (..., 7, 7)
        From `beat_matrix`.
    """
    m = np.asarray(matrix, dtype=np.float64)
    return BeatStatistics(
        tp=m[..., V, V],
        fn=_row(m, V, [N, S, F, Q, UNMATCHED, SHUT]),
        fp=_column(m, V, [N, S, UNMATCHED, SHUT]),
        tn=sum((_row(m, beat, [N, S, F, Q]) for beat in (N, S, F, Q)), start=np.zeros(m.shape[:-2])),
    )


def supraventricular(matrix: ArrayLike) -> BeatStatistics:
    """Return the statistics of supraventricular beats; unclassifiable beats called s count for nothing.

    Parameters
    ----------
    matrix : array_like, shape (..., 7, 7)
        From `beat_matrix`.
    """
    m = np.asarray(matrix, dtype=np.float64)
    return BeatStatistics(
        tp=m[..., S, S],
        fn=_row(m, S, [N, V, F, Q, UNMATCHED, SHUT]),
        fp=_column(m, S, [N, V, F, UNMATCHED, SHUT]),
        tn=sum((_row(m, beat, [N, V, F, Q]) for beat in (N, V, F, Q)), start=np.zeros(m.shape[:-2])),
    )


def detection(matrix: ArrayLike) -> tuple[Array, Array]:
    """Return sensitivity and PPV of beat detection; with given R positions both are 1 and mean nothing.

    Parameters
    ----------
    matrix : array_like, shape (..., 7, 7)
        From `beat_matrix`.
    """
    m = np.asarray(matrix, dtype=np.float64)
    matched = m[..., :UNMATCHED, :UNMATCHED].sum(axis=(-2, -1))
    missed = m[..., :UNMATCHED, UNMATCHED:].sum(axis=(-2, -1))
    extra = m[..., UNMATCHED:, :UNMATCHED].sum(axis=(-2, -1))
    return divide(matched, matched + missed), divide(matched, matched + extra)


def matrices_by_record(
    truth: NDArray[np.int64], said: NDArray[np.int64], record: NDArray[np.integer[Any]], n_records: int
) -> NDArray[np.int64]:
    """Return a matrix for each record, for beats whose positions are given.

    Parameters
    ----------
    truth, said : ndarray of int64, shape (n,)
        Positions in ``NSVFQ``.
    record : ndarray of int, shape (n,)
        Record of each beat, from 0 to ``n_records - 1``.
    n_records : int
        Number of records.

    Returns
    -------
    ndarray of int64, shape (n_records, 7, 7)
    """
    flat = np.bincount((record * 7 + truth) * 7 + said, minlength=n_records * 49)
    return flat.reshape(n_records, 7, 7)


def _row(m: Array, row: int, columns: list[int]) -> Array:
    return np.asarray(m[..., row, columns].sum(axis=-1))


def _column(m: Array, column: int, rows: list[int]) -> Array:
    return np.asarray(m[..., rows, column].sum(axis=-1))
