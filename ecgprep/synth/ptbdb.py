"""Synthetic recordings in the file layout of the PTB Diagnostic ECG Database (ptbdb 1.0.0): 15 leads at 1000 Hz."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.findings import anteroseptal_infarction, inferior_infarction
from ecgprep.synth.heart import NORMAL, Beat, left_bundle_branch_block, patient_variant
from ecgprep.synth.twelve_leads import LEADS, draw_leads, draw_r_peaks
from store.errors import UserError

FOLDER = "ptbdb"
FS = 1000
GAIN = 2000.0
RESOLUTION_BITS = 16
FRANK_LEADS = ("Vx", "Vy", "Vz")
SHORTEST_MINUTES = 0.1


class Patient(NamedTuple):
    """Who is recorded: the diagnosis of the header, and what it does to the beat."""

    admission: str
    localization: str
    beat: Beat


def write_ptbdb(folder: Path, *, n_records: int = 40, n_minutes: float = 0.64, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the PTB Diagnostic ECG Database.

    Half of the patients have an infarction, a third are healthy, the others have a bundle branch block; every third
    patient is recorded twice.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``ptbdb/`` is made in it.
    n_records : int, optional
        How many.
    n_minutes : float, optional
        Length of a record; the real ones last half a minute to two minutes, many of them 38.4 or 115.2 s.
    seed : int, optional
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If there is no record, a record would be too short, or the folder holds recordings that are not synthetic.
    """
    if n_records < 1:
        raise UserError(f"{n_records} records: ask for 1 or more")
    if n_minutes < SHORTEST_MINUTES:
        raise UserError(f"{n_minutes} minutes a record are too short; ask for {SHORTEST_MINUTES} or more")
    origin = f"ecgprep synth, in the layout of ptbdb: {n_records} records of {n_minutes:g} minutes, seed {seed}"
    names = []
    with database_folder(folder, FOLDER, origin) as database:
        for number, visit in islice(_visits(), n_records):
            name = f"patient{number:03d}/s{2 * number + visit:04d}_re"
            _write_record(database / name, number, visit, round(60 * n_minutes * FS), seed)
            names.append(name)
        (database / "RECORDS").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder / FOLDER


def _visits() -> Iterator[tuple[int, int]]:
    """Yield the patient's number and how often they came before: every third comes twice."""
    for number in count(1):
        for visit in range(2 if number % 3 == 0 else 1):
            yield number, visit


def _draw_patient(number: int, rng: np.random.Generator) -> Patient:
    beat = patient_variant(NORMAL, rng)
    kinds = (
        Patient("Myocardial infarction", "inferior", inferior_infarction(beat)),
        Patient("Healthy control", "no", beat),
        Patient("Myocardial infarction", "antero-septal", anteroseptal_infarction(beat)),
        Patient("Healthy control", "no", beat),
        Patient("Myocardial infarction", "inferior", inferior_infarction(beat)),
        Patient("Bundle branch block", "no", left_bundle_branch_block(beat)),
    )
    return kinds[number % len(kinds)]


def _write_record(path: Path, number: int, visit: int, n_samples: int, seed: int) -> None:
    person = np.random.default_rng([seed, 3, number])
    age, sex, rate_bpm = person.integers(25, 88), person.choice(["female", "male"]), person.uniform(55.0, 95.0)
    patient = _draw_patient(number, person)
    rng = np.random.default_rng([seed, 4, number, visit])
    r_s = draw_r_peaks(60.0 / rate_bpm, n_samples / FS, False, rng)
    counts = draw_leads(patient.beat, r_s, fs=FS, n_samples=n_samples, gain=GAIN, rng=rng, also=FRANK_LEADS)
    names = (*LEADS, *FRANK_LEADS)
    path.parent.mkdir(exist_ok=True)
    write_signal(
        path.parent,
        path.name,
        np.stack([counts[lead] for lead in names]),
        [lead.lower() for lead in names],
        fs=FS,
        fmt="16",
        gain=GAIN,
        resolution_bits=RESOLUTION_BITS,
        zero=0,
        files=[f"{path.name}.dat"] * len(LEADS) + [f"{path.name}.xyz"] * len(FRANK_LEADS),
        comments=[
            f"age: {age}",
            f"sex: {sex}",
            "ECG date: 01/10/1990",
            "Diagnose:",
            f"Reason for admission: {patient.admission}",
            f"Acute infarction (localization): {patient.localization}",
        ],
    )
