"""Our R-peak detector: the energy of the QRS slopes, summed over all leads by how clearly they show it.

Each lead is brought to one rate and band-passed; the RMS of its slope over a tenth of a second is high on a QRS complex
and low elsewhere. It is divided by its own height on the complexes around, so that gain does not matter, and the leads
are averaged with weights that grow with the distance between complexes and background. Peaks of that average above a
fixed share of its usual height are beats. Each is then moved to the largest deflection of the first lead.

References
----------
.. [1] Pan, Tompkins, A real-time QRS detection algorithm, IEEE Trans. Biomed. Eng. 32(3):230-236, 1985: band-pass,
   slope, energy over a moving window. Ours looks at the whole recording, so thresholds follow past and future.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 125.0
BAND_HZ = (5.0, 25.0)
ENERGY_WINDOW_S = 0.1
BLOCK_S = 2.0
N_BLOCKS = 9
MIN_SHARE = 0.35  # of the usual height of a QRS complex
REFRACTORY_S = 0.25
REFINE_S = 0.08


def find_by_all_leads(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    """Return the R peaks of a recording.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Finite voltages in any unit.
    fs_hz : float
        Sampling rate.
    """
    from scipy.signal import find_peaks

    energy = _slope_energy(signal_mv, fs_hz)
    usual, background = _block_level(energy, np.max), _block_level(energy, np.median)
    tiny = np.finfo(np.float64).tiny
    weight = np.maximum(usual / np.maximum(background, tiny) - 1, 0.1)
    shown = (weight * energy / np.maximum(usual, tiny)).sum(axis=0) / weight.sum(axis=0)
    peaks, _ = find_peaks(shown, height=MIN_SHARE, distance=round(REFRACTORY_S * RATE_HZ))
    return _refine(signal_mv[0], np.rint(peaks * (fs_hz / RATE_HZ)).astype(np.int64), fs_hz)


def _slope_energy(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.float64]:
    """Return the RMS slope of the band of the QRS complex, at `RATE_HZ`."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, resample_poly, sosfiltfilt

    ratio = Fraction(RATE_HZ).limit_denominator(1000) / Fraction(fs_hz).limit_denominator(1000)
    centred = signal_mv - np.median(signal_mv, axis=-1, keepdims=True)  # phases of the filter differ in gain by 1e-4
    slow = resample_poly(centred, ratio.numerator, ratio.denominator, axis=-1, padtype="line")
    band = sosfiltfilt(butter(2, BAND_HZ, "bandpass", fs=RATE_HZ, output="sos"), slow)
    slope = np.gradient(band, axis=-1)
    energy: NDArray[np.float64] = np.sqrt(uniform_filter1d(slope**2, round(ENERGY_WINDOW_S * RATE_HZ), axis=-1))
    return energy


def _block_level(energy: NDArray[np.float64], measure: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return a level that follows `measure` of blocks of two seconds, by its median over nine of them."""
    from scipy.ndimage import median_filter

    n_leads, n_samples = energy.shape
    width = min(round(BLOCK_S * RATE_HZ), n_samples)
    n_blocks = n_samples // width
    blocks = measure(energy[:, : n_blocks * width].reshape(n_leads, n_blocks, width), axis=-1)
    level = median_filter(blocks, (1, min(n_blocks, N_BLOCKS)), mode="reflect")
    centre = (np.arange(n_blocks) + 0.5) * width
    return np.stack([np.interp(np.arange(n_samples), centre, row) for row in level])


def _refine(lead_mv: NDArray[np.float64], peaks: NDArray[np.int64], fs_hz: float) -> NDArray[np.int64]:
    """Move each peak to the largest deflection near it from the level around."""
    half = round(REFINE_S * fs_hz)
    near = (peaks[:, None] + np.arange(-half, half + 1)).clip(0, len(lead_mv) - 1)
    values = lead_mv[near]
    largest = np.abs(values - np.median(values, axis=1, keepdims=True)).argmax(axis=1)
    return np.unique(near[np.arange(len(peaks)), largest])
