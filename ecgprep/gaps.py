"""Samples without a value: short gaps are filled and counted, long ones refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from store.errors import RecordError


def fill_gaps(
    signal_mv: NDArray[np.float64], leads: Sequence[str], fs_hz: float, max_gap_s: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fill short gaps by straight lines.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV; a sample that is NaN or infinite has no value.
    leads : sequence of str
        Names, for the message.
    fs_hz : float
        Sampling rate.
    max_gap_s : float
        The longest gap that is filled.

    Returns
    -------
    filled_mv : ndarray, shape (n_leads, n_samples)
        A gap at an end holds the value beside it.
    is_filled : ndarray of bool, shape (n_leads, n_samples)
        Where it was filled.

    Raises
    ------
    RecordError
        If a lead has a longer gap, or no value at all.
    """
    missing = ~np.isfinite(signal_mv)
    filled = signal_mv.copy() if missing.any() else signal_mv
    for i in np.flatnonzero(missing.any(axis=1)).tolist():
        _check_gaps(missing[i], leads[i], fs_hz, max_gap_s)
        here = np.flatnonzero(~missing[i])
        gaps = np.flatnonzero(missing[i])
        filled[i, gaps] = np.interp(gaps, here, signal_mv[i, here])
    return filled, missing


def _check_gaps(missing: NDArray[np.bool_], lead: str, fs_hz: float, max_gap_s: float) -> None:
    if missing.all():
        raise RecordError("quality", f"lead {lead} has no values")
    edges = np.flatnonzero(np.diff(missing.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    length_s = float(ends[longest] - starts[longest]) / fs_hz
    if length_s > max_gap_s:
        raise RecordError(
            "quality",
            f"lead {lead}: {int(missing.sum())} samples have no value; a gap of {length_s:.2f} s from "
            f"{starts[longest] / fs_hz:.2f} s is too long to fill (up to {max_gap_s:g} s are)",
        )
