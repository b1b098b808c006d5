"""Reading one WFDB record: leads by name, millivolts, and a refusal of what cannot be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgprep.wfdb_files import (
    BYTES_PER_SAMPLE,
    NO_SEGMENT,
    NO_VALUE,
    Header,
    Segments,
    lead_names,
    n_signals,
    parse_header,
    parse_segments,
    read_header_text,
    read_signals,
    samples_a_frame,
    sampling_rate,
    signal_files,
    signals_without_gain,
    stated_units,
)
from store.errors import RecordError
from store.schema import CLIP_COUNT, SCALE_MV
from store.vocabulary import MV_PER_UNIT, lead_key, same_leads

if TYPE_CHECKING:
    import wfdb

MAX_CLIPPED_SHARE = 1e-3
PIECE_SAMPLES = 1_000_000  # of each lead, that are rounded at a time
MIN_RATE_HZ = 40.0  # below, a QRS complex is a sample or two; monitors store trends, of the heart rate say, at 1 Hz
MIN_SD_MV = 1e-3
MIN_RANGE_MV, MAX_RANGE_MV = 0.05, 20.0  # 4,000 recordings of five databases: 0.18 to 7.6


@dataclass(frozen=True)
class Record:
    """One recording in physical units.

    Parameters
    ----------
    leads : tuple of str
        Names as the header spells them; one that it repeats is numbered.
    fs_hz : float
        Sampling rate.
    signal_mv : ndarray of float64, shape (n_leads, n_samples)
        Voltage in mV; NaN where the recording says that it has no value, and all over a lead that is no voltage.
    comments : tuple of str
        The header's comment lines.
    unfit : mapping of str to str
        Leads that cannot be taken, and why: no gain in the header, or a unit that is no voltage.
    files : tuple of str
        The signal files that its header names; empty where it names segments.
    row_samples : int or None
        Samples of each row, where the recording is rows ready cut, one after the other.
    """

    leads: tuple[str, ...]
    fs_hz: float
    signal_mv: NDArray[np.float64]
    comments: tuple[str, ...]
    unfit: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    row_samples: int | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples of each lead."""
        return int(self.signal_mv.shape[1])


def read_record(path: Path, suffixes: Sequence[str] = (".hea", ".dat")) -> Record:
    """Read a WFDB record whole and check it against its header.

    Parameters
    ----------
    path : Path
        The record's path without a suffix.
    suffixes : sequence of str
        The files that must be there.

    Returns
    -------
    Record
        Signals in mV.

    Raises
    ------
    RecordError
        If a file is missing or damaged, or a checksum or the length differs from the header.
    """
    for suffix in suffixes:
        file = path.with_name(path.name + suffix)
        if not file.is_file():
            raise RecordError("read", f"{file.name} is missing")
        if file.stat().st_size == 0:
            raise RecordError("read", f"{file.name} is empty")
    try:
        text = read_header_text(path.with_name(f"{path.name}.hea"))
        if segments := parse_segments(text):
            return _by_segments(path, segments)
        _check_described(path, text)
        header = parse_header(text)
        return _by_header(path, header, text) if header else _by_wfdb(path, text)
    except RecordError:
        raise
    except Exception as error:  # the parser raises whatever a damaged file trips: IndexError, ValueError, …
        said = " ".join(str(error).split()).replace(f"{path.parent}/", "")  # a store names no folder of its maker's
        raise RecordError("read", f"cannot be read: {type(error).__name__}: {said}") from error


def _check_described(path: Path, text: str) -> None:
    stated, described = n_signals(text), len(lead_names(text))
    if stated == described == 0:
        raise RecordError("read", f"has no signal: {path.name}.hea names none")
    if stated is not None and stated != described:
        raise RecordError("read", f"{path.name}.hea says {stated} signals and describes {described}")


def _check_here(path: Path, files: Iterable[str]) -> None:
    for file in files:
        if Path(file).name != file:  # a store lists the files that lie beside the header alone
            raise RecordError("read", f"{path.name}.hea names {file}; signal files lie beside it, and have no folder")
        if not (path.parent / file).is_file():
            raise RecordError("read", f"{file} is missing, which {path.name}.hea names")


