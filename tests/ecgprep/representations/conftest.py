"""Rows that the tests draw: synthetic ones, and real ones where there are any."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest


def synthetic_counts(n_rows: int, n_samples: int, fs_hz: float, seed: int = 0) -> np.ndarray:
    """Beat-like bumps on a wandering baseline with noise, as int16 counts of 1 µV."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / fs_hz
    rows = []
    for _ in range(n_rows):
        beats_s = np.arange(rng.uniform(0.1, 0.5), time_s[-1] + 1, rng.uniform(0.6, 1.1))
        bumps = sum(
            height * np.exp(-(((time_s[:, None] - beats_s - delay_s) / width_s) ** 2)).sum(axis=1)
            for height, delay_s, width_s in ((0.12, -0.16, 0.03), (1.1, 0.0, 0.012), (0.3, 0.28, 0.06))
        )
        rows.append(bumps + 0.2 * np.sin(2 * np.pi * 0.3 * time_s) + 0.01 * rng.normal(size=n_samples))
    return np.rint(np.array(rows) * 1000).astype(np.int16)


@pytest.fixture(scope="session")
def record_counts() -> np.ndarray:
    """Shape (2 records, 3 leads, 1000 samples) at 100 Hz."""
    return synthetic_counts(6, 1000, 100.0).reshape(2, 3, 1000)


@pytest.fixture(scope="session")
def beat_counts() -> np.ndarray:
    """Shape (4 beats, 1 lead, 186 samples) at 360 Hz."""
    return synthetic_counts(4, 186, 360.0, seed=1)[:, None]


@pytest.fixture(scope="session")
def real_record_counts(real_data: Path) -> np.ndarray:
    """Leads II, V1 and V5 of four PTB-XL records at 100 Hz, shape (4, 3, 1000)."""
    signals = sorted((real_data / "ptb-xl" / "records100").glob("*/*_lr.dat"))[:4]
    return np.array([np.fromfile(signal, "<i2").reshape(1000, 12).T[[1, 6, 10]] for signal in signals])


@pytest.fixture(scope="session")
def real_beat_counts(real_data: Path) -> np.ndarray:
    """Eight beats of MIT-BIH records 100 and 208, 186 samples around R, shape (8, 1, 186)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb uses what pandas deprecates
        import wfdb

        beats = []
        for name in ("100", "208"):
            path = str(real_data / "mitdb" / name)
            signal = wfdb.rdrecord(path, channels=[0], sampto=20000).p_signal[:, 0]
            peaks = wfdb.rdann(path, "atr", sampto=15000).sample[3:7]
            beats += [signal[peak - 93 : peak + 93] for peak in peaks]
    return np.rint(np.array(beats) * 1000).astype(np.int16)[:, None]
