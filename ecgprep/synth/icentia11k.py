"""Synthetic recordings in the file layout of Icentia11k: one lead at 250 Hz, a patient's day in segments.

The patients are spread over all 11,000 numbers, so that shares and ranges of them can be tried.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.holter import Mark, Recording, beat_marks, draw_holter, write_marks
from store.errors import UserError

FOLDER = "icentia11k-continuous-ecg"
FS = 250
GAIN = 1000.0
N_PATIENTS = 11_000
SEGMENTS = 3  # a patient; the real ones have about fifty
SHARES = {"S": 0.05, "V": 0.05, "a": 0.01, "Q": 0.02}
EPISODES = ("(AFIB", "(AFL", None)  # of a patient's segments in turn: in their middle third, or none
SHORTEST_MINUTES = 0.5


def write_icentia11k(folder: Path, *, n_minutes: float = 2.0, n_records: int = 60, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of Icentia11k.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``icentia11k-continuous-ecg/`` is made in it.
    n_minutes : float, optional
        Length of each segment in minutes; the real ones last 70.
    n_records : int, optional
        Segments in all, three a patient.
    seed : int, optional
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If there are no records or they are too short, or the folder holds recordings that are not synthetic.
    """
    if n_records < 1 or n_minutes < SHORTEST_MINUTES:
        raise UserError(f"ask for 1 record or more of {SHORTEST_MINUTES} minutes or more")
    n_patients = -(-n_records // SEGMENTS)
    numbers = np.linspace(0, N_PATIENTS - 1, n_patients).round().astype(int).tolist()
    names = [_name(patient, segment) for patient in numbers for segment in range(SEGMENTS)][:n_records]
    origin = f"ecgprep synth, in the layout of icentia11k: {n_records} segments of {n_minutes:g} minutes, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        for place, name in enumerate(names):
            _write_segment(database, name, numbers[place // SEGMENTS], place % SEGMENTS, n_minutes, seed)
        (database / "RECORDS").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder / FOLDER


def _name(patient: int, segment: int) -> str:
    return f"p{patient // 1000:02d}/p{patient:05d}/p{patient:05d}_s{segment:02d}"


def _write_segment(database: Path, name: str, patient: int, segment: int, n_minutes: float, seed: int) -> None:
    drawn = draw_holter(
        np.random.default_rng([seed, 250, patient]),
        np.random.default_rng([seed, 250, patient, segment]),
        rhythm="N",
        shares=SHARES,
        leads=("I",),
        fs=FS,
        n_samples=round(60 * n_minutes * FS) + 1,
    )
    place = database / name
    place.parent.mkdir(parents=True, exist_ok=True)
    counts = np.rint(GAIN * drawn.signal_mv).clip(-32767, 32767).astype(np.int64)
    write_signal(place.parent, place.name, counts, ["ECG"], fs=FS, fmt="16", gain=GAIN, resolution_bits=16, zero=0)
    marks = beat_marks(drawn, FS) + _rhythm_marks(drawn, EPISODES[segment % len(EPISODES)])
    write_marks(place.parent, place.name, marks)


def _rhythm_marks(drawn: Recording, episode: str | None) -> list[Mark]:
    """Return the marks of the rhythms, each closed before the next one; they lie between the beats."""
    n_samples = drawn.signal_mv.shape[1]
    if episode is None:
        return [(2, "+", "(N"), (n_samples - 2, "+", ")")]
    first, last = n_samples // 3, 2 * n_samples // 3
    return [
        *((2, "+", "(N"), (first, "+", ")"), (first + 2, "+", episode)),
        *((last, "+", ")"), (last + 2, "+", "(N"), (n_samples - 2, "+", ")")),
    ]