def _by_header(path: Path, header: Header, text: str) -> Record:
    leads = [signal.lead for signal in header.signals]
    files = tuple(dict.fromkeys(signal.file for signal in header.signals))
    _check_here(path, files)
    counts = read_signals(path.parent, header)
    if header.n_samples:  # sums of a record whose length nobody states say nothing
        _check_sums(leads, [signal.checksum for signal in header.signals], counts.sum(axis=1, dtype=np.int64).tolist())
    units = [signal.units for signal in header.signals]
    factors = _mv_per(units) / [signal.gain for signal in header.signals]
    baseline = np.array([signal.baseline for signal in header.signals])
    signal_mv = counts.astype(np.float64)  # in place, for a day of a Holter takes hundreds of megabytes
    signal_mv -= baseline[:, None]
    signal_mv *= factors[:, None]
    no_value = np.array([NO_VALUE[signal.format] for signal in header.signals])
    signal_mv[counts == no_value[:, None]] = np.nan
    names = number_repeated(leads)
    return _checked(Record(names, header.fs_hz, signal_mv, header.comments, _unfit(names, units, text), files))


def _by_segments(path: Path, header: Segments) -> Record:
    """Return a record of several, each in millivolts by its own gains; NaN where a segment has not a lead."""
    n_frames = sum(n for _, n in header.parts)
    if header.n_frames not in (n_frames, None):
        raise RecordError("read", f"its segments hold {n_frames} samples, {path.name}.hea says {header.n_frames}")
    names = [name for name, _ in header.parts if name != NO_SEGMENT]
    segments = {name: read_record(path.with_name(name), suffixes=(".hea",)) for name in dict.fromkeys(names)}
    layout = lead_names(read_header_text(path.with_name(f"{header.layout}.hea"))) if header.layout else []
    leads = tuple(dict.fromkeys([*number_repeated(layout), *(lead for one in segments.values() for lead in one.leads)]))
    fs_hz = sampling_rate(path)
    per_frame = round(fs_hz / header.fs_hz)
    signal_mv = np.full((len(leads), n_frames * per_frame), np.nan)
    unfit: dict[str, str] = {}
    start = 0
    for name, n in header.parts:
        stop = start + n * per_frame
        if name != NO_SEGMENT:
            _check_segment(name, segments[name], header.fs_hz, n)
            for lead, row_mv in zip(segments[name].leads, segments[name].signal_mv, strict=True):
                signal_mv[leads.index(lead), start:stop] = _stretched(row_mv, stop - start)
            unfit |= segments[name].unfit
        start = stop
    return _checked(Record(leads, fs_hz, signal_mv, header.comments, unfit))


def _check_segment(name: str, segment: Record, fs_hz: float, n_frames: int) -> None:
    per_frame = round(segment.fs_hz / fs_hz)
    if segment.fs_hz != fs_hz * per_frame:
        raise RecordError("read", f"segment {name} has {segment.fs_hz:g} Hz, the record {fs_hz:g}")
    if segment.n_samples != n_frames * per_frame:
        held = segment.n_samples / per_frame
        raise RecordError("read", f"segment {name} holds {held:g} samples, the record says {n_frames}")


def _stretched(lead: NDArray[np.float64], n_samples: int) -> NDArray[np.float64]:
    """Return a lead with fewer samples a frame at the rate of those with most, on straight lines."""
    if len(lead) == n_samples:
        return lead
    stretched: NDArray[np.float64] = np.interp(
        np.arange(n_samples) * (len(lead) / n_samples), np.arange(len(lead)), lead
    )
    return stretched


def _by_wfdb(path: Path, text: str) -> Record:
    import wfdb

    header = wfdb.rdheader(str(path))
    _check_files(path, header)
    in_frames = max(header.samps_per_frame) > 1
    raw = wfdb.rdrecord(str(path), physical=False, smooth_frames=not in_frames)  # no means of a frame's samples
    per_frame = samples_a_frame(text)
    if in_frames:
        signal = np.stack([_stretched(lead, raw.sig_len * per_frame) for lead in raw.dac(expanded=True)])
    else:
        signal = np.ascontiguousarray(raw.dac().T)
    own = lead_names(text)  # wfdb drops what is not ASCII, from names and from units, where it so takes µV for V
    leads = [ours or theirs or "" for ours, theirs in zip(own, raw.sig_name, strict=True)]
    stated = stated_units(text)
    units = [stated.get(i, unit or "") for i, unit in enumerate(raw.units)]
    _check_sums(leads, raw.checksum, _sums(path, raw, in_frames))
    signal_mv = signal * _mv_per(units)[:, None]
    names = number_repeated(leads)
    comments, unfit, files = tuple(raw.comments or ()), _unfit(names, units, text), tuple(signal_files(text))
    return _checked(Record(names, float(raw.fs) * per_frame, signal_mv, comments, unfit, files))


