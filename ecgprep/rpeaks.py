"""R peaks of a recording, by detectors that go by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecgprep.rpeaks_multilead import find_by_all_leads
from store.errors import RecordError, UnknownNameError

DEFAULT_DETECTOR = "multilead"


def find_r_peaks(signal_mv: NDArray[np.float64], fs_hz: float, detector: str = DEFAULT_DETECTOR) -> NDArray[np.int64]:
    """Find the R peaks of a recording.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV, without gaps. ``multilead`` listens to every lead, each other detector to the first.
    fs_hz : float
        Sampling rate.
    detector : str
        ``multilead``, ``neurokit``, ``pantompkins``, ``xqrs``, ``gqrs`` or ``sleepecg``.

    Returns
    -------
    ndarray of int64, shape (n_beats,)
        Sample numbers at `fs_hz`, ascending.

    Raises
    ------
    UnknownNameError
        If no detector has this name.
    RecordError
        If samples have no value, or no beat is found.
    """
    if detector not in DETECTORS:
        raise UnknownNameError("R-peak detector", detector, DETECTORS)
    if not np.isfinite(signal_mv).all():
        raise RecordError("detect", "samples without a value are in the way of the R-peak detector")
    found = np.unique(np.asarray(DETECTORS[detector](signal_mv, fs_hz), dtype=np.int64))
    peaks: NDArray[np.int64] = found[(found >= 0) & (found < signal_mv.shape[1])]
    if not len(peaks):
        raise RecordError("detect", f"{detector} finds no R peak")
    return peaks


Detector = Callable[[NDArray[np.float64], float], NDArray[np.int64]]


def _neurokit(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    return _by_neurokit2(signal_mv[0], fs_hz, "neurokit")


def _pantompkins(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    return _by_neurokit2(signal_mv[0], fs_hz, "pantompkins1985")


def _by_neurokit2(lead_mv: NDArray[np.float64], fs_hz: float, method: str) -> NDArray[np.int64]:
    import neurokit2

    rate = int(fs_hz) if float(fs_hz).is_integer() else fs_hz
    clean = neurokit2.ecg_clean(lead_mv, sampling_rate=rate, method=method)
    peaks: NDArray[np.int64] = neurokit2.ecg_findpeaks(clean, sampling_rate=rate, method=method)["ECG_R_Peaks"]
    return peaks


def _xqrs(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    from wfdb import processing

    peaks: NDArray[np.int64] = processing.xqrs_detect(signal_mv[0], fs=fs_hz, verbose=False)
    return peaks


def _gqrs(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    from wfdb import processing

    peaks: NDArray[np.int64] = processing.gqrs_detect(signal_mv[0], fs=fs_hz)
    return peaks


def _sleepecg(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    import sleepecg

    peaks: NDArray[np.int64] = sleepecg.detect_heartbeats(np.ascontiguousarray(signal_mv[0]), fs_hz)
    return peaks


DETECTORS: dict[str, Detector] = {
    "multilead": find_by_all_leads,
    "neurokit": _neurokit,
    "pantompkins": _pantompkins,
    "xqrs": _xqrs,
    "gqrs": _gqrs,
    "sleepecg": _sleepecg,
}
