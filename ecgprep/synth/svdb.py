"""Synthetic recordings in the file layout of the MIT-BIH Supraventricular Arrhythmia Database (svdb 1.0.0): 128 Hz."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.holter import draw_holter, write_annotations
from store.errors import UserError

FOLDER = "svdb"
FS = 128
GAIN = 200.0
RECORDS = [str(number) for number in (*range(800, 813), *range(820, 830), *range(840, 895))]
SHARES = {"S": 0.10, "V": 0.05, "F": 0.01, "J": 0.01}
SEEN_FROM = ("MLII", "V1")  # the database does not say where its two leads lay
LEAD_NAME, WRITTEN_NAMES = "ECG", ("ECG1", "ECG2")  # both have one name, which wfdb refuses to write
SHORTEST_MINUTES = 0.25


def write_svdb(folder: Path, *, n_minutes: float = 1.0, n_records: int = len(RECORDS), seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the MIT-BIH Supraventricular Arrhythmia Database.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``svdb/`` is made in it.
    n_minutes : float, optional
        Length of each record in minutes.
    n_records : int, optional
        The first so many of the 78 records.
    seed : int, optional
        Same seed, same bytes; a record does not depend on which others are written.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If there are more records than in the database, they are too short, or the folder holds recordings that are
        not synthetic.
    """
    if not 1 <= n_records <= len(RECORDS):
        raise UserError(f"svdb has {len(RECORDS)} records; ask for 1 to {len(RECORDS)}, not {n_records}")
    if n_minutes < SHORTEST_MINUTES:
        raise UserError(f"{n_minutes} minutes a record are too short; ask for {SHORTEST_MINUTES} or more")
    origin = f"ecgprep synth, in the layout of svdb: {n_records} records of {n_minutes:g} minutes, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        for name in RECORDS[:n_records]:
            _write_record(database, name, round(60 * n_minutes * FS), seed)
        (database / "RECORDS").write_text("".join(f"{name}\n" for name in RECORDS[:n_records]), encoding="utf-8")
    return folder / FOLDER


def _write_record(folder: Path, name: str, n_samples: int, seed: int) -> None:
    drawn = draw_holter(
        np.random.default_rng([seed, int(name)]),
        np.random.default_rng([seed, int(name), 1]),
        rhythm="N",
        shares=SHARES,
        leads=SEEN_FROM,
        fs=FS,
        n_samples=n_samples,
    )
    counts = np.rint(GAIN * drawn.signal_mv).clip(-2047, 2047).astype(np.int64)
    write_signal(folder, name, counts, WRITTEN_NAMES, fs=FS, fmt="212", gain=GAIN, resolution_bits=10, zero=0)
    header = folder / f"{name}.hea"
    header.write_text(re.sub("|".join(WRITTEN_NAMES), LEAD_NAME, header.read_text()))
    write_annotations(folder, name, drawn, FS)
