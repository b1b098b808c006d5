"""R peaks of a recording, by detectors that go by name, and the checks that keep a wrong answer out.

Detectors fail silently: a sample without a value makes some return nothing, noise and clipping make others return
hundreds of beats. So the signal is checked before and the beats after, and a detector of another package runs in a
process that can be killed.
"""

from __future__ import annotations

import atexit

import numpy as np
from numpy.typing import NDArray

from ecgprep.gaps import fill_gaps
from ecgprep.quality import beat_similarity
from ecgprep.rpeaks_multilead import find_by_all_leads
from ecgprep.rpeaks_packages import PACKAGE_DETECTORS
from ecgprep.watchdog import Helper
from store.errors import RecordError, ResourceError, UnknownNameError

DEFAULT_DETECTOR = "multilead"
DETECTORS = (DEFAULT_DETECTOR, *PACKAGE_DETECTORS)
MAX_GAP_S = 0.2
MAX_PAUSE_S = 5.0
MAX_PAUSE_SHARE = 0.1  # a ten-second recording with one pause is over it, a day with a hundred is not
RATE_BPM = (20.0, 300.0)
REFRACTORY_S = 0.2
MAX_SHORT_SHARE = 0.05
MIN_SIMILARITY = 0.45  # beats found in noise: 0.43 at most; in MIT-BIH: 0.68 at least
LIMIT_S = 30.0  # of a detector of another package: the slowest needs 2 s for half an hour
LIMIT_S_PER_MINUTE = 1.0

HELPER = Helper()  # one a process, since starting it takes seconds; it starts with the first call
atexit.register(HELPER.stop)


def find_r_peaks(
    signal_mv: NDArray[np.float64],
    fs_hz: float,
    detector: str = DEFAULT_DETECTOR,
    max_pause_s: float = MAX_PAUSE_S,
) -> NDArray[np.int64]:
    """Find the R peaks of a recording, or say why they cannot be found.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV. ``multilead`` listens to every usable lead, each other detector to the first. Gaps up to 0.2 s
        are filled by a line; no beat is reported in one.
    fs_hz : float
        Sampling rate.
    detector : str
        ``multilead``, ``neurokit``, ``pantompkins``, ``xqrs``, ``gqrs`` or ``sleepecg``.
    max_pause_s : float
        The longest stretch without a beat that counts as found; see `check_r_peaks`.

    Returns
    -------
    ndarray of int64, shape (n_beats,)
        Sample numbers at `fs_hz`, ascending.

    Raises
    ------
    UnknownNameError
        If no detector has this name.
    RecordError
        If no lead can be used, the detector fails or does not end in time, or its beats are not plausible.
    ResourceError
        If no process can be started for a detector of another package.
    """
    if detector not in DETECTORS:
        raise UnknownNameError("R-peak detector", detector, DETECTORS)
    ours = detector == DEFAULT_DETECTOR
    usable_mv, is_gap = _usable_leads(signal_mv if ours else signal_mv[:1], fs_hz)
    peaks = find_by_all_leads(usable_mv, fs_hz) if ours else _find_guarded(detector, usable_mv, fs_hz)
    peaks = peaks[~is_gap[peaks]]
    check_r_peaks(peaks, usable_mv, fs_hz, detector, max_pause_s)
    return peaks


