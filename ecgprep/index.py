"""The first pass: what rows each record gives, and why a record gives none."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.annotations import Annotations, label_frames
from ecgprep.beats import BeatPreset, beat_windows, rr_intervals_s
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, RecordRef
from ecgprep.filters import apply_filters, lead_groups, parse_filters
from ecgprep.gaps import fill_gaps
from ecgprep.noise_records import add_recorded_noise, parse_noise
from ecgprep.quality import find_inverted, quality_index
from ecgprep.records import Record, check_clipped, check_quality, choose_leads, to_counts
from ecgprep.resample import move_samples, resample
from ecgprep.rpeaks import beside_pause, find_r_peaks
from ecgprep.rpeaks_multilead import find_by_all_leads
from ecgprep.units import FixedWindow, GivenRows, Unit, WholeRecord, parse_unit
from store.errors import EcgError, RecordError
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
    n_filled : int
        Raw samples at which a gap in some lead was filled.
    raw_mv : ndarray of float64, shape (n_leads, n_raw_samples)
        The same leads at the recording's own rate, filtered.
    fs_raw_hz : float
        That rate.
    person : mapping
        Age and sex.
    """

    counts: NDArray[np.int16]
    sources: tuple[str, ...]
    substituted: bool
    n_clipped: int
    n_filled: int
    raw_mv: NDArray[np.float64]
    fs_raw_hz: float
    person: Mapping[str, Any]


@dataclass(frozen=True)
class CutRows:
    """Where the rows of one record lie in it, and what is known of each.

    Parameters
    ----------
    start : ndarray of int64
        First sample of each row's window, at the store's rate.
    valid_n : ndarray of int32
        Samples of each row that come from the record.
    columns : mapping
        Columns by name, one value a row.
    marks : mapping
        What the annotations say, one value a row: what labels are made of.
    audit : mapping
        What each rule kept and dropped.
    length : int or None
        Samples of a row, where the data fix it and `valid_n` may be shorter.
    """

    start: NDArray[np.int64]
    valid_n: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]
    marks: Mapping[str, NDArray[Any]]
    audit: Mapping[str, tuple[int, int]]
    length: int | None = None

    @property
    def row_samples(self) -> int:
        """Length of the longest row."""
        return int(self.valid_n.max()) if self.length is None else self.length


@dataclass(frozen=True)
class IndexedRecord:
    """The rows that one record gives.

    Parameters
    ----------
    ref : RecordRef
        The record.
    rows : CutRows
        Its rows, with the columns that hold for all of them.
    sources : tuple of str
        The lead that each lead came from.
    n_clipped : int
        Clipped samples of the record.
    digests : mapping
        SHA-256 of the raw files by their path below the database's folder.
    stamp : int
        `RecordRef.stamp` of the files that were read.
    """

    ref: RecordRef
    rows: CutRows
    sources: tuple[str, ...]
    n_clipped: int
    digests: Mapping[str, str]
    stamp: int


@dataclass(frozen=True)
class Quarantined:
    """A record that was left out."""

    record: str
    stage: str
    reason: str


def read_clean(database: Database, ref: RecordRef, prepare: Prepare) -> CleanRecord:
    """Read a record, take its leads, fill short gaps, add noise, filter, resample and round it to counts.

    Raises
    ------
    RecordError
        If the record cannot be used.
    """
    record = database.read(ref, prepare)
    if database.record_s is not None and record.n_samples != round(database.record_s * record.fs_hz):
        raise RecordError("read", f"lasts {record.n_samples / record.fs_hz:g} s, not {database.record_s:g} s")

    def with_noise(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.float64]:
        return _with_noise(database, ref, prepare, signal_mv, fs_hz)

    clean = clean_record(record, prepare, database.substitutes, with_noise if prepare.noise else None)
    return replace(clean, person=database.person(ref, record))


