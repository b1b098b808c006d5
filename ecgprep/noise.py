"""Adding recorded noise to a clean recording at a stated signal-to-noise ratio, as WFDB's ``nst`` does.

References
----------
.. [1] Moody, Muldrow, Mark, A noise stress test for arrhythmia detectors, Computers in Cardiology 11:381-384, 1984.
.. [2] WFDB Applications Guide, nst(1) and sigamp(1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QRS_HALF_WINDOW_S = 0.05
NOISE_WINDOW_S = 1.0
N_MEASUREMENTS = 300
TRIMMED_SHARE = 0.05


def add_noise(
    signal_mv: NDArray[np.float64],
    noise_mv: NDArray[np.float64],
    snr_db: float,
    r_peaks: NDArray[np.int64],
    fs_hz: float,
    start_s: float = 300.0,
    period_s: float = 120.0,
    first: int = 0,
) -> NDArray[np.float64]:
    """Add noise to a recording, each lead scaled for itself.

    By default the first five minutes stay clean, then noisy and clean stretches of two minutes alternate. The signal
    has no step where a stretch begins or ends, or the noise starts again: it goes on from the level that it had.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        The clean recording in mV.
    noise_mv : ndarray, shape (n_noise_leads, n_noise_samples)
        Noise at the same rate in any unit; it starts again where it is too short, in time and in leads.
    snr_db : float
        10·log10(S/N): S the power of a sine as high as the QRS complexes, N that of the noise.
    r_peaks : ndarray of int64
        R peaks of the recording, for the height of its QRS complexes.
    fs_hz : float
        Sampling rate of both.
    start_s, period_s : float
        Start of the first noisy stretch, and length of every stretch; infinity for noise up to the end.
    first : int
        The sample of the noise that belongs to the recording's first.

    Returns
    -------
    ndarray of float64, shape (n_leads, n_samples)

    References
    ----------
    .. [1] WFDB Applications Guide, nst(1). It writes whole ADC counts; this does not round.
    """
    n_leads, n_samples = signal_mv.shape
    lead, place = np.arange(n_leads) % len(noise_mv), (first + np.arange(n_samples)) % noise_mv.shape[1]
    noise = noise_mv[:, place]
    gain = np.sqrt(qrs_power_mv2(signal_mv, r_peaks, fs_hz) / noise_power(noise, fs_hz)[lead] / 10 ** (snr_db / 10))
    noise = noise[lead]
    stretch = np.floor_divide(np.arange(n_samples) / fs_hz - start_s, period_s)
    is_noisy = (stretch >= 0) & (stretch % 2 == 0) & (place > 0)
    steps = np.diff(noise, axis=1, prepend=noise[:, :1]) * is_noisy
    noisy: NDArray[np.float64] = signal_mv + gain[:, None] * np.cumsum(steps, axis=1)
    return noisy


def qrs_power_mv2(signal_mv: NDArray[np.float64], r_peaks: NDArray[np.int64], fs_hz: float) -> NDArray[np.float64]:
    """Return each lead's power as ``nst`` defines it, A²/8, A the trimmed mean of QRS peak-to-peak heights.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        The clean recording in mV.
    r_peaks : ndarray of int64
        Its R peaks; the first 300 are measured.
    fs_hz : float
        Sampling rate.

    Raises
    ------
    ValueError
        If no QRS complex lies within the recording.
    """
    half = round(QRS_HALF_WINDOW_S * fs_hz)
    inside = r_peaks[(r_peaks >= half) & (r_peaks < signal_mv.shape[1] - half)][:N_MEASUREMENTS]
    if not len(inside):
        raise ValueError("the recording has no QRS complex to measure its amplitude by")
    heights = np.ptp(signal_mv[:, inside[:, None] + np.arange(-half, half + 1)], axis=-1)
    return _trimmed_mean(heights) ** 2 / 8


def noise_power(noise: NDArray[np.float64], fs_hz: float) -> NDArray[np.float64]:
    """Return each lead's noise power: the square of the trimmed mean of its RMS in windows of a second.

    Parameters
    ----------
    noise : ndarray, shape (n_leads, n_samples)
        Noise in any unit; the first 300 windows are measured, each without its mean.
    fs_hz : float
        Sampling rate.
    """
    width = min(round(NOISE_WINDOW_S * fs_hz), noise.shape[1])
    n_windows = min(noise.shape[1] // width, N_MEASUREMENTS)
    windows = noise[:, : n_windows * width].reshape(len(noise), n_windows, width)
    return _trimmed_mean(windows.std(axis=-1)) ** 2


def _trimmed_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean along the last axis without the largest and the smallest 5 %."""
    n_out = int(TRIMMED_SHARE * values.shape[-1])
    kept: NDArray[np.float64] = np.sort(values, axis=-1)[..., n_out : values.shape[-1] - n_out]
    mean: NDArray[np.float64] = kept.mean(axis=-1)
    return mean
