"""Synthetic recordings in the file layout of the MIT-BIH Noise Stress Test Database (nstdb 1.0.0).

Two clean recordings are those that `ecgprep.synth.mitdb` draws as 118 and 119; each is written with electrode-motion
noise at six ratios. The three noise records hold baseline wander, electrode motion and muscle noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgprep.noise import add_noise
from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.heart import Floats
from ecgprep.synth.holter import write_annotations
from ecgprep.synth.mitdb import FS, GAIN, RESOLUTION_BITS, ZERO, draw_recording
from store.errors import UserError

FOLDER = "nstdb"
CLEAN_RECORDS = ("118", "119")
SNR_DB = {"24": 24, "18": 18, "12": 12, "06": 6, "00": 0, "_6": -6}
NOISE_LEADS = ("noise1", "noise2")
SHORTEST_MINUTES = 0.5
CLEAN_SHARE = 1 / 6  # of a recording is clean at its start, as five minutes of thirty are
STRETCH_SHARE = 1 / 15  # two minutes of thirty


def write_nstdb(folder: Path, *, n_minutes: float = 3.0, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the MIT-BIH Noise Stress Test Database.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``nstdb/`` is made in it.
    n_minutes : float, optional
        Length of each record; clean and noisy stretches have the shares of it that they have of the real 30 minutes.
    seed : int, optional
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If a record would be too short, or the folder holds recordings that are not synthetic.
    """
    if n_minutes < SHORTEST_MINUTES:
        raise UserError(f"{n_minutes} minutes a record are too short; ask for {SHORTEST_MINUTES} or more")
    n_samples = round(60 * n_minutes * FS)
    noise = {
        kind: draw(n_samples, np.random.default_rng([seed, 7, i])) for i, (kind, draw) in enumerate(NOISES.items())
    }
    origin = f"ecgprep synth, in the layout of nstdb: records of {n_minutes:g} minutes, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        for kind, signal in noise.items():
            _write_noise(database, kind, signal)
        for name in CLEAN_RECORDS:
            _write_noisy_records(database, name, noise["em"], seed)
    return folder / FOLDER


def _write_noisy_records(folder: Path, name: str, noise: Floats, seed: int) -> None:
    drawn = draw_recording(name, noise.shape[1], seed)
    duration_s = noise.shape[1] / FS
    r_peaks = np.rint(drawn.r_s * FS).astype(np.int64)
    for suffix, snr_db in SNR_DB.items():
        noisy_mv = add_noise(
            drawn.signal_mv, noise, snr_db, r_peaks, FS, CLEAN_SHARE * duration_s, STRETCH_SHARE * duration_s
        )
        write_signal(
            folder,
            f"{name}e{suffix}",
            np.clip(np.rint(GAIN * noisy_mv) + ZERO, -32767, 32767).astype(np.int64),
            drawn.leads,
            fs=FS,
            fmt="16",
            gain=GAIN,
            resolution_bits=RESOLUTION_BITS,
            zero=ZERO,
            comments=[f"Created by `nst' from records {name} and em (SNR = {snr_db} dB)"],
        )
        write_annotations(folder, f"{name}e{suffix}", drawn, FS)


def _write_noise(folder: Path, name: str, signal_mv: Floats) -> None:
    """Write a noise record; its header states a gain of 0, which means that it is not calibrated."""
    counts = np.clip(np.rint(GAIN * signal_mv), -2047, 2047).astype(np.int64)
    write_signal(folder, name, counts, NOISE_LEADS, fs=FS, fmt="212", gain=GAIN, resolution_bits=12, zero=0)
    header = folder / f"{name}.hea"
    header.write_text(header.read_text().replace(f" 212 {GAIN}(0)/mV ", " 212 0 "))


def _baseline_wander(n_samples: int, rng: np.random.Generator) -> Floats:
    """Return slow swings of the baseline, below 0.5 Hz."""
    time_s = np.arange(n_samples) / FS
    frequency_hz, phase = rng.uniform(0.02, 0.5, (2, 8, 1)), rng.uniform(0.0, 2.0 * np.pi, (2, 8, 1))
    return np.asarray(0.1 * np.sin(2.0 * np.pi * frequency_hz * time_s + phase).sum(axis=1))


def _electrode_motion(n_samples: int, rng: np.random.Generator) -> Floats:
    """Return jolts of an electrode: steps that decay within half a second, on some baseline wander."""
    from scipy.signal import lfilter

    jolts = (rng.random((2, n_samples)) < 1.5 / FS) * rng.normal(0.0, 0.6, (2, n_samples))
    decay = np.exp(-1.0 / (0.25 * FS))
    decaying: NDArray[np.float64] = lfilter([1.0], [1.0, -decay], jolts)
    return decaying + 0.3 * _baseline_wander(n_samples, rng)


def _muscle_noise(n_samples: int, rng: np.random.Generator) -> Floats:
    """Return noise between 5 and 100 Hz that comes and goes."""
    from scipy.signal import butter, sosfilt

    band = butter(2, (5.0, 100.0), "bandpass", fs=FS, output="sos")
    level = 0.15 * (1.2 + np.sin(2.0 * np.pi * 0.05 * np.arange(n_samples) / FS + rng.uniform(0.0, 6.0, (2, 1))))
    noise: NDArray[np.float64] = level * sosfilt(band, rng.standard_normal((2, n_samples)))
    return noise


NOISES = {"bw": _baseline_wander, "em": _electrode_motion, "ma": _muscle_noise}
