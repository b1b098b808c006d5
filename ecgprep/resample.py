"""Changing the sampling rate of whole records, with the annotations that go with them."""

from __future__ import annotations

from fractions import Fraction

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

    ratio = Fraction(fs_to).limit_denominator(1000) / Fraction(fs_from).limit_denominator(1000)
    resampled: NDArray[np.float64] = resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    return resampled


def move_samples(samples: NDArray[np.int64], fs_from: float, fs_to: float, n_samples: int) -> NDArray[np.int64]:
    """Return sample numbers at another rate, to the nearest sample and within the record.

    Parameters
    ----------
    samples : ndarray of int64
        Sample numbers at `fs_from`.
    fs_from, fs_to : float
        Sampling rates in Hz.
    n_samples : int
        Length of the record at `fs_to`.
    """
    moved: NDArray[np.int64] = np.rint(samples * (fs_to / fs_from)).astype(np.int64)
    return moved.clip(0, n_samples - 1)