def _check_files(path: Path, header: wfdb.Record) -> None:
    """Refuse a record whose files are missing or too short, of which wfdb says less."""
    if header.sig_len == 0:
        raise RecordError("read", "has no samples")
    files = tuple(dict.fromkeys(header.file_name))
    _check_here(path, files)
    if "61" in header.fmt and max(header.samps_per_frame) > 1:
        raise RecordError(
            "read", "has several samples a frame in format 61; write it anew in format 16, by WFDB's xform"
        )
    for file in files:
        own = [i for i, name in enumerate(header.file_name) if name == file]
        bytes_per_sample = BYTES_PER_SAMPLE.get(header.fmt[own[0]])
        if bytes_per_sample is None or header.sig_len is None:
            continue
        n_samples = header.sig_len * sum(header.samps_per_frame[i] for i in own)
        wanted = (header.byte_offset[own[0]] or 0) + int(n_samples * bytes_per_sample)
        if (found := (path.parent / file).stat().st_size) < wanted:
            raise RecordError("read", f"{file} holds {found} bytes, {path.name}.hea says {wanted}")


def _sums(path: Path, raw: wfdb.Record, in_frames: bool) -> list[int]:
    """Return the sums of a record's samples as they lie in its files, not shifted."""
    import wfdb

    if any(raw.skew):
        raw = wfdb.rdrecord(str(path), physical=False, smooth_frames=not in_frames, ignore_skew=True)
    sums: list[int] = raw.calc_checksum(expanded=in_frames)
    return sums


def _mv_per(units: Sequence[str]) -> NDArray[np.float64]:
    """Return the millivolts in each unit; NaN where it is no voltage."""
    return np.array([MV_PER_UNIT.get(unit.lower(), np.nan) for unit in units])


def _unfit(names: Sequence[str], units: Sequence[str], text: str) -> dict[str, str]:
    """Return the leads of a header's text that cannot be taken, and why."""
    no_gain = {names[i]: "has no gain in the header, so that its unit is unknown" for i in signals_without_gain(text)}
    pairs = zip(names, units, strict=True)
    no_voltage = {
        name: f"is in {unit!r}, which is not a voltage" for name, unit in pairs if unit.lower() not in MV_PER_UNIT
    }
    return no_gain | no_voltage


def _checked(record: Record) -> Record:
    if record.signal_mv.size == 0:
        raise RecordError("read", "has no samples")
    if not record.fs_hz > 0:
        raise RecordError("read", f"the header says a sampling rate of {record.fs_hz:g} Hz")
    return record


def _check_sums(leads: Sequence[str], stated: Sequence[int | None] | None, found: Sequence[int]) -> None:
    """Compare checksums; a stated 0 means that the writer made none."""
    for lead, expected, sum_ in zip(leads, stated or [None] * len(leads), found, strict=True):
        if expected and expected % 65536 != sum_ % 65536:
            raise RecordError("read", f"checksum of {lead} is {sum_ % 65536}, the header says {expected % 65536}")


@dataclass(frozen=True)
class ChosenLeads:
    """Leads taken from a record.

    Parameters
    ----------
    signal_mv : ndarray of float64, shape (n_leads, n_samples)
        In the order that was asked for.
    sources : tuple of str
        The lead that each came from.
    substituted : bool
        Whether one stands in for another.
    """

    signal_mv: NDArray[np.float64]
    sources: tuple[str, ...]
    substituted: bool


def choose_leads(record: Record, leads: Sequence[str], substitutes: Mapping[str, str]) -> ChosenLeads:
    """Take leads by name, never by position.

    Parameters
    ----------
    record : Record
        The recording.
    leads : sequence of str
        Names, in the order wanted; case does not matter.
    substitutes : mapping
        Lead that stands in where another is absent. A lead under its other name (`store.vocabulary.SAME_LEADS`) is
        itself, and no substitute.

    Raises
    ------
    RecordError
        If a lead is absent and nothing stands in for it, or it cannot be taken: see `Record.unfit`.
    """
    here = {lead_key(name): i for i, name in enumerate(record.leads)}
    rows, sources, own = [], [], []
    for lead in leads:
        names = same_leads(lead)
        stand_ins = [substitutes[name] for name in names if name in substitutes]
        source = next((name for name in (*names, *stand_ins) if lead_key(name) in here), None)
        if source is None:
            raise RecordError("leads", f"lead {lead} is missing; the record has {', '.join(record.leads)}")
        if why := record.unfit.get(record.leads[here[lead_key(source)]]):
            raise RecordError("leads", f"lead {source} {why}")
        rows.append(here[lead_key(source)])
        sources.append(source)
        own.append(source in names)
    all_in_order = rows == list(range(len(record.leads)))
    signal_mv = record.signal_mv if all_in_order else record.signal_mv[rows]
    return ChosenLeads(signal_mv, tuple(sources), not all(own))


