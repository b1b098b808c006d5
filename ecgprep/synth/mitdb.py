"""Synthetic recordings in the file layout of the MIT-BIH Arrhythmia Database (mitdb 1.0.0).

Every record holds beats of the AAMI classes N, S, V and F, whatever records are asked for; the four paced
records hold paced beats instead of S and F. The leads of each record, and which records hold the rarer
annotations, are those of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgprep.synth.files import database_folder, write_signal
from ecgprep.synth.heart import (
    NORMAL,
    Beat,
    Floats,
    disturbance,
    fusion,
    heart_vector,
    leads_of,
    left_bundle_branch_block,
    paced,
    patient_variant,
    right_bundle_branch_block,
    ventricular,
    with_ectopic_p,
    without_p,
)
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


@dataclass(frozen=True)
class Timing:
    """When a beat comes and what follows, as factors of the record's RR interval."""

    before: float = 1.0
    after: float = 1.0


TIMING = {
    "A": Timing(0.66, 1.08),
    "a": Timing(0.60, 1.08),
    "J": Timing(0.68, 1.10),
    "S": Timing(0.66, 1.10),
    "V": Timing(0.64, 1.36),
    "F": Timing(0.92, 1.05),
    "E": Timing(1.45),
    "e": Timing(1.35),
    "j": Timing(1.40),
}
ON_TIME = Timing()


@dataclass(frozen=True)
class Recording:
    """A record before it is written.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV.
    leads : sequence of str
        Names of the leads.
    r_s : ndarray, shape (n_beats,)
        Times of the R peaks in seconds.
    symbols : sequence of str
        WFDB symbol of each beat.
    rhythm : str
        The rhythm as WFDB marks it.
    age : int
        In years.
    sex : str
        M or F.
    rng : numpy.random.Generator
        Source of what is yet to be drawn.
    """

    signal_mv: Floats
    leads: Sequence[str]
    r_s: Floats
    symbols: Sequence[str]
    rhythm: str
    age: int
    sex: str
    rng: np.random.Generator


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
    write_annotations(folder, name, drawn, own_marks=[symbol for symbol, names in NON_BEATS.items() if name in names])


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
    patient = np.random.default_rng([seed, int(SAME_PATIENT.get(name, name))])
    age, sex, rate_bpm = patient.integers(25, 88), patient.choice(["M", "F"]), patient.uniform(62.0, 92.0)
    shapes = _beat_shapes(patient, _rhythm_symbol(name))

    rng = np.random.default_rng([seed, int(name), 1])
    r_s, symbols = _beat_sequence(name, 60.0 / rate_bpm, n_samples / FS, rng)
    leads = OTHER_LEADS.get(name, USUAL_LEADS)
    vector = heart_vector([shapes[symbol] for symbol in symbols], r_s, FS, n_samples, rng)
    signal_mv = leads_of(vector, leads) + disturbance(len(leads), n_samples, FS, rng) - 0.15
    rhythm = "(P" if _rhythm_symbol(name) == "/" else "(N"
    return Recording(signal_mv, leads, r_s, symbols, rhythm, int(age), str(sex), rng)


def _rhythm_symbol(name: str) -> str:
    return next((symbol for symbol, names in RHYTHM_BEATS.items() if name in names), "N")


