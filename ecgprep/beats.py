"""Cutting beats: the field's presets by name, and the windows that they give.

"A beat of 186 samples" means two things in the literature; the presets keep them apart.

References
----------
.. [1] Kachuee, Fazeli, Sarrafzadeh, ECG heartbeat classification: a deep transferable representation, ICHI 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KACHUEE_WINDOW_S = 10.0
KACHUEE_STRETCH = 1.2


@dataclass(frozen=True)
class BeatPreset:
    """One way to cut a beat around its R peak.

    Parameters
    ----------
    name : str
        Its name.
    fs_hz : float
        Sampling rate of the cut.
    n_samples : int
        Length of the cut.
    before : int
        Samples before the R peak; the R peak is sample `before` of the cut.
    padded : bool
        Whether the cut ends at 1.2 median RR intervals and the rest is padding (reference 1).
    """

    name: str
    fs_hz: float
    n_samples: int
    before: int
    padded: bool = False

    def __str__(self) -> str:
        return f"beat:{self.name}"


PRESETS = {
    preset.name: preset
    for preset in (
        BeatPreset("centred186", 360.0, 186, 93),
        BeatPreset("kachuee186", 125.0, 186, 0, padded=True),
        BeatPreset("kachuee187", 125.0, 187, 0, padded=True),
        BeatPreset("c360", 360.0, 360, 90),
        BeatPreset("c216", 360.0, 216, 72),
    )
}


class Windows(NamedTuple):
    """Windows of a record: first sample and valid length of each, and which peaks they belong to."""

    start: NDArray[np.int64]
    valid_n: NDArray[np.int32]
    peak: NDArray[np.int64]


def beat_windows(r_peaks: NDArray[np.int64], n_samples: int, preset: BeatPreset) -> Windows:
    """Return the windows of the beats that lie within the record.

    Parameters
    ----------
    r_peaks : ndarray of int64
        Sample numbers of the R peaks at the preset's rate, ascending.
    n_samples : int
        Length of the record.
    preset : BeatPreset
        How to cut.

    Returns
    -------
    Windows
        ``peak`` is the position in `r_peaks`.
    """
    start = r_peaks - preset.before
    length = _padded_lengths(r_peaks, preset) if preset.padded else np.full(len(r_peaks), preset.n_samples)
    inside = np.flatnonzero((start >= 0) & (start + length <= n_samples))
    return Windows(start[inside], length[inside].astype(np.int32), inside)


def _padded_lengths(r_peaks: NDArray[np.int64], preset: BeatPreset) -> NDArray[np.int64]:
    """Return 1.2 times the median RR interval of the 10 s that a peak lies in, at most the preset's length.

    Ten seconds with fewer than two peaks take the median of the whole record.
    """
    stretch = r_peaks // int(KACHUEE_WINDOW_S * preset.fs_hz)
    record_rr = float(np.median(np.diff(r_peaks))) if len(r_peaks) > 1 else float(preset.n_samples)
    rr = np.empty(len(r_peaks))
    for number in np.unique(stretch):
        inside = np.flatnonzero(stretch == number)
        rr[inside] = np.median(np.diff(r_peaks[inside])) if len(inside) > 1 else record_rr
    return np.clip(np.rint(KACHUEE_STRETCH * rr), 1, preset.n_samples).astype(np.int64)


def cut(
    counts: NDArray[np.int16], start: NDArray[np.int64], valid_n: NDArray[np.int32], n_samples: int
) -> NDArray[np.int16]:
    """Cut windows out of a record; samples beyond a window's valid length are 0.

    Parameters
    ----------
    counts : ndarray of int16, shape (n_leads, n_record_samples)
        The record.
    start : ndarray of int64, shape (n_windows,)
        First sample of each window.
    valid_n : ndarray of int32, shape (n_windows,)
        Samples of each window that come from the record.
    n_samples : int
        Length of the cut.

    Returns
    -------
    ndarray of int16, shape (n_windows, n_leads, n_samples)
    """
    offset = np.arange(n_samples)
    index = np.minimum(start[:, None] + offset, counts.shape[1] - 1)
    rows = counts[:, index].transpose(1, 0, 2)
    rows[~np.broadcast_to((offset < valid_n[:, None])[:, None], rows.shape)] = 0
    return np.ascontiguousarray(rows)


def rr_intervals_s(r_peaks: NDArray[np.int64], fs_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each beat's RR interval to the beat before and to the one after, in seconds; NaN at the ends.

    Parameters
    ----------
    r_peaks : ndarray of int64
        Sample numbers of all beats of a record, ascending.
    fs_hz : float
        Sampling rate that they are counted at.
    """
    rr = np.diff(r_peaks) / fs_hz
    nan = np.full(1 if len(r_peaks) else 0, np.nan)
    return np.concatenate([nan, rr]), np.concatenate([rr, nan])