def clean_record(
    record: Record,
    prepare: Prepare,
    substitutes: Mapping[str, str],
    add_noise: Callable[[NDArray[np.float64], float], NDArray[np.float64]] | None = None,
) -> CleanRecord:
    """Return a record's leads as a store holds them.

    Parameters
    ----------
    record : Record
        As it was read.
    prepare : Prepare
        The resolved recipe.
    substitutes : mapping
        Lead that stands in where another is absent.
    add_noise : callable, optional
        Adds noise to voltages in mV at a rate in Hz, before they are filtered.

    Raises
    ------
    RecordError
        If the record cannot be used.
    """
    assert prepare.leads is not None
    assert prepare.fs is not None
    chosen = choose_leads(record, prepare.leads, substitutes)
    shape = chosen.signal_mv.shape
    apart = (-1, record.row_samples or shape[1])  # nothing passes from one row into the next
    names = _names_of_rows(chosen.sources, chosen.signal_mv.size // apart[1] // len(chosen.sources))
    filled_mv, is_filled = fill_gaps(chosen.signal_mv.reshape(apart), names, record.fs_hz, prepare.fill_gaps_s)
    filled_mv, is_filled = filled_mv.reshape(shape), is_filled.reshape(shape)
    check_quality(filled_mv, chosen.sources, record.fs_hz)
    noisy_mv = filled_mv if add_noise is None else add_noise(filled_mv, record.fs_hz)
    clean_mv = apply_filters(parse_filters(prepare.filters), noisy_mv.reshape(apart), record.fs_hz).reshape(shape)
    counts, n_clipped = _counts(clean_mv, record.fs_hz, prepare.fs)
    n_filled = int(is_filled.any(axis=0).sum())
    return CleanRecord(counts, chosen.sources, chosen.substituted, n_clipped, n_filled, clean_mv, record.fs_hz, {})


def _names_of_rows(leads: Sequence[str], n_rows: int) -> list[str]:
    """Return the names of the leads of rows ready cut, lead by lead; of a recording, which is one row, the leads'."""
    return list(leads) if n_rows == 1 else [f"{lead} of row {row}" for lead in leads for row in range(n_rows)]


def _counts(clean_mv: NDArray[np.float64], fs_from: float, fs_to: float) -> tuple[NDArray[np.int16], int]:
    """Return the counts at the store's rate, and how many are clipped."""
    groups = [to_counts(resample(clean_mv[leads], fs_from, fs_to)) for leads in lead_groups(clean_mv)]
    counts, n_clipped = np.concatenate([group for group, _ in groups]), sum(n for _, n in groups)
    check_clipped(n_clipped, counts.size)
    return counts, n_clipped


def _with_noise(
    database: Database, ref: RecordRef, prepare: Prepare, signal_mv: NDArray[np.float64], fs_hz: float
) -> NDArray[np.float64]:
    """Add the noise that a recipe names, scaled by the annotated beats or, where there are none, by detected ones."""
    marked = database.annotations(ref, prepare)
    r_peaks = find_r_peaks(signal_mv, fs_hz) if marked is None else marked.r_peaks
    return add_recorded_noise(signal_mv, parse_noise(prepare.noise), ref.folder, r_peaks, fs_hz, ref.record)


def index_record(database: Database, ref: RecordRef, prepare: Prepare) -> IndexedRecord | Quarantined:
    """Return the rows of one record, or the reason why it gives none."""
    try:
        return _index_record(database, ref, prepare)
    except RecordError as error:
        return Quarantined(ref.record, error.stage, error.reason)
    except (EcgError, OSError, MemoryError):  # of the request or the machine: the next record meets it too
        raise
    except Exception as error:  # a fault of ours that one record trips must not cost the others
        return Quarantined(ref.record, "unforeseen", _describe(error))


def _describe(error: Exception) -> str:
    """Return what a report of a fault needs, in a line."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(at.filename).name}:{at.lineno}, {at.name}"
    said = " ".join(str(error).split())
    return f"{type(error).__name__} at {where}: {said}; this is a fault of ecgprep's, please report it"


def _index_record(database: Database, ref: RecordRef, prepare: Prepare) -> IndexedRecord:
    stamp = ref.stamp()  # before they are read: a change meanwhile is found when the store is filled
    record = read_clean(database, ref, prepare)
    rows = _cut_rows(database, ref, record, prepare)
    n = len(rows.start)
    whole = {
        "fs_raw_hz": np.full(n, record.fs_raw_hz),
        "lead_source": np.full(n, ",".join(record.sources)),
        "lead_substituted": np.full(n, record.substituted),
        "filled_s": np.full(n, record.n_filled / record.fs_raw_hz, np.float32),
        "age": np.full(n, record.person["age"], np.float32),
        "sex": np.full(n, record.person["sex"]),
        **_amplitude(record.counts, n),
        **_judgement(record, parse_unit(str(prepare.unit)), n),
    }
    digests = {file.relative_to(ref.folder).as_posix(): file_digest(file) for file in ref.files}
    rows = replace(rows, columns={**whole, **rows.columns})
    return IndexedRecord(ref, rows, record.sources, record.n_clipped, digests, stamp)


def _amplitude(counts: NDArray[np.int16], n: int) -> dict[str, NDArray[np.float32]]:
    """Return the record's mean and SD in mV for each row: (n,) for one lead, (n, lead) for several."""
    shape = (n,) if len(counts) == 1 else (n, len(counts))
    leads_mv = (lead * SCALE_MV for lead in counts)  # one after the other: a day of them all takes much room
    mean, sd = zip(*((lead_mv.mean(), lead_mv.std()) for lead_mv in leads_mv), strict=True)
    moments = {"record_mean_mv": mean, "record_sd_mv": sd}
    return {name: np.broadcast_to(value, shape).astype(np.float32) for name, value in moments.items()}


def _judgement(record: CleanRecord, unit: Unit, n: int) -> dict[str, NDArray[Any]]:
    """Return the record's quality for each row, and which of its leads are upside down: (n,), or (n, lead)."""
    quality, inverted = float("nan"), np.zeros(len(record.sources), bool)
    if not isinstance(unit, GivenRows):  # those are no stretch of time that a heart beats in
        peaks = find_by_all_leads(record.raw_mv, record.fs_raw_hz)
        quality = quality_index(record.raw_mv, peaks, record.fs_raw_hz)
        inverted = find_inverted(record.raw_mv, record.sources, peaks, record.fs_raw_hz)
    shape = (n,) if len(inverted) == 1 else (n, len(inverted))
    return {"quality": np.full(n, quality, np.float32), "inverted": np.broadcast_to(inverted, shape)}


def _cut_rows(database: Database, ref: RecordRef, record: CleanRecord, prepare: Prepare) -> CutRows:
    unit, marked = parse_unit(str(prepare.unit)), database.annotations(ref, prepare)
    if isinstance(unit, GivenRows):
        return _given_rows(database, ref)
    if isinstance(unit, BeatPreset) and marked is not None and not len(marked.r_peaks):
        raise RecordError("label", f"{ref.path.name}.{database.annotator(prepare)} marks no beat")
    return cut_rows(record, marked, prepare)


def cut_rows(record: CleanRecord, marked: Annotations | None, prepare: Prepare) -> CutRows:
    """Return where the rows of a recording lie: its beats, windows of it, or the whole of it.

    Parameters
    ----------
    record : CleanRecord
        The recording.
    marked : Annotations or None
        What is marked in it; None: a detector finds the beats.
    prepare : Prepare
        The resolved recipe.

    Raises
    ------
    RecordError
        If no beat is found, or the recording is shorter than a row.
    """
    unit = parse_unit(str(prepare.unit))
    if isinstance(unit, BeatPreset):
        if marked is None:
            return _detected_rows(record, unit, prepare)
        return _beat_rows(marked, record, unit, "annotation marks a beat")
    if isinstance(unit, FixedWindow):
        return _window_rows(marked, record, unit, prepare)
    assert isinstance(unit, WholeRecord)
    return _record_row(marked, record, unit, prepare)


def _given_rows(database: Database, ref: RecordRef) -> CutRows:
    length, valid_n = database.row_lengths(ref)
    start = length * np.arange(len(valid_n), dtype=np.int64)
    return CutRows(start, valid_n, {"sample": start}, {}, {}, length)


def _record_row(marked: Annotations | None, record: CleanRecord, unit: WholeRecord, prepare: Prepare) -> CutRows:
    n_record, fs_hz = record.counts.shape[1], float(prepare.fs or 0)
    n_samples = unit.n_samples(n_record, fs_hz)
    kept, dropped = round(n_samples / fs_hz), round((n_record - n_samples) / fs_hz)
    audit = {} if unit.max_s is None else {f"seconds up to the first {unit.max_s:g} s of each record": (kept, dropped)}
    start, valid_n = np.zeros(1, np.int64), np.array([n_samples], np.int32)
    return _frame_rows(marked, record, start, valid_n, fs_hz, audit)


def _window_rows(marked: Annotations | None, record: CleanRecord, unit: FixedWindow, prepare: Prepare) -> CutRows:
    n_record, fs_hz = record.counts.shape[1], float(prepare.fs or 0)
    start = unit.starts(n_record, fs_hz)
    if not len(start):
        raise RecordError("segment", f"lasts {n_record / fs_hz:g} s, less than one window of {unit.length_s:g} s")
    n_samples = unit.n_samples(fs_hz)
    behind = n_record - int(start[-1]) - n_samples
    audit = {"seconds within a whole window": (round((n_record - behind) / fs_hz), round(behind / fs_hz))}
    return _frame_rows(marked, record, start, np.full(len(start), n_samples, np.int32), fs_hz, audit)


def _frame_rows(
    marked: Annotations | None,
    record: CleanRecord,
    start: NDArray[np.int64],
    valid_n: NDArray[np.int32],
    fs_hz: float,
    audit: Mapping[str, tuple[int, int]],
) -> CutRows:
    """Return rows that are stretches of time, labelled by the annotations that lie within them."""
    n_raw = record.raw_mv.shape[1]
    first = move_samples(start, fs_hz, record.fs_raw_hz, n_raw)
    stop = np.minimum(move_samples(start + valid_n, fs_hz, record.fs_raw_hz), n_raw)
    marks = {} if marked is None else label_frames(marked, first, stop, record.fs_raw_hz)
    return CutRows(start, valid_n, {"sample": first}, marks, audit)


def _detected_rows(record: CleanRecord, preset: BeatPreset, prepare: Prepare) -> CutRows:
    """Return rows at the beats that a detector finds, without those beside a stretch in which it finds none."""
    fs_hz, max_pause_s = record.fs_raw_hz, prepare.max_pause_s
    r_peaks = find_r_peaks(record.raw_mv, fs_hz, str(prepare.detector), max_pause_s)
    rows = _beat_rows(Annotations(r_peaks, np.zeros(0, np.str_)), record, preset, "R peak detected")
    trusted = ~beside_pause(r_peaks, record.raw_mv.shape[1], fs_hz, max_pause_s)[rows.columns["beat"]]
    n_kept = int(trusted.sum())
    audit = {
        **rows.audit,
        f"no stretch over {max_pause_s:g} s without a beat beside it": (n_kept, len(trusted) - n_kept),
    }
    if not n_kept:
        raise RecordError("segment", f"no beat lies apart from stretches over {max_pause_s:g} s without any")
    columns = {name: values[trusted] for name, values in rows.columns.items()}
    return CutRows(rows.start[trusted], rows.valid_n[trusted], columns, rows.marks, audit)


def _beat_rows(marked: Annotations, record: CleanRecord, preset: BeatPreset, rule: str) -> CutRows:
    n_samples = record.counts.shape[1]
    peaks = move_samples(marked.r_peaks, record.fs_raw_hz, preset.fs_hz)  # one marked beyond the end has no window
    windows = beat_windows(peaks, n_samples, preset)
    if not len(windows.peak):
        raise RecordError("segment", "no beat's window lies within the record")
    rr_prev_s, rr_next_s = rr_intervals_s(marked.r_peaks, record.fs_raw_hz)
    columns: dict[str, NDArray[Any]] = {
        "sample": marked.r_peaks[windows.peak],
        "rr_prev_s": rr_prev_s[windows.peak].astype(np.float32),
        "rr_next_s": rr_next_s[windows.peak].astype(np.float32),
        "beat": windows.peak,
    }
    marks = {"symbol": marked.symbols[windows.peak]} if len(marked.symbols) else {}
    if preset.padded:
        columns |= _window_range(record.counts, windows.start, windows.valid_n)
    audit = {
        rule: (len(peaks), sum(marked.n_dropped.values())),
        "window lies within the record": (len(windows.peak), len(peaks) - len(windows.peak)),
    }
    return CutRows(windows.start, windows.valid_n, {**columns, **marks}, marks, audit)


def _window_range(
    counts: NDArray[np.int16], start: NDArray[np.int64], valid_n: NDArray[np.int32]
) -> dict[str, NDArray[np.float32]]:
    """Return the range of the first lead over each window, in mV: what the preset's min-max scaling needs."""
    pieces = [counts[0, first : first + n] for first, n in zip(start, valid_n, strict=True)]
    low = np.array([piece.min() for piece in pieces]) * SCALE_MV
    high = np.array([piece.max() for piece in pieces]) * SCALE_MV
    return {"window_min_mv": low.astype(np.float32), "window_max_mv": high.astype(np.float32)}
