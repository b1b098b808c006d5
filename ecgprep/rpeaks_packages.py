"""R-peak detectors of other packages, each on the first lead of a recording.

None checks its input or its answer, and some hang on odd signals: call them through `ecgprep.rpeaks.find_r_peaks`.

References
----------
.. [1] ``neurokit``: Makowski et al., NeuroKit2, Behavior Research Methods 53:1689-1696, 2021.
.. [2] ``pantompkins``: Pan, Tompkins, IEEE Trans. Biomed. Eng. 32(3):230-236, 1985, as neurokit2 has it.
.. [3] ``xqrs`` and ``gqrs``: the WFDB package for Python; gqrs is George Moody's.
.. [4] ``sleepecg``: Brunner, Hofer, SleepECG, J. Open Source Software 8(86):5411, 2023.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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


PACKAGE_DETECTORS: dict[str, Detector] = {
    "neurokit": _neurokit,
    "pantompkins": _pantompkins,
    "xqrs": _xqrs,
    "gqrs": _gqrs,
    "sleepecg": _sleepecg,
}