def _usable_leads(signal_mv: NDArray[np.float64], fs_hz: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the leads without faults, their short gaps filled, and the samples that are a gap in all of them."""
    rows, gaps, faults = [], [], []
    for i, row in enumerate(signal_mv):
        try:
            filled, missing = fill_gaps(row[None], [str(i + 1)], fs_hz, MAX_GAP_S)
        except RecordError as error:
            faults.append(error.reason)
            continue
        if np.ptp(filled) == 0:
            faults.append(f"lead {i + 1} is flat")
            continue
        rows.append(filled[0])
        gaps.append(missing[0])
    if not rows:
        raise RecordError("detect", f"no lead to find R peaks in: {'; '.join(faults)}")
    untouched = len(rows) == len(signal_mv) and not np.any(gaps)
    return signal_mv if untouched else np.stack(rows), np.logical_and.reduce(gaps)


def _find_guarded(detector: str, signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    """Run a detector of another package where it can be killed."""
    limit_s = LIMIT_S + LIMIT_S_PER_MINUTE * signal_mv.shape[1] / fs_hz / 60
    try:
        found = np.unique(
            np.asarray(HELPER.call(limit_s, PACKAGE_DETECTORS[detector], signal_mv, fs_hz), dtype=np.int64)
        )
    except TimeoutError as error:
        raise RecordError("detect", f"{detector} did not end within {limit_s:.0f} s and was stopped") from error
    except ResourceError:  # of the machine, not of the record
        raise
    except Exception as error:  # a detector raises whatever an odd signal trips
        message = " ".join(str(error).split())
        raise RecordError("detect", f"{detector} failed: {type(error).__name__}: {message}") from error
    return np.asarray(found[(found >= 0) & (found < signal_mv.shape[1])])


def check_r_peaks(
    peaks: NDArray[np.int64],
    signal_mv: NDArray[np.float64],
    fs_hz: float,
    detector: str,
    max_pause_s: float = MAX_PAUSE_S,
) -> None:
    """Refuse beats that no heart made.

    Parameters
    ----------
    peaks : ndarray of int64
        Sample numbers, ascending.
    signal_mv : ndarray, shape (n_leads, n_samples)
        The recording, without gaps.
    fs_hz : float
        Sampling rate.
    detector : str
        Who found them, for the message.
    max_pause_s : float
        Stretches without a beat that last longer, to the recording's ends too, may be a tenth of it together.

    Raises
    ------
    RecordError
        If there are none, none for too much of the time, too many, many closer than the refractory period, or if they
        do not look alike in any lead.
    """
    if not len(peaks):
        raise RecordError("detect", f"{detector} finds no R peak")
    n_samples = signal_mv.shape[1]
    edges_s = _edges_s(peaks, n_samples, fs_hz)
    stretch_s = np.diff(edges_s)
    paused_s = float(stretch_s[stretch_s > max_pause_s].sum())
    if paused_s > MAX_PAUSE_SHARE * edges_s[-1]:
        longest = int(np.argmax(stretch_s))
        span = f"from {edges_s[longest]:.1f} s to {edges_s[longest + 1]:.1f} s"
        share = f"stretches over {max_pause_s:g} s are {100 * paused_s / edges_s[-1]:.0f} % of the recording"
        raise RecordError("detect", f"{detector} finds no R peak {span}; such {share}")
    rate_bpm = 60 * len(peaks) * fs_hz / n_samples
    if not RATE_BPM[0] <= rate_bpm <= RATE_BPM[1]:
        raise RecordError("detect", f"{detector} finds {rate_bpm:.0f} beats a minute, which no heart makes")
    short = np.diff(peaks) < REFRACTORY_S * fs_hz
    if short.sum() > MAX_SHORT_SHARE * len(peaks):
        raise RecordError(
            "detect", f"{detector}: {100 * short.mean():.0f} % of the beats follow another within {REFRACTORY_S:g} s"
        )
    similarity = float(beat_similarity(signal_mv, peaks, fs_hz).max())
    if similarity < MIN_SIMILARITY:
        raise RecordError(
            "detect", f"the beats that {detector} finds do not look alike (similarity {similarity:.2f}): noise"
        )


def beside_pause(
    peaks: NDArray[np.int64], n_samples: int, fs_hz: float, max_pause_s: float = MAX_PAUSE_S
) -> NDArray[np.bool_]:
    """Tell which detected beats border a stretch without any that is too long to be trusted.

    Whether beats were missed there is unknown, and so are the RR intervals of these.

    Parameters
    ----------
    peaks : ndarray of int64
        Sample numbers, ascending.
    n_samples : int
        Length of the recording.
    fs_hz : float
        Sampling rate.
    max_pause_s : float
        The longest stretch that is trusted, to the recording's ends too.
    """
    is_pause = np.diff(_edges_s(peaks, n_samples, fs_hz)) > max_pause_s
    beside: NDArray[np.bool_] = is_pause[:-1] | is_pause[1:]
    return beside


def _edges_s(peaks: NDArray[np.int64], n_samples: int, fs_hz: float) -> NDArray[np.float64]:
    """Return the times of the beats, and of the recording's start and end."""
    edges_s: NDArray[np.float64] = np.concatenate([[0], peaks, [n_samples]]) / fs_hz
    return edges_s
