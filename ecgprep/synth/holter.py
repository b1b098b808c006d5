"""What an ambulatory recorder sees: a patient's own beats, ectopic ones strewn in, and the annotations of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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

Mark = tuple[int, str, str]  # sample, symbol, note


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


def draw_holter(
    patient: np.random.Generator,
    rng: np.random.Generator,
    *,
    rhythm: str,
    shares: Mapping[str, float],
    leads: Sequence[str],
    fs: int,
    n_samples: int,
) -> Recording:
    """Return a recording before it is written.

    Parameters
    ----------
    patient : numpy.random.Generator
        Source of what the patient's recordings have in common: age, sex, heart rate and the shapes of the beats.
    rng : numpy.random.Generator
        Source of the rest.
    rhythm : str
        Symbol of the usual beat.
    shares : mapping of str to float
        Share of all beats that each other symbol has.
    leads : sequence of str
        Leads that are recorded.
    fs, n_samples : int
        Sampling frequency in Hz, and length.
    """
    age, sex, rate_bpm = patient.integers(25, 88), patient.choice(["M", "F"]), patient.uniform(62.0, 92.0)
    shapes = _beat_shapes(patient, rhythm)
    r_s, symbols = _beat_sequence(rhythm, shares, 60.0 / rate_bpm, n_samples / fs, rng)
    vector = heart_vector([shapes[symbol] for symbol in symbols], r_s, fs, n_samples, rng)
    signal_mv = leads_of(vector, leads) + disturbance(len(leads), n_samples, fs, rng) - 0.15
    return Recording(signal_mv, leads, r_s, symbols, "(P" if rhythm == "/" else "(N", int(age), str(sex), rng)


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


def _beat_sequence(
    rhythm: str, shares: Mapping[str, float], rr_s: float, duration_s: float, rng: np.random.Generator
) -> tuple[Floats, list[str]]:
    """Return the times of the R peaks in seconds and their symbols; the outermost may lie near an edge."""
    n_most = int(duration_s / (0.55 * rr_s)) + 2
    n_expected = int(duration_s / (1.1 * rr_s))
    symbols = _symbols(rhythm, shares, n_most, n_expected, rng)
    timing = [TIMING.get(symbol, ON_TIME) for symbol in symbols]
    before = np.array([beat.before for beat in timing])
    after = np.array([1.0] + [beat.after for beat in timing[:-1]])
    breathing = 1.0 + 0.03 * np.sin(0.35 * np.pi * np.arange(n_most)) + 0.015 * rng.standard_normal(n_most)
    r_s = np.cumsum(rr_s * before * after * breathing)
    r_s += rng.uniform(0.06, 0.45) - r_s[0]
    n_beats = int(np.searchsorted(r_s, duration_s - 0.02))
    return r_s[:n_beats], symbols[:n_beats]


def _symbols(
    rhythm: str, shares: Mapping[str, float], n_most: int, n_expected: int, rng: np.random.Generator
) -> list[str]:
    """Return the symbols in time order: the usual rhythm with other beats strewn in.

    They lie among the first `n_expected` beats, those that surely fall into the record, and never next to
    each other, so that a premature beat follows a normal interval.
    """
    strewn = [symbol for symbol, share in shares.items() for _ in range(max(1, round(share * n_expected)))]
    places = rng.permutation(np.arange(2, n_expected - 1, 2))[: len(strewn)]
    symbols = np.full(n_most, rhythm, dtype=object)
    symbols[places] = strewn[: len(places)]
    return [str(symbol) for symbol in symbols]


def write_annotations(folder: Path, name: str, drawn: Recording, fs: int, own_marks: Sequence[str] = ()) -> None:
    """Write the beats, the rhythm at the start, and marks that are no beats, between beats.

    Parameters
    ----------
    folder : Path
        Where the record lies.
    name : str
        The record's name.
    drawn : Recording
        What was recorded.
    fs : int
        Sampling frequency in Hz.
    own_marks : sequence of str, optional
        Symbols to strew in.
    """
    r_samples = np.rint(drawn.r_s * fs).astype(np.int64)
    marks = beat_marks(drawn, fs)
    marks.append((9, "+", drawn.rhythm))
    places = drawn.rng.choice(len(r_samples) - 1, len(own_marks), replace=False)
    for symbol, beat in zip(own_marks, places, strict=True):
        between = int(r_samples[beat] + r_samples[beat + 1]) // 2
        marks.append((between, symbol, "MISSB" if symbol == '"' else ""))
    write_marks(folder, name, marks)


def beat_marks(drawn: Recording, fs: int) -> list[Mark]:
    """Return the annotations of a recording's beats."""
    r_samples = np.rint(drawn.r_s * fs).astype(np.int64).tolist()
    return [(sample, symbol, "") for sample, symbol in zip(r_samples, drawn.symbols, strict=True)]


def write_marks(folder: Path, name: str, marks: Sequence[Mark]) -> None:
    """Write annotations, in the order of time, as ``<name>.atr``."""
    from wfdb import wrann

    samples, symbols, notes = zip(*sorted(marks), strict=True)
    ended = [f"{note}\x00" if note else "" for note in notes]
    wrann(name, "atr", np.array(samples), list(symbols), aux_note=ended, write_dir=str(folder))
