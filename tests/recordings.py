"""Tiny recordings in the file layouts of MIT-BIH and PTB-XL, written by wfdb, for tests to read, build and damage."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

STANDARD_LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
MITDB_LEADS = {"102": ("V5", "V2"), "104": ("V5", "V2"), "114": ("V5", "MLII")}
MITDB_NAMES = ("100", "101", "102", "114", "118", "201", "202", "207", "208", "209", "210", "212")
SYMBOLS = ("N", "N", "V", "N", "A", "N", "F", "N", "L", "/")
SCP_CODES = (
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 50.0, "SR": 0.0},
    {"NDT": 0.0},
    {"CLBBB": 100.0, "IMI": 15.0},
    {"LVH": 80.0},
    {"SR": 0.0},
)


def make_signal_mv(
    generator: np.random.Generator, peaks: np.ndarray, fs_hz: float, shape: tuple[int, int]
) -> np.ndarray:
    """Return (n_leads, n_samples) mV: an R wave and a T wave at each peak, a baseline, and noise."""
    t = np.arange(shape[1])[None, :]
    signal = np.zeros(shape[1])
    for peak in peaks:
        near = slice(max(int(peak - fs_hz), 0), int(peak + fs_hz))
        x = (t[0, near] - peak) / fs_hz
        signal[near] += np.exp(-((x / 0.012) ** 2)) + 0.25 * np.exp(-(((x - 0.25) / 0.05) ** 2))
    gains = generator.uniform(0.5, 1.5, (shape[0], 1))
    wander = 0.1 * np.sin(2 * np.pi * 0.3 * t / fs_hz)
    return gains * signal + wander + generator.normal(0, 0.01, shape)


def write_mitdb(
    folder: Path,
    names: Sequence[str] = MITDB_NAMES,
    seconds: float = 30.0,
    leads: Mapping[str, Sequence[str]] = MITDB_LEADS,
    seed: int = 0,
) -> Path:
    """Write ``folder/mitdb`` with two-lead records at 360 Hz and their beat annotations; return that folder."""
    place = folder / "mitdb"
    place.mkdir(parents=True)
    for name in names:
        generator = np.random.default_rng([seed, int(name)])
        peaks = np.cumsum(generator.integers(220, 420, int(seconds * 1.7))) - 180
        peaks = peaks[peaks < seconds * 360 - 1]
        signal_mv = make_signal_mv(generator, peaks, 360.0, (2, int(seconds * 360)))
        write_mitdb_record(place, name, signal_mv, leads.get(name, ("MLII", "V1")))
        symbols = [SYMBOLS[(i + int(name)) % len(SYMBOLS)] for i in range(len(peaks))]
        write_beats(place, name, [18, *peaks], ["+", *symbols])
    return place


def write_mitdb_record(place: Path, name: str, signal_mv: np.ndarray, leads: Sequence[str], **header: Any) -> None:
    """Write one record in MIT-BIH's format: 212, gain 200, baseline 1024."""
    n_leads = len(signal_mv)
    counts = np.rint(signal_mv.T * 200).astype(np.int64) + 1024
    facts: dict[str, Any] = {
        "fs": 360,
        "units": ["mV"] * n_leads,
        "sig_name": list(leads),
        "d_signal": np.clip(counts, -2047, 2047),
        "fmt": ["212"] * n_leads,
        "adc_gain": [200.0] * n_leads,
        "baseline": [1024] * n_leads,
        "comments": ["69 M 1085 1629 x1"],
        "write_dir": str(place),
    }
    wfdb.wrsamp(name, **{**facts, **header})


def write_beats(place: Path, name: str, samples: Sequence[int], symbols: Sequence[str]) -> None:
    """Write a record's annotation file."""
    order = np.argsort(np.asarray(samples), kind="stable")
    wfdb.wrann(
        name,
        "atr",
        np.asarray(samples, dtype=np.int64)[order],
        [symbols[i] for i in order],
        write_dir=str(place),
    )


def write_ptbxl(
    folder: Path, n_records: int = 24, rates_hz: Sequence[int] = (100,), n_rows: int | None = None, seed: int = 0
) -> Path:
    """Write ``folder/ptb-xl`` with twelve-lead records of 10 s and the table; return that folder.

    The table has `n_rows` rows (by default one a record), two records a patient and the patient in one fold.
    """
    place = folder / "ptb-xl"
    place.mkdir(parents=True)
    rows = []
    for number in range(1, (n_rows or n_records) + 1):
        patient = (number - 1) // 2
        files = {rate: f"records{rate}/00000/{number:05d}_{'lr' if rate == 100 else 'hr'}" for rate in (100, 500)}
        rows.append(
            {
                "ecg_id": number,
                "patient_id": f"{1000 + patient}.0",
                "age": 30.0 + patient % 60,
                "sex": patient % 2,
                "scp_codes": str(SCP_CODES[number % len(SCP_CODES)]),
                "strat_fold": 1 + patient % 10,
                "filename_lr": files[100],
                "filename_hr": files[500],
            }
        )
        for rate in rates_hz if number <= n_records else ():
            write_ptbxl_record(place / files[rate], rate, np.random.default_rng([seed, number]))
    write_table(place / "ptbxl_database.csv", rows)
    return place


def write_ptbxl_record(path: Path, rate: int, generator: np.random.Generator, **header: Any) -> None:
    """Write one record in PTB-XL's format: 16, gain 1000, baseline 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    peaks = np.arange(0.4, 10, generator.uniform(0.6, 1.1)) * rate
    signal_mv = make_signal_mv(generator, peaks, float(rate), (12, 10 * rate))
    facts: dict[str, Any] = {
        "fs": rate,
        "units": ["mV"] * 12,
        "sig_name": list(STANDARD_LEADS),
        "d_signal": np.rint(signal_mv.T * 1000).astype(np.int64),
        "fmt": ["16"] * 12,
        "adc_gain": [1000.0] * 12,
        "baseline": [0] * 12,
        "write_dir": str(path.parent),
    }
    wfdb.wrsamp(path.name, **{**facts, **header})


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write PTB-XL's table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