def number_repeated(names: Sequence[str]) -> tuple[str, ...]:
    """Return lead names in which one that a header repeats, in any case, has a number behind it: ECG, ECG → ECG1, ECG2.

    A number that makes a name that is there already is passed over.
    """
    n_named = Counter(map(lead_key, names))
    taken, numbers = set(n_named), dict.fromkeys(n_named, 0)
    numbered = []
    for name in names:
        key, new = lead_key(name), name
        while n_named[key] > 1 and lead_key(new) in taken:
            numbers[key] += 1
            new = f"{name}{numbers[key]}"
        taken.add(lead_key(new))
        numbered.append(new)
    return tuple(numbered)


def check_quality(signal_mv: NDArray[np.float64], leads: Sequence[str], fs_hz: float) -> None:
    """Refuse signals without content, and signals that are no ECG in mV.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV, without gaps.
    leads : sequence of str
        Names, for the message.
    fs_hz : float
        Sampling rate.

    Raises
    ------
    RecordError
        If the rate is too low for QRS complexes, if a lead is flat, or if the range of a typical second is over 20 mV
        in a lead or under 0.05 mV in all: then the header's unit or gain is wrong, most often by a thousand.
    """
    if fs_hz < MIN_RATE_HZ:
        raise RecordError("quality", f"has {fs_hz:g} Hz, too few for an ECG (at least {MIN_RATE_HZ:g} Hz)")
    for lead, row in zip(leads, signal_mv, strict=True):
        if row.std() < MIN_SD_MV:
            raise RecordError("quality", f"lead {lead} is flat (SD below {MIN_SD_MV * 1000:g} µV)")
    range_mv = _typical_range_mv(signal_mv, fs_hz)
    widest = int(np.argmax(range_mv))
    if not MIN_RANGE_MV <= range_mv[widest] <= MAX_RANGE_MV:
        raise RecordError(
            "quality",
            f"lead {leads[widest]} spans {range_mv[widest]:.3g} mV in a typical second, which no ECG does "
            f"({MIN_RANGE_MV:g} to {MAX_RANGE_MV:g} mV): the unit or the gain in the header is wrong, or the "
            "unit of an array not mV",
        )


def _typical_range_mv(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.float64]:
    """Return the median over seconds of each lead's range."""
    width = min(round(fs_hz), signal_mv.shape[1])
    n_seconds = signal_mv.shape[1] // width
    seconds = signal_mv[:, : n_seconds * width].reshape(len(signal_mv), n_seconds, width)
    typical: NDArray[np.float64] = np.median(np.ptp(seconds, axis=2), axis=1)
    return typical


def to_counts(signal_mv: NDArray[np.float64]) -> tuple[NDArray[np.int16], int]:
    """Round mV to int16 counts of `store.schema.SCALE_MV`.

    Parameters
    ----------
    signal_mv : ndarray, any shape
        Voltage in mV.

    Returns
    -------
    counts : ndarray of int16
        Same shape.
    n_clipped : int
        Samples beyond ±32.767 mV.
    """
    counts, n_clipped = np.empty(signal_mv.shape, np.int16), 0
    for first in range(0, signal_mv.shape[-1], PIECE_SAMPLES):
        piece = np.s_[..., first : first + PIECE_SAMPLES]
        scaled = np.rint(signal_mv[piece] / SCALE_MV)
        n_clipped += int(np.count_nonzero(np.abs(scaled) > CLIP_COUNT))
        counts[piece] = np.clip(scaled, -CLIP_COUNT, CLIP_COUNT)
    return counts, n_clipped


def check_clipped(n_clipped: int, n_samples: int) -> None:
    """Refuse signals of which much is clipped.

    Raises
    ------
    RecordError
        If more than one sample in a thousand is: then the unit or the gain is wrong.
    """
    if n_clipped > MAX_CLIPPED_SHARE * n_samples:
        share = 100 * n_clipped / n_samples
        raise RecordError("quantise", f"{share:.2g} % of the samples exceed ±{CLIP_COUNT * SCALE_MV:.3f} mV")
