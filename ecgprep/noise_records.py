"""Recorded noise of the MIT-BIH Noise Stress Test Database, by a word that a recipe can hold: ``ma@6``.

The noise record is added from the first sample to the last, at the ratio that `ecgprep.noise` defines, so that a model
can be tested at falling ratios. Where in the noise record each recording starts follows from the recording's name.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgprep.noise import add_noise
from ecgprep.records import read_record
from ecgprep.resample import resample
from store.errors import MissingDataError, RecordError, UnknownNameError, UserError

FOLDER = "nstdb"
NOISE_RECORDS = ("bw", "em", "ma")  # baseline wander, electrode motion, muscle
LOWEST_SNR_DB, HIGHEST_SNR_DB = -30.0, 60.0


class RecordedNoise(NamedTuple):
    """A noise record, and the ratio of the signal to it in dB."""

    record: str
    snr_db: float


def parse_noise(text: str) -> RecordedNoise:
    """Return what ``ma@6`` names: a noise record and a signal-to-noise ratio in dB.

    Raises
    ------
    UnknownNameError
        If there is no such noise record.
    UserError
        If the ratio is no number within reason.
    """
    record, _, ratio = text.partition("@")
    if record not in NOISE_RECORDS:
        raise UnknownNameError("noise record", record, NOISE_RECORDS, "Write ma@6: the record, and the ratio in dB.")
    try:
        snr_db = float(ratio)
    except ValueError:
        snr_db = math.nan
    if not LOWEST_SNR_DB <= snr_db <= HIGHEST_SNR_DB:
        range_db = f"{LOWEST_SNR_DB:g} to {HIGHEST_SNR_DB:g} dB"
        raise UserError(f"--noise {text}: {ratio!r} is no signal-to-noise ratio from {range_db}; write ma@6")
    return RecordedNoise(record, snr_db)


def check_noise_is_here(noise: RecordedNoise, beside: Path) -> None:
    """Refuse to start without the noise record.

    Parameters
    ----------
    noise : RecordedNoise
        What is to be added.
    beside : Path
        A database's folder; the noise lies beside it.

    Raises
    ------
    MissingDataError
        If it is not there.
    """
    header = beside.parent / FOLDER / f"{noise.record}.hea"
    if not header.is_file():
        raise MissingDataError(
            f"{header} is missing: --noise adds a record of the MIT-BIH Noise Stress Test Database, whose folder "
            f"{FOLDER}/ lies beside {beside.name}/; get it by `ecgprep download nstdb`"
        )


def add_recorded_noise(
    signal_mv: NDArray[np.float64],
    noise: RecordedNoise,
    beside: Path,
    r_peaks: NDArray[np.int64],
    fs_hz: float,
    name: str,
) -> NDArray[np.float64]:
    """Add a noise record to a recording, all of it, each lead scaled for itself.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        The clean recording in mV.
    noise : RecordedNoise
        What to add, and how much.
    beside : Path
        The recording's database folder; the noise lies beside it.
    r_peaks : ndarray of int64
        R peaks of the recording at `fs_hz`, for the height of its QRS complexes.
    fs_hz : float
        Sampling rate of the recording.
    name : str
        The recording's name, which decides where the noise starts.

    Returns
    -------
    ndarray of float64, shape (n_leads, n_samples)

    Raises
    ------
    RecordError
        If the noise cannot be read, or the recording has no QRS complex to scale it by.
    """
    recorded = _read_noise(beside.parent / FOLDER / noise.record, fs_hz)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % recorded.shape[1]
    try:
        return add_noise(signal_mv, recorded, noise.snr_db, r_peaks, fs_hz, start_s=0.0, period_s=math.inf, first=first)
    except ValueError as error:
        raise RecordError("noise", str(error)) from error


@lru_cache(maxsize=1)
def _read_noise(path: Path, fs_hz: float) -> NDArray[np.float64]:
    record = read_record(path)
    return resample(record.signal_mv, record.fs_hz, fs_hz)
