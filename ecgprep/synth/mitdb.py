"""Synthetic recordings in the file layout of the MIT-BIH Arrhythmia Database (mitdb 1.0.0).

Every record holds beats of the AAMI classes N, S, V and F, whatever records are asked for; the four paced
records hold paced beats instead of S and F. The leads of each record, and which records hold the rarer
annotations, are those of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.holter import Recording, draw_holter, write_annotations
from store.errors import UnknownNameError, UserError

FOLDER = "mitdb"
FS = 360
GAIN = 200.0
ZERO = 1024
RESOLUTION_BITS = 11
SHORTEST_MINUTES = 0.25

FIRST_SERIES = (*range(100, 110), *range(111, 120), *range(121, 125))
SECOND_SERIES = (
    *(*range(200, 204), 205, *range(207, 211), *range(212, 216)),
    *(217, *range(219, 224), 228, *range(230, 235)),
)
RECORDS = [str(number) for number in FIRST_SERIES + SECOND_SERIES]
USUAL_LEADS = ("MLII", "V1")
OTHER_LEADS = {
    "100": ("MLII", "V5"),
    "102": ("V5", "V2"),
    "103": ("MLII", "V2"),
    "104": ("V5", "V2"),
    "114": ("V5", "MLII"),
    "117": ("MLII", "V2"),
    "123": ("MLII", "V5"),
    "124": ("MLII", "V4"),
}
SAME_PATIENT = {"202": "201"}

RHYTHM_BEATS = {
    "L": {"109", "111", "207", "214"},
    "R": {"118", "124", "212", "231", "232"},
    "/": {"102", "104", "107", "217"},
}
RARE_BEATS = {
    "a": {"113", "201", "202", "203", "210", "213", "223"},
    "J": {"114", "124", "201", "222", "234"},
    "S": {"208"},
    "j": {"108", "124", "201", "222", "232"},
    "e": {"223"},
    "E": {"207", "210"},
    "Q": {"101", "104", "105", "203", "208", "214"},
    "f": {"102", "104", "217"},
}
NON_BEATS = {
    "~": {"101", "103", "104", "105", "108", "200", "203", "207", "208", "223", "228"},
    "|": {"101", "105", "108", "203", "207", "208", "228"},
    "x": {"108", "118", "201", "219", "231"},
    '"': {"214", "215", "219", "228", "231"},
}
ECTOPIC_SHARE = {"V": 0.09, "A": 0.07, "F": 0.04}
PACED_ECTOPIC_SHARE = {"V": 0.06, "N": 0.06}
RARE_SHARE = 0.025


def write_mitdb(folder: Path, *, n_minutes: float = 1.0, seed: int = 0, records: Sequence[str] | None = None) -> Path:
    """Write synthetic recordings in the layout of the MIT-BIH Arrhythmia Database.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``mitdb/`` is made in it.
    n_minutes : float, optional
        Length of each record in minutes.
    seed : int, optional
        Same seed, same bytes; a record does not depend on which others are written.
    records : sequence of str, optional
        The records to write, all 48 by default.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If a record is not one of the database's, the length is under a quarter of a minute, or the folder
        holds recordings that are not synthetic.
    """
    names = list(RECORDS if records is None else records)
    for name in names:
        if name not in RECORDS:
            raise UnknownNameError("MIT-BIH record", name, RECORDS)
    if n_minutes < SHORTEST_MINUTES:
        raise UserError(f"{n_minutes} minutes a record are too short; ask for {SHORTEST_MINUTES} or more")
    origin = f"ecgprep synth, in the layout of mitdb: {len(names)} records of {n_minutes} minutes, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        for name in names:
            _write_record(database, name, round(60 * n_minutes * FS), seed)
        (database / "RECORDS").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        (database / "ANNOTATORS").write_text("atr\tsynthetic beat, rhythm, and signal quality annotations\n")
    return folder / FOLDER


def _write_record(folder: Path, name: str, n_samples: int, seed: int) -> None:
    drawn = draw_recording(name, n_samples, seed)
    digital = np.clip(np.rint(GAIN * drawn.signal_mv) + ZERO, 0, 2**RESOLUTION_BITS - 1).astype(np.int64)
    write_signal(
        folder,
        name,
        digital,
        drawn.leads,
        fs=FS,
        fmt="212",
        gain=GAIN,
        resolution_bits=RESOLUTION_BITS,
        zero=ZERO,
        comments=[f"{drawn.age} {drawn.sex} 0 0 x1", "None"],
    )
    write_annotations(
        folder, name, drawn, FS, own_marks=[symbol for symbol, names in NON_BEATS.items() if name in names]
    )


def draw_recording(name: str, n_samples: int, seed: int) -> Recording:
    """Return a record of the database before it is written; it does not depend on which others are drawn.

    Parameters
    ----------
    name : str
        One of `RECORDS`.
    n_samples : int
        Length at `FS`.
    seed : int
        Same seed, same recording.
    """
    rhythm = _rhythm_symbol(name)
    shares = dict(PACED_ECTOPIC_SHARE if rhythm == "/" else ECTOPIC_SHARE)
    shares |= {symbol: RARE_SHARE for symbol, names in RARE_BEATS.items() if name in names}
    return draw_holter(
        np.random.default_rng([seed, int(SAME_PATIENT.get(name, name))]),
        np.random.default_rng([seed, int(name), 1]),
        rhythm=rhythm,
        shares=shares,
        leads=OTHER_LEADS.get(name, USUAL_LEADS),
        fs=FS,
        n_samples=n_samples,
    )


def _rhythm_symbol(name: str) -> str:
    return next((symbol for symbol, names in RHYTHM_BEATS.items() if name in names), "N")
