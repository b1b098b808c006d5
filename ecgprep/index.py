"""The first pass: what rows each record gives, and why a record gives none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import beat_windows, rr_intervals_s
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, RecordRef, preset_of
from ecgprep.records import check_quality, choose_leads, read_record, to_counts
from ecgprep.resample import move_samples, resample
from store.errors import RecordError
from store.manifest import file_digest
from store.schema import SCALE_MV


@dataclass(frozen=True)
class CleanRecord:
    """The chosen leads of a record as they are stored.

    Parameters
    ----------
    counts : ndarray of int16, shape (n_leads, n_samples)
        At the store's rate.
    sources : tuple of str
        The lead that each came from.
    substituted : bool
        Whether a lead stands in for another.
    n_clipped : int
        Clipped samples.
    fs_raw_hz : float
        The recording's own rate.
    person : mapping
        Age and sex.
    """

    counts: NDArray[np.int16]
    sources: tuple[str, ...]
    substituted: bool
    n_clipped: int
    fs_raw_hz: float
    person: Mapping[str, Any]


@dataclass(frozen=True)
class IndexedRecord:
    """The rows that one record gives.

    Parameters
    ----------
    ref : RecordRef
        The record.
    start : ndarray of int64
        First sample of each row's window, at the store's rate.
    valid_n : ndarray of int32
        Samples of each row that come from the record.
    columns : mapping
        Columns by name, one value a row.
    audit : mapping
        Rows kept and dropped by each rule.
    sources : tuple of str
        The lead that each lead came from.
    n_clipped : int
        Clipped samples of the record.
    digests : mapping
        SHA-256 of the raw files by their path below the database's folder.
    """

    ref: RecordRef
    start: NDArray[np.int64]
    valid_n: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]
    audit: Mapping[str, tuple[int, int]]
    sources: tuple[str, ...]
    n_clipped: int
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Quarantined:
    """A record that was left out."""

    record: str
    stage: str
    reason: str


def read_clean(database: Database, ref: RecordRef, prepare: Prepare) -> CleanRecord:
    """Read a record, take its leads, resample and round it to counts.

    Raises
    ------
    RecordError
        If the record cannot be used.
    """
    assert prepare.leads is not None
    assert prepare.fs is not None
    record = read_record(ref.path, ref.suffixes)
    if database.record_s is not None and record.n_samples != round(database.record_s * record.fs_hz):
        raise RecordError("read", f"lasts {record.n_samples / record.fs_hz:g} s, not {database.record_s:g} s")
    chosen = choose_leads(record, prepare.leads, database.substitutes)
    check_quality(chosen.signal_mv, chosen.sources, record.fs_hz)
    counts, n_clipped = to_counts(resample(chosen.signal_mv, record.fs_hz, prepare.fs))
    person = database.person(ref, record)
    return CleanRecord(counts, chosen.sources, chosen.substituted, n_clipped, record.fs_hz, person)


def index_record(database: Database, ref: RecordRef, prepare: Prepare) -> IndexedRecord | Quarantined:
    """Return the rows of one record, or the reason why it gives none."""
    try:
        record = read_clean(database, ref, prepare)
        beats = preset_of(str(prepare.unit)) is not None
        start, valid_n, own, audit = (_beat_rows if beats else _record_row)(database, ref, record, prepare)
    except RecordError as error:
        return Quarantined(ref.record, error.stage, error.reason)
    n = len(start)
    whole = {
        "record": np.full(n, ref.record),
        "patient": np.full(n, ref.patient),
        "database": np.full(n, database.name),
        "fs_raw_hz": np.full(n, record.fs_raw_hz),
        "lead_substituted": np.full(n, record.substituted),
        "age": np.full(n, record.person["age"], np.float32),
        "sex": np.full(n, record.person["sex"]),
        **_amplitude(record.counts, n),
    }
    root = Path(*ref.path.parts[: len(ref.path.parts) - ref.record.count("/")])
    files = [ref.path.with_name(ref.path.name + suffix) for suffix in ref.suffixes]
    digests = {file.relative_to(root).as_posix(): file_digest(file) for file in files}
    return IndexedRecord(ref, start, valid_n, {**whole, **own}, audit, record.sources, record.n_clipped, digests)


def _amplitude(counts: NDArray[np.int16], n: int) -> dict[str, NDArray[np.float32]]:
    """Return the record's mean and SD in mV for each row: (n,) for one lead, (n, lead) for several."""
    signal_mv = counts.astype(np.float64) * SCALE_MV
    shape = (n,) if len(counts) == 1 else (n, len(counts))
    moments = {"record_mean_mv": signal_mv.mean(axis=1), "record_sd_mv": signal_mv.std(axis=1)}
    return {name: np.broadcast_to(value, shape).astype(np.float32) for name, value in moments.items()}


Parts = tuple[NDArray[np.int64], NDArray[np.int32], dict[str, NDArray[Any]], dict[str, tuple[int, int]]]


def _record_row(database: Database, ref: RecordRef, record: CleanRecord, prepare: Prepare) -> Parts:
    n_samples = record.counts.shape[1]
    columns: dict[str, NDArray[Any]] = {"sample": np.zeros(1, np.int64)}
    return np.zeros(1, np.int64), np.array([n_samples], np.int32), columns, {}


def _beat_rows(database: Database, ref: RecordRef, record: CleanRecord, prepare: Prepare) -> Parts:
    preset = preset_of(str(prepare.unit))
    assert preset is not None
    annotated = database.beats(ref)
    n_samples = record.counts.shape[1]
    peaks = move_samples(annotated.r_peaks, record.fs_raw_hz, preset.fs_hz, n_samples)
    windows = beat_windows(peaks, n_samples, preset)
    if not len(windows.peak):
        raise RecordError("label", "no beat's window lies within the record")
    rr_prev_s, rr_next_s = rr_intervals_s(annotated.r_peaks, record.fs_raw_hz)
    columns: dict[str, NDArray[Any]] = {
        "sample": annotated.r_peaks[windows.peak],
        "symbol": annotated.symbols[windows.peak],
        "rr_prev_s": rr_prev_s[windows.peak].astype(np.float32),
        "rr_next_s": rr_next_s[windows.peak].astype(np.float32),
        "beat": windows.peak,
    }
    if preset.padded:
        columns |= _window_range(record.counts, windows.start, windows.valid_n)
    n_beats = len(peaks)
    audit = {
        "annotation marks a beat": (n_beats, sum(annotated.n_dropped.values())),
        "window lies within the record": (len(windows.peak), n_beats - len(windows.peak)),
    }
    return windows.start, windows.valid_n, columns, audit


def _window_range(
    counts: NDArray[np.int16], start: NDArray[np.int64], valid_n: NDArray[np.int32]
) -> dict[str, NDArray[np.float32]]:
    """Return the range of the first lead over each window, in mV: what the preset's min-max scaling needs."""
    pieces = [counts[0, first : first + n] for first, n in zip(start, valid_n, strict=True)]
    low = np.array([piece.min() for piece in pieces]) * SCALE_MV
    high = np.array([piece.max() for piece in pieces]) * SCALE_MV
    return {"window_min_mv": low.astype(np.float32), "window_max_mv": high.astype(np.float32)}
