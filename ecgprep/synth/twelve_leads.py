"""One beat again and again, as a twelve-lead recorder writes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgprep.synth.heart import Beat, Floats, disturbance, heart_vector, leads_of

LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
MEASURED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def draw_r_peaks(rr_s: float, duration_s: float, irregular: bool, rng: np.random.Generator) -> Floats:
    """Return the times of the R peaks in seconds, a little beyond both ends of the recording.

    Parameters
    ----------
    rr_s, duration_s : float
        Mean RR interval, and length of the recording, in seconds.
    irregular : bool
        Whether the intervals vary as in atrial fibrillation.
    rng : numpy.random.Generator
        Source of the intervals and of the first beat's place.
    """
    n_beats = int(duration_s / rr_s * 2) + 3
    variation = rng.uniform(0.6, 1.5, n_beats) if irregular else 1.0 + 0.02 * rng.standard_normal(n_beats)
    r_s = np.cumsum(rr_s * variation) - rng.uniform(0.5, 1.5) * rr_s
    return np.asarray(r_s[r_s < duration_s + 0.5], dtype=np.float64)


def draw_leads(
    beat: Beat,
    r_s: Floats,
    *,
    fs: int,
    n_samples: int,
    gain: float,
    rng: np.random.Generator,
    also: Sequence[str] = (),
) -> dict[str, NDArray[np.int64]]:
    """Return the converter's counts by lead; the limb leads add up exactly (Einthoven).

    Parameters
    ----------
    beat : Beat
        The beat.
    r_s : ndarray, shape (n_beats,)
        Times of the R peaks in seconds.
    fs, n_samples : int
        Sampling frequency in Hz, and length.
    gain : float
        Counts a mV.
    rng : numpy.random.Generator
        Source of what varies from beat to beat and of the disturbances.
    also : sequence of str, optional
        Leads that are recorded beside the twelve.
    """
    names = (*MEASURED, *also)
    vector = heart_vector([beat] * len(r_s), r_s, fs, n_samples, rng)
    measured = leads_of(vector, names) + disturbance(len(names), n_samples, fs, rng)
    counts = dict(zip(names, np.rint(gain * measured).astype(np.int64), strict=True))
    one, two = counts["I"], counts["II"]
    return counts | {
        "III": two - one,
        "AVR": np.rint(-(one + two) / 2).astype(np.int64),
        "AVL": np.rint(one - two / 2).astype(np.int64),
        "AVF": np.rint(two - one / 2).astype(np.int64),
    }
