"""Changing the sampling rate of whole records, with the annotations that go with them."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def resample(signal: NDArray[np.float64], fs_from: float, fs_to: float) -> NDArray[np.float64]:
    """Resample by a polyphase filter along the last axis.

    The ends are extended by a line, since zeros would ring at both ends of a signal with an offset.

    Parameters
    ----------
    signal : ndarray, shape (..., n_samples)
        Whole records; a cut beat must not be resampled.
    fs_from, fs_to : float
        Sampling rates in Hz.

    Returns
    -------
    ndarray, shape (..., ceil(n_samples * fs_to / fs_from))
    """
    if fs_from == fs_to:
        return signal
    from scipy.signal import resample_poly

    up, down = _ratio(fs_from, fs_to).as_integer_ratio()
    if up == down:  # two clocks that differ by less than anyone can tell, such as 250 and 250.0001 Hz
        return signal
    resampled: NDArray[np.float64] = resample_poly(
        signal, up, down, axis=-1, window=_low_pass(max(up, down)), padtype="line"
    )
    return resampled


def _ratio(fs_from: float, fs_to: float) -> Fraction:
    """Return the samples at one rate for each at another; both rates to a thousandth of a hertz or nearer."""
    return Fraction(fs_to).limit_denominator(1000) / Fraction(fs_from).limit_denominator(1000)


@lru_cache(maxsize=64)  # SciPy would design it anew for each record, which takes longer than a record of ten seconds
def _low_pass(factor: int) -> NDArray[np.float64]:
    """Return SciPy's own filter for a rate that is ``factor`` times the lower one."""
    from scipy.signal import firwin

    window: NDArray[np.float64] = firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))
    return window


def move_samples(
    samples: NDArray[np.int64], fs_from: float, fs_to: float, n_samples: int | None = None
) -> NDArray[np.int64]:
    """Return where the samples of a signal that `resample` changes come to lie, to the nearest sample.

    Parameters
    ----------
    samples : ndarray of int64
        Sample numbers at `fs_from`.
    fs_from, fs_to : float
        Sampling rates in Hz.
    n_samples : int, optional
        Length of the record at `fs_to`, within which they stay; without it, what lies beyond it stays there.
    """
    moved: NDArray[np.int64] = np.rint(samples * float(_ratio(fs_from, fs_to))).astype(np.int64)
    return moved if n_samples is None else moved.clip(0, n_samples - 1)
