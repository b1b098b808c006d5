"""A recording of one's own, prepared as a store prepares its records: by the recipe that the store was built with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.annotations import Annotations, read_annotations
from ecgprep.beats import cut
from ecgprep.config import Prepare
from ecgprep.index import CleanRecord, CutRows, clean_record, cut_rows
from ecgprep.recording_files import CSV, EDF, find_recording, read_recording
from ecgprep.rpeaks import DEFAULT_DETECTOR
from ecgprep.units import GIVEN, FixedWindow, WholeRecord, parse_unit
from pipelines.recipe import validate
from store.errors import RecordError, UserError
from store.schema import SCALE_MV
from store.vocabulary import BEAT_SCHEMES

__all__ = ["CSV", "PreparedRecording", "RowShape", "find_recording", "prepare_recording"]


@dataclass(frozen=True)
class RowShape:
    """What a model reads of a recording.

    Parameters
    ----------
    leads : sequence of str
        Names, in the order wanted.
    n_samples : int
        Length of a row.
    padded : bool
        Whether a row may be shorter and end in padding.
    """

    leads: Sequence[str]
    n_samples: int
    padded: bool


@dataclass(frozen=True)
class PreparedRecording:
    """A recording's rows as a store would hold them.

    Parameters
    ----------
    name : str
        The file's name without its suffix.
    rows_mv : ndarray, shape (n, n_leads, n_samples)
        Voltage in mV, in the order of time.
    valid_n : ndarray of int32 or None
        Samples of each row before its padding; None where rows are never padded.
    t_s : ndarray of float64, shape (n,)
        Time of each row's R peak, or of its start.
    rr_s : tuple of ndarray or None
        Intervals to the beats before and after in s; None where rows are no beats.
    symbols : ndarray of str or None
        What an expert marked at each beat.
    signal_mv : ndarray of float32, shape (n_leads, n_record_samples)
        The whole recording at `fs_hz`.
    fs_hz : float
        The store's sampling rate.
    start_time : str or None
        The clock at the start.
    """

    name: str
    rows_mv: NDArray[np.floating]
    valid_n: NDArray[np.int32] | None
    t_s: NDArray[np.float64]
    rr_s: tuple[NDArray[Any], NDArray[Any]] | None
    symbols: NDArray[np.str_] | None
    signal_mv: NDArray[np.float32]
    fs_hz: float
    start_time: str | None

    @property
    def moments_mv(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and SD of each lead over the whole recording, in mV."""
        signal_mv = self.signal_mv.astype(np.float64)
        return signal_mv.mean(axis=1).astype(np.float32), signal_mv.std(axis=1).astype(np.float32)

    def labels(self, scheme: str) -> list[str] | None:
        """Return the class that a beat scheme gives each marked beat; None without marks or with another scheme."""
        if self.symbols is None or scheme not in BEAT_SCHEMES:
            return None
        return [BEAT_SCHEMES[scheme][symbol] for symbol in self.symbols.tolist()]


def prepare_recording(
    path: Path,
    recipe: Mapping[str, Any],
    shape: RowShape,
    *,
    fs_hz: float | None = None,
    unit: str | None = None,
    annotator: str | None = None,
) -> PreparedRecording:
    """Return the rows of a recording, prepared by a store's recipe; noise that the recipe adds is left out.

    Parameters
    ----------
    path : Path
        A WFDB, EDF or CSV file.
    recipe : mapping
        The store's recipe, resolved.
    shape : RowShape
        What a row is.
    fs_hz, unit
        Of a CSV file; see `ecgprep.recording_files.read_recording`.
    annotator : str, optional
        Suffix of a WFDB annotation file that marks the beats; else a detector finds them.

    Raises
    ------
    UserError
        If the file is not there, is of an unknown format, or an option does not fit it.
    RecordError
        If the recording cannot be used.
    """
    prepare = _resolved(recipe, shape.leads)
    file = find_recording(path)
    marked = _marked(file, annotator)
    read = read_recording(file, shape.leads, fs_hz, unit)
    record = clean_record(read.record, prepare, {})
    cut_from = _cut(record, marked, prepare, shape)
    columns = cut_from.columns
    return PreparedRecording(
        name=file.stem,
        rows_mv=cut(record.counts, cut_from.start, cut_from.valid_n, shape.n_samples) * SCALE_MV,
        valid_n=cut_from.valid_n if shape.padded else None,
        t_s=columns["sample"] / record.fs_raw_hz,
        rr_s=(columns["rr_prev_s"], columns["rr_next_s"]) if "rr_prev_s" in columns else None,
        symbols=columns.get("symbol"),
        signal_mv=(record.counts * SCALE_MV).astype(np.float32),
        fs_hz=float(prepare.fs or 0),
        start_time=read.start_time,
    )


def _resolved(recipe: Mapping[str, Any], leads: Sequence[str]) -> Prepare:
    """Return the recipe for some leads of a recording without annotations."""
    if recipe["unit"] in GIVEN:
        raise UserError("this run's rows came ready cut, so that it is not known how to cut a recording into them")
    prepare = validate(Prepare, recipe, "the store's recipe")
    return prepare.model_copy(update={"leads": tuple(leads), "detector": prepare.detector or DEFAULT_DETECTOR})


def _marked(file: Path, annotator: str | None) -> Annotations | None:
    if annotator is None:
        return None
    if file.suffix.lower() in (*EDF, *CSV):
        raise UserError(f"{file.name}: --annotator is for WFDB records, which have annotation files")
    marked = read_annotations(file.with_suffix(""), annotator)
    if not len(marked.r_peaks):
        raise RecordError("label", f"{file.stem}.{annotator} marks no beat")
    return marked


def _cut(record: CleanRecord, marked: Annotations | None, prepare: Prepare, shape: RowShape) -> CutRows:
    """Return a recording's rows; one that is longer than a whole record of the store gives one a stretch."""
    unit, n_record = parse_unit(str(prepare.unit)), record.counts.shape[1]
    if isinstance(unit, WholeRecord):
        fs_hz = float(prepare.fs or 0)
        if n_record > shape.n_samples:
            unit = FixedWindow(shape.n_samples / fs_hz, shape.n_samples / fs_hz)
            prepare = prepare.model_copy(update={"unit": str(unit)})
        elif n_record < shape.n_samples and not shape.padded:
            raise RecordError("segment", f"lasts {n_record / fs_hz:g} s; this run reads {shape.n_samples / fs_hz:g} s")
    return cut_rows(record, marked, prepare)