def _beat_shapes(rng: np.random.Generator, rhythm: str) -> dict[str, Beat]:
    """Return a patient's beat for each annotation symbol; atrial ones are conducted as in `rhythm`."""
    normal = patient_variant(NORMAL, rng)
    blocked = {"L": left_bundle_branch_block(normal), "R": right_bundle_branch_block(normal)}
    conducted = blocked.get(rhythm, normal)
    direction = (0.9, 1.3, 0.9) if rng.random() < 0.5 else (-0.7, -1.2, -1.1)
    from_ventricle = patient_variant(ventricular(direction), rng)
    from_pacemaker = patient_variant(paced((-0.3, -1.3, 0.8)), rng)
    premature = with_ectopic_p(conducted)
    return {
        "N": normal,
        **blocked,
        "e": with_ectopic_p(conducted),
        "j": without_p(conducted),
        "A": premature,
        "a": with_ectopic_p(blocked["R"]),
        "J": without_p(conducted),
        "S": premature,
        "V": from_ventricle,
        "E": patient_variant(ventricular((-0.8, 1.0, -0.9), late=1.2), rng),
        "F": fusion(conducted, from_ventricle, share=0.5),
        "/": from_pacemaker,
        "f": fusion(normal, from_pacemaker, share=0.5),
        "Q": fusion(normal, patient_variant(ventricular((0.5, -0.6, 0.6)), rng), share=0.8),
    }


def _beat_sequence(name: str, rr_s: float, duration_s: float, rng: np.random.Generator) -> tuple[Floats, list[str]]:
    """Return the times of the R peaks in seconds and their symbols; the outermost may lie near an edge."""
    n_most = int(duration_s / (0.55 * rr_s)) + 2
    n_expected = int(duration_s / (1.1 * rr_s))
    symbols = _symbols(name, n_most, n_expected, rng)
    timing = [TIMING.get(symbol, ON_TIME) for symbol in symbols]
    before = np.array([beat.before for beat in timing])
    after = np.array([1.0] + [beat.after for beat in timing[:-1]])
    breathing = 1.0 + 0.03 * np.sin(0.35 * np.pi * np.arange(n_most)) + 0.015 * rng.standard_normal(n_most)
    r_s = np.cumsum(rr_s * before * after * breathing)
    r_s += rng.uniform(0.06, 0.45) - r_s[0]
    n_beats = int(np.searchsorted(r_s, duration_s - 0.02))
    return r_s[:n_beats], symbols[:n_beats]


def _symbols(name: str, n_most: int, n_expected: int, rng: np.random.Generator) -> list[str]:
    """Return the symbols in time order: the record's own rhythm with ectopic beats strewn in.

    They lie among the first `n_expected` beats, those that surely fall into the record, and never next to
    each other, so that a premature beat follows a normal interval.
    """
    rhythm = _rhythm_symbol(name)
    shares = dict(PACED_ECTOPIC_SHARE if rhythm == "/" else ECTOPIC_SHARE)
    shares |= {symbol: RARE_SHARE for symbol, names in RARE_BEATS.items() if name in names}
    strewn = [symbol for symbol, share in shares.items() for _ in range(max(1, round(share * n_expected)))]
    places = rng.permutation(np.arange(2, n_expected - 1, 2))[: len(strewn)]
    symbols = np.full(n_most, rhythm, dtype=object)
    symbols[places] = strewn[: len(places)]
    return [str(symbol) for symbol in symbols]


def write_annotations(folder: Path, name: str, drawn: Recording, own_marks: Sequence[str] = ()) -> None:
    """Write the beats, the rhythm at the start, and marks that are no beats, between beats.

    Parameters
    ----------
    folder : Path
        Where the record lies.
    name : str
        The record's name.
    drawn : Recording
        What was recorded.
    own_marks : sequence of str, optional
        Symbols to strew in.
    """
    from wfdb import wrann

    r_samples = np.rint(drawn.r_s * FS).astype(np.int64)
    marks = [(int(sample), symbol, "") for sample, symbol in zip(r_samples, drawn.symbols, strict=True)]
    marks.append((9, "+", f"{drawn.rhythm}\x00"))
    places = drawn.rng.choice(len(r_samples) - 1, len(own_marks), replace=False)
    for symbol, beat in zip(own_marks, places, strict=True):
        between = int(r_samples[beat] + r_samples[beat + 1]) // 2
        marks.append((between, symbol, "MISSB\x00" if symbol == '"' else ""))
    marks.sort()
    samples, names, notes = zip(*marks, strict=True)
    wrann(name, "atr", np.array(samples), list(names), aux_note=list(notes), write_dir=str(folder))
