"""Synthetic recordings in the file layout of LUDB (ludb 1.0.1): 12 leads, 10 s, waves marked in every lead."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.findings import inverted_t, tall_left_ventricle
from ecgprep.synth.heart import (
    NORMAL,
    Beat,
    Floats,
    left_bundle_branch_block,
    patient_variant,
    wave_times,
    without_p,
)
from ecgprep.synth.twelve_leads import LEADS, draw_leads, draw_r_peaks
from store.errors import UserError

FOLDER = "ludb"
FS = 500
DURATION_S = 10
COUNTS_PER_MV = 1000.0  # what the signals are drawn in, before each lead takes its own gain
LOWEST_GAIN, HIGHEST_GAIN = 700.0, 2400.0
TABLE_HEADER = (
    "ID,Sex,Age,Rhythms,Electric axis of the heart,Conduction abnormalities,Extrasystolies,Hypertrophies,"
    "Cardiac pacing,Ischemia,Non-specific repolarization abnormalities,Other states"
)
AXES = ("normal", "left axis deviation", "vertical", "horizontal")
SYMBOL_OF_WAVE = {"P": "p", "R": "N", "T": "t"}
HALF_WIDTHS_S = {"P": 0.030, "R": 0.045, "T": 0.055}  # from a wave's boundary to its peak


class Rhythm(NamedTuple):
    """A rhythm of the table, with the range of its rate."""

    name: str
    low_bpm: float
    high_bpm: float


RHYTHMS = (
    Rhythm("Sinus rhythm", 62.0, 98.0),
    Rhythm("Sinus bradycardia", 46.0, 58.0),
    Rhythm("Sinus rhythm", 62.0, 98.0),
    Rhythm("Atrial fibrillation", 65.0, 100.0),
    Rhythm("Sinus tachycardia", 101.0, 106.0),
)


def write_ludb(folder: Path, *, n_records: int = 40, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the Lobachevsky University Database.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``ludb/`` is made in it.
    n_records : int, optional
        How many; one a patient.
    seed : int, optional
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If there is no record, or the folder holds recordings that are not synthetic.
    """
    if n_records < 1:
        raise UserError(f"{n_records} records: ask for 1 or more")
    origin = f"ecgprep synth, in the layout of ludb: {n_records} records, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        (database / "data").mkdir()
        lines = [_write_record(database / "data", number, seed) for number in range(1, n_records + 1)]
        with (database / "ludb.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([TABLE_HEADER.split(","), *lines])
        names = [f"data/{number}\n" for number in range(1, n_records + 1)]
        (database / "RECORDS").write_text("".join(names), encoding="utf-8")
    return folder / FOLDER


def _write_record(place: Path, number: int, seed: int) -> list[str]:
    """Write a record's signals and annotations; return its line of the table."""
    rng = np.random.default_rng([seed, 6, number])
    rhythm = RHYTHMS[number % len(RHYTHMS)]
    beat, columns = _draw_beat(number, rng)
    fibrillates = rhythm.name == "Atrial fibrillation"
    beat = without_p(beat) if fibrillates else beat
    r_s = draw_r_peaks(60.0 / rng.uniform(rhythm.low_bpm, rhythm.high_bpm), DURATION_S, fibrillates, rng)
    counts = draw_leads(beat, r_s, fs=FS, n_samples=DURATION_S * FS, gain=COUNTS_PER_MV, rng=rng)
    gains = rng.integers(int(LOWEST_GAIN), int(HIGHEST_GAIN), len(LEADS)).astype(float)
    zeros = rng.integers(-5, 6, len(LEADS))
    signal_mv = np.stack([counts[lead] for lead in LEADS]) / COUNTS_PER_MV
    digital = np.rint(signal_mv * gains[:, None]).astype(np.int64) + zeros[:, None]
    names = [lead.lower() for lead in LEADS]
    age, sex = str(rng.integers(18, 89)), str(rng.choice(["F", "M"]))
    write_signal(
        place,
        str(number),
        digital,
        names,
        fs=FS,
        fmt="16",
        gain=gains.tolist(),
        resolution_bits=16,
        zero=zeros.tolist(),
        comments=[f"<age>: {age}", f"<sex>: {sex}", "<diagnoses>:", f"Rhythm: {rhythm.name}."],
    )
    for name in names:
        _write_waves(place, str(number), name, beat, r_s)
    axis = f"Electric axis of the heart: {AXES[number % len(AXES)]}"
    return [str(number), f"{sex}\n", f"{age}\n", rhythm.name, axis, *columns]


def _draw_beat(number: int, rng: np.random.Generator) -> tuple[Beat, Sequence[str]]:
    """Return a patient's beat, and the table's columns from the conduction abnormalities on."""
    normal = patient_variant(NORMAL, rng)
    findings = (
        (normal, ["", "", "", "", "", "", ""]),
        (tall_left_ventricle(normal), ["", "", "Left ventricular hypertrophy", "", "", "", ""]),
        (left_bundle_branch_block(normal), ["Complete left bundle branch block", "", "", "", "", "", ""]),
        (inverted_t(normal), ["", "", "", "", "Ischemia: lateral wall\nIschemia: inferior wall", "", ""]),
    )
    return findings[int(rng.integers(len(findings)))]


def _write_waves(place: Path, name: str, lead: str, beat: Beat, r_s: Floats) -> None:
    """Write a lead's annotation file: for each wave that lies within the record its onset, peak and offset."""
    from wfdb import wrann

    waves = []
    for wave, symbol in SYMBOL_OF_WAVE.items():
        if wave in beat:
            half = round(HALF_WIDTHS_S[wave] * FS)
            peaks = np.rint(wave_times(beat[wave], r_s) * FS).astype(np.int64).tolist()
            waves += [(peak - half, peak, peak + half, symbol) for peak in peaks]
    marks: list[tuple[int, str]] = []
    for onset, peak, offset, symbol in sorted(waves):
        apart = not marks or onset > marks[-1][0]  # a T wave may run into an early beat
        if apart and onset >= 0 and offset < DURATION_S * FS:
            marks += [(onset, "("), (peak, symbol), (offset, ")")]
    samples, symbols = zip(*marks, strict=True)
    wrann(name, "waves", np.array(samples), list(symbols), write_dir=str(place))
    (place / f"{name}.waves").rename(place / f"{name}.{lead}")  # wfdb writes no extension with a digit, such as v1
