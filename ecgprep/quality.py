"""How good a recording is: measures on its beats and its spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BEAT_BAND_HZ = (1.0, 15.0)  # QRS complexes with their T waves; noise in a wider band aligns better with itself
HALF_BEAT_S = 0.2


def beat_similarity(signal_mv: NDArray[np.float64], peaks: NDArray[np.int64], fs_hz: float) -> NDArray[np.float64]:
    """Return how much the beats of each lead look alike: near 1 in a clean recording, 0 in noise.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage, without gaps.
    peaks : ndarray of int64
        R peaks.
    fs_hz : float
        Sampling rate.

    Returns
    -------
    ndarray, shape (n_leads,)
        Median correlation of a beat (R ± 0.2 s, 1 to 15 Hz) with the median beat; 0 with fewer than three.

    References
    ----------
    .. [1] Orphanidou et al., Signal-quality indices for the electrocardiogram and photoplethysmogram, IEEE J. Biomed.
       Health Inform. 19(3):832-838, 2015: mean correlation with the mean beat. Ours takes medians, which one ectopic
       beat in three does not move, and a window that does not depend on the rate.
    """
    from scipy.signal import butter, sosfiltfilt

    half = round(HALF_BEAT_S * fs_hz)
    inside = peaks[(peaks >= half) & (peaks < signal_mv.shape[1] - half)]
    if len(inside) < 3:
        return np.zeros(len(signal_mv))
    high_hz = min(BEAT_BAND_HZ[1], 0.4 * fs_hz)
    sections = butter(2, (BEAT_BAND_HZ[0], high_hz), "bandpass", fs=fs_hz, output="sos")
    band = sosfiltfilt(sections, signal_mv, padlen=min(round(fs_hz), signal_mv.shape[1] - 1))
    beats = _unit(band[:, inside[:, None] + np.arange(-half, half + 1)])
    typical = _unit(np.median(beats, axis=1, keepdims=True))
    similarity: NDArray[np.float64] = np.median((beats * typical).sum(axis=-1), axis=1)
    return similarity


def _unit(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return waves without their mean, of norm 1; a flat one is 0."""
    centred = waves - waves.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = centred / np.where(norm > 0, norm, 1)
    return unit
