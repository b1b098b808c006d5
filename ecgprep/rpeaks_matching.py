"""Matching detected R peaks with reference beats, as the field's standard counts them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MATCH_S = 0.15


def match_r_peaks(
    found: NDArray[np.int64], reference: NDArray[np.int64], fs_hz: float, within_s: float = MATCH_S
) -> NDArray[np.int64]:
    """Pair detected with reference beats, one to one, the nearest first.

    Parameters
    ----------
    found, reference : ndarray of int64
        Sample numbers, ascending.
    fs_hz : float
        Sampling rate of both.
    within_s : float
        Two beats match if they are no further apart than this.

    Returns
    -------
    ndarray of int64, shape (n_pairs, 2)
        Positions in `found` and in `reference`, ascending. What is not named is a false detection or a missed beat.

    References
    ----------
    .. [1] ANSI/AAMI EC57: a window of 150 ms.
    """
    width = within_s * fs_hz
    first = np.searchsorted(reference, found - width)
    n_near = np.searchsorted(reference, found + width, side="right") - first
    i = np.repeat(np.arange(len(found)), n_near)
    j = np.arange(len(i)) - np.repeat(np.cumsum(n_near) - n_near, n_near) + np.repeat(first, n_near)
    nearest_first = np.argsort(np.abs(found[i] - reference[j]), kind="stable")
    taken: dict[int, int] = {}
    matched: set[int] = set()
    for own, other in zip(i[nearest_first].tolist(), j[nearest_first].tolist(), strict=True):
        if own not in taken and other not in matched:
            taken[own] = other
            matched.add(other)
    return np.array(sorted(taken.items()), dtype=np.int64).reshape(-1, 2)
