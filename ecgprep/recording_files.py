"""Reading one's own recording from a WFDB, EDF or CSV file: leads by name, millivolts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecgprep.records import Record, number_repeated, read_record
from store.errors import RecordError, UserError
from store.vocabulary import MV_PER_UNIT, lead_key, same_leads

WFDB, EDF, CSV = (".hea", ".dat", ".mat"), (".edf",), (".csv",)
FORMATS = "WFDB (.hea), EDF (.edf) or CSV (.csv)"
BEFORE_NAME = re.compile(r"^(?:(?:ecg|ekg|lead)[\s_.:-]+)+", re.IGNORECASE)
UNIT_BEHIND = re.compile(r"^(?P<name>.*?)\s*[(\[](?P<unit>[^)\]]*)[)\]]$")
TIME_COLUMNS = {"time", "t", "t_s", "time_s", "seconds"}


@dataclass(frozen=True)
class RecordingFile:
    """A recording as its file has it.

    Parameters
    ----------
    record : Record
        Its leads in mV.
    start_time : str or None
        The clock at its start, in ISO 8601, where the file says it.
    """

    record: Record
    start_time: str | None


def find_recording(path: Path) -> Path:
    """Return the file that a person means by a recording: itself, or the header of a WFDB record without its suffix.

    Raises
    ------
    UserError
        If it is not there, or its format is not known.
    """
    header = path.with_name(f"{path.name}.hea")
    if not path.is_file() and header.is_file():
        return header
    if path.suffix.lower() not in (*WFDB, *EDF, *CSV):
        raise UserError(f"{path}: no such recording; name a file of format {FORMATS}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path.with_suffix(".hea") if path.suffix.lower() in WFDB else path


def read_recording(
    path: Path, leads: Sequence[str], fs_hz: float | None = None, unit: str | None = None
) -> RecordingFile:
    """Read a recording.

    Parameters
    ----------
    path : Path
        From `find_recording`.
    leads : sequence of str
        The leads that are wanted; an EDF file may hold other signals at other rates.
    fs_hz : float, optional
        Sampling rate of a CSV file, which does not say it.
    unit : str, optional
        Unit of a CSV file whose header says none, such as ``uV``; by default mV.

    Raises
    ------
    UserError
        If a CSV file comes without its rate, another file with one, or the unit is not a voltage.
    RecordError
        If the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in CSV:
        return RecordingFile(_read_csv(path, fs_hz, unit), None)
    if fs_hz is not None or unit is not None:
        raise UserError(f"{path.name} says its own rate and units; --fs and --unit are for CSV files")
    return _read_edf(path, leads) if suffix in EDF else _read_wfdb(path)


def lead_name(label: str) -> str:
    """Return the lead that a label names: ``EKG II`` and ``Lead II`` are ``II``."""
    return BEFORE_NAME.sub("", label.strip()) or label.strip()


def _read_wfdb(path: Path) -> RecordingFile:
    stem = path.with_suffix("")
    record = read_record(stem, (".hea",))
    names = number_repeated([lead_name(lead) for lead in record.leads])
    unfit = {name: record.unfit[lead] for name, lead in zip(names, record.leads, strict=True) if lead in record.unfit}
    return RecordingFile(replace(record, leads=names, unfit=unfit), _wfdb_start(stem))


def _wfdb_start(stem: Path) -> str | None:
    import wfdb

    try:
        started = wfdb.rdheader(str(stem)).base_datetime
    except ValueError:  # a date that there is not, such as 31/02, or a header that only our reader takes
        return None
    return started and str(started.isoformat())


def _read_edf(path: Path, leads: Sequence[str]) -> RecordingFile:
    """Read those signals of an EDF file that are voltages and have the rate of the wanted leads."""
    import edfio

    try:
        edf = edfio.read_edf(path, lazy_load_data=False, header_encoding="latin-1")
    except Exception as error:  # the parser raises whatever a damaged file trips
        message = " ".join(str(error).split())
        raise RecordError("read", f"cannot be read as EDF: {type(error).__name__}: {message}") from error
    if not edf.is_continuous:
        raise RecordError("read", "is a discontinuous EDF+ file; export it without gaps")
    voltages = [signal for signal in edf.signals if signal.physical_dimension.strip().lower() in MV_PER_UNIT]
    if not voltages:
        labels = ", ".join(f"{signal.label} in {signal.physical_dimension!r}" for signal in edf.signals)
        raise RecordError("read", f"holds no voltage ({labels or 'no signal at all'})")
    wanted = {lead_key(name) for lead in leads for name in same_leads(lead)}
    first = next((signal for signal in voltages if lead_key(lead_name(signal.label)) in wanted), voltages[0])
    fs_hz = first.sampling_frequency
    together = [signal for signal in voltages if signal.sampling_frequency == fs_hz]
    scale = [MV_PER_UNIT[signal.physical_dimension.strip().lower()] for signal in together]
    signal_mv = np.stack([signal.data * factor for signal, factor in zip(together, scale, strict=True)])
    names = number_repeated([lead_name(signal.label) for signal in together])
    return RecordingFile(Record(names, fs_hz, signal_mv.astype(np.float64), ()), _edf_start(edf))


def _edf_start(edf: object) -> str | None:
    try:
        start: str = edf.startdatetime.isoformat()  # type: ignore[attr-defined]
    except ValueError:  # an anonymised file has no date
        return None
    return start


def _read_csv(path: Path, fs_hz: float | None, unit: str | None) -> Record:
    """Read a table with a lead a column: ``II``, ``II (uV)``; a column of times is left out."""
    import pandas as pd

    if fs_hz is None:
        raise UserError(f"{path.name}: a CSV file does not say its sampling rate; give it, such as --fs 250")
    try:
        table = pd.read_csv(path, dtype=np.float64)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise RecordError("read", f"is no table of numbers below a line of lead names: {error}") from error
    columns = [name for name in table.columns if str(name).strip().lower() not in TIME_COLUMNS]
    if all(_is_number(name) for name in columns):
        raise RecordError("read", "its first line has no lead names; write them above the columns, such as II,V1")
    names, factors = zip(*(_csv_lead(str(name), unit or "mV") for name in columns), strict=True)
    signal_mv = table[columns].to_numpy().T * np.array(factors)[:, None]
    if signal_mv.size == 0:
        raise RecordError("read", "has no samples")
    return Record(number_repeated(names), fs_hz, signal_mv, ())


def _csv_lead(column: str, unit: str) -> tuple[str, float]:
    """Return the lead of a column, and the millivolts of one in it."""
    said = UNIT_BEHIND.match(column.strip())
    name, unit = (said["name"], said["unit"]) if said else (column, unit)
    if unit.strip().lower() not in MV_PER_UNIT:
        raise UserError(f"column {column!r}: {unit!r} is not a voltage; write mV, uV or V")
    return lead_name(name), MV_PER_UNIT[unit.strip().lower()]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
