"""Synthetic recordings in the file layout of the INCART database (incartdb 1.0.0): twelve leads, 257 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.holter import Recording, draw_holter, write_annotations
from ecgprep.synth.twelve_leads import LEADS, MEASURED
from store.errors import UserError

FOLDER = "incartdb"
FS = 257
N_RECORDS, N_PATIENTS = 75, 32
SHARES = {"V": 0.11, "A": 0.04, "F": 0.02}
RIGHT_BLOCK_EVERY = 8  # one patient in so many has a bundle branch block
SHORTEST_MINUTES = 0.25


def write_incartdb(folder: Path, *, n_minutes: float = 1.0, n_records: int = N_RECORDS, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the St Petersburg INCART 12-lead Arrhythmia Database.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``incartdb/`` is made in it.
    n_minutes : float, optional
        Length of each record in minutes.
    n_records : int, optional
        The first so many of the 75 records; of one patient come two or three.
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
    if not 1 <= n_records <= N_RECORDS:
        raise UserError(f"incartdb has {N_RECORDS} records; ask for 1 to {N_RECORDS}, not {n_records}")
    if n_minutes < SHORTEST_MINUTES:
        raise UserError(f"{n_minutes} minutes a record are too short; ask for {SHORTEST_MINUTES} or more")
    origin = f"ecgprep synth, in the layout of incartdb: {n_records} records of {n_minutes:g} minutes, seed {seed}"
    names = [f"I{number:02d}" for number in range(1, n_records + 1)]
    with database_folder(folder, FOLDER, origin) as database:
        for number, name in enumerate(names, start=1):
            _write_record(database, name, number, round(60 * n_minutes * FS), seed)
        (database / "RECORDS").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder / FOLDER


def _write_record(folder: Path, name: str, number: int, n_samples: int, seed: int) -> None:
    patient = 1 + (number - 1) * N_PATIENTS // N_RECORDS
    drawn = draw_holter(
        np.random.default_rng([seed, 257, patient]),
        np.random.default_rng([seed, 257, number, 1]),
        rhythm="R" if patient % RIGHT_BLOCK_EVERY == 0 else "N",
        shares=SHARES,
        leads=MEASURED,
        fs=FS,
        n_samples=n_samples,
    )
    gain = np.random.default_rng([seed, 257, number, 2]).integers(250, 1100, len(LEADS))
    write_signal(
        folder,
        name,
        _twelve_leads(drawn, gain),
        LEADS,
        fs=FS,
        fmt="16",
        gain=gain.tolist(),
        resolution_bits=16,
        zero=0,
        comments=[f"<age>: {drawn.age} <sex>: {drawn.sex} <diagnoses> none", f"patient {patient}", "PVCs"],
    )
    write_annotations(folder, name, drawn, FS)


def _twelve_leads(drawn: Recording, gain: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts of all leads in the order of the database, each with a gain of its own."""
    mv = dict(zip(drawn.leads, drawn.signal_mv, strict=True))
    one, two = mv["I"], mv["II"]
    mv |= {"III": two - one, "AVR": -(one + two) / 2, "AVL": one - two / 2, "AVF": two - one / 2}
    counts = np.rint(np.stack([mv[lead] for lead in LEADS]) * gain[:, None])
    return counts.clip(-32767, 32767).astype(np.int64)
