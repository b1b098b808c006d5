"""Reading the WFDB headers and signal formats that most databases use, at the speed of the disk.

The wfdb package reads every format and takes milliseconds to parse a header; a database of 20,000 short records
spends more time there than in all its pictures. What is read here, formats 16 and 212 with one sample a frame, is
tested to be equal to wfdb, which reads the rest.

References
----------
.. [1] PhysioNet, WFDB header and signal file formats, header(5) and signal(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from store.vocabulary import MV_PER_UNIT

BYTES_PER_SAMPLE = {
    "8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
DEFAULT_GAIN = 200.0  # units per mV of a signal whose header states none
NO_VALUE = {"16": -32768, "212": -2048}

RECORD_LINE = re.compile(
    r"^(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<n_signals>\d+)"
    r"(?:\s+(?P<fs>[\d.eE+-]+)(?:/[\d.eE+()-]+)?(?:\s+(?P<n_samples>\d+)(?:\s+\S.*)?)?)?\s*$"
)
SEGMENTED = re.compile(r"^\S+/\d+\s")
RATE = re.compile(r"^\S+\s+\d+\s+(?P<fs>[\d.eE+-]+)")
SAMPLES_A_FRAME = re.compile(r"x(\d+)")
N_SIGNALS = re.compile(r"^\S+\s+(?P<n_signals>\d+)")
NO_SEGMENT = "~"
DEFAULT_FS_HZ = 250.0  # of a header that states none
SIGNAL_LINE = re.compile(
    r"^(?P<file>\S+)\s+(?P<format>\d+)(?P<special>[x:][^\s+]*)?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<units>\S+))?"
    r"(?:\s+\d+(?:\s+(?P<zero>-?\d+)(?:\s+-?\d+(?:\s+(?P<checksum>-?\d+)(?:\s+\d+(?:\s+(?P<lead>.*?))?)?)?)?)?)?)?\s*$"
)


@dataclass(frozen=True)
class SignalLine:
    """What a header says of one signal."""

    file: str
    format: str
    offset: int
    gain: float
    baseline: int
    units: str
    checksum: int | None
    lead: str


@dataclass(frozen=True)
class Header:
    """A header whose signals `read_signals` can decode; 0 samples mean that their number is not stated."""

    fs_hz: float
    n_samples: int
    signals: tuple[SignalLine, ...]
    comments: tuple[str, ...]


@dataclass(frozen=True)
class Segments:
    """A header whose record consists of other records.

    Parameters
    ----------
    fs_hz : float
        Frames a second; a segment may hold several samples of a lead in each.
    layout : str
        Record whose header names all leads, where segments have different ones; empty where all have the same.
    parts : tuple of (str, int)
        Record and number of frames of each segment; ``~`` is a gap.
    n_frames : int or None
        Number of frames in all, where it is stated.
    comments : tuple of str
        Comment lines.
    """

    fs_hz: float
    layout: str
    parts: tuple[tuple[str, int], ...]
    n_frames: int | None
    comments: tuple[str, ...]


def parse_segments(text: str) -> Segments | None:
    """Return what a multi-segment header says, or None where a record has signals of its own.

    Parameters
    ----------
    text : str
        The header file's text.
    """
    first, *others = _stated_lines(text) or [""]
    if not SEGMENTED.match(first):
        return None
    parts = [(name, int(n)) for name, n, *_ in map(str.split, others)]
    layout = parts.pop(0)[0] if parts and parts[0][1] == 0 else ""
    record = RECORD_LINE.match(first)
    n_frames = int(record["n_samples"] or 0) if record else 0
    return Segments(stated_rate(text), layout, tuple(parts), n_frames or None, _comments(text))


def stated_rate(text: str) -> float:
    """Return the sampling rate that a header's text states, in Hz; 250 where it states none, as header(5) has it."""
    match = RATE.match((_stated_lines(text) or [""])[0])
    return float(match["fs"]) if match else DEFAULT_FS_HZ


def samples_a_frame(text: str) -> int:
    """Return how many samples a frame holds of that lead of a header's text which has most; only voltages are leads."""
    leads = [match for match in _signal_lines(text) if match and (match["units"] or "mV").lower() in MV_PER_UNIT]
    several = [SAMPLES_A_FRAME.match(match["special"] or "") for match in leads]
    return max([int(match[1]) for match in several if match], default=1)


def sampling_rate(path: Path) -> float:
    """Return the rate of a record's leads in Hz: that of its frames times the most samples that one holds of a lead.

    Parameters
    ----------
    path : Path
        The record's path without a suffix.
    """
    text = read_header_text(path.with_name(f"{path.name}.hea"))
    segments = parse_segments(text)
    if segments is None:
        return stated_rate(text) * samples_a_frame(text)
    names = dict.fromkeys(name for name, _ in segments.parts if name != NO_SEGMENT)
    parts = [read_header_text(path.with_name(f"{name}.hea")) for name in names]
    return segments.fs_hz * max(map(samples_a_frame, parts), default=1)


def n_signals(text: str) -> int | None:
    """Return how many signals a header's text says that there are; None where its first line cannot be read."""
    match = N_SIGNALS.match((_stated_lines(text) or [""])[0])
    return int(match["n_signals"]) if match else None


def lead_names(text: str) -> list[str]:
    """Return the names of the leads of a header's text, as it spells them."""
    return [(match["lead"] or "") if match else "" for match in _signal_lines(text)]


def signal_files(text: str) -> list[str]:
    """Return the names of the signal files of a header's text, one a signal, as it spells them."""
    return [match["file"] for match in _signal_lines(text) if match]


def parse_header(text: str) -> Header | None:
    """Return a header, or None where it uses what only the wfdb package reads.

    Parameters
    ----------
    text : str
        The header file's text.
    """
    stated = _stated_lines(text)
    record = RECORD_LINE.match(stated[0]) if stated else None
    matches = [SIGNAL_LINE.match(line) for line in stated[1:]]
    if record is None or record["segments"] or not record["fs"] or not record["n_samples"]:
        return None
    if len(matches) != int(record["n_signals"]) or not matches:
        return None
    readable = [match for match in matches if match and not match["special"] and match["format"] in NO_VALUE]
    if len(readable) < len(matches):
        return None
    signals = tuple(_signal(match) for match in readable)
    return Header(float(record["fs"]), int(record["n_samples"]), signals, _comments(text))


def _signal(match: re.Match[str]) -> SignalLine:
    zero = int(match["zero"] or 0)
    return SignalLine(
        file=match["file"],
        format=match["format"],
        offset=int(match["offset"] or 0),
        gain=float(match["gain"] or 0) or DEFAULT_GAIN,
        baseline=int(match["baseline"]) if match["baseline"] else zero,
        units=match["units"] or "mV",
        checksum=int(match["checksum"]) if match["checksum"] else None,
        lead=match["lead"] or "",
    )


def read_header_text(path: Path) -> str:
    """Return a header file's text: UTF-8, else Latin-1; the standard knows ASCII alone, but a µ comes in both.

    Parameters
    ----------
    path : Path
        The header file.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def signals_without_gain(text: str) -> list[int]:
    """Return the numbers of the signals for which a header states no gain, or 0, which means the same.

    Parameters
    ----------
    text : str
        The header file's text.

    References
    ----------
    .. [1] header(5): such a signal is not calibrated, and readers assume 200 units per mV.
    """
    return [i for i, match in enumerate(_signal_lines(text)) if match and not float(match["gain"] or 0)]


def stated_units(text: str) -> dict[int, str]:
    """Return the units that a header states, by the signal's number.

    Parameters
    ----------
    text : str
        The header file's text.
    """
    return {i: match["units"] for i, match in enumerate(_signal_lines(text)) if match and match["units"]}


def _signal_lines(text: str) -> list[re.Match[str] | None]:
    return [SIGNAL_LINE.match(line) for line in _stated_lines(text)[1:]]


def _comments(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines()]
    return tuple(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))


def _stated_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def read_signals(folder: Path, header: Header) -> NDArray[np.int16]:
    """Return the digital signals of a record, int16, shape (n_signals, n_samples).

    Parameters
    ----------
    folder : Path
        Where the signal files lie.
    header : Header
        The parsed header.

    Raises
    ------
    ValueError
        If a file is shorter than the header says, or its signals do not stand together in the header.
    """
    groups = [(file, list(group)) for file, group in groupby(header.signals, key=lambda signal: signal.file)]
    if len(groups) > len({file for file, _ in groups}) or any(
        len({one.format for one in own}) > 1 for _, own in groups
    ):
        raise ValueError("the header does not name the signals of a file one after the other, in one format")
    return np.concatenate([_read_file(folder / file, own, header.n_samples) for file, own in groups])


def _read_file(path: Path, signals: Sequence[SignalLine], n_samples: int) -> NDArray[np.int16]:
    raw = np.fromfile(path, np.uint8, offset=signals[0].offset)
    decode = _decode_16 if signals[0].format == "16" else _decode_212
    samples = decode(raw)
    found = len(samples) // len(signals)
    n_samples = n_samples or found
    wanted = n_samples * len(signals)
    if len(samples) < wanted:
        raise ValueError(f"{path.name} holds {found} samples a signal, the header says {n_samples}")
    return samples[:wanted].reshape(n_samples, len(signals)).T


def _decode_16(raw: NDArray[np.uint8]) -> NDArray[np.int16]:
    return raw[: len(raw) // 2 * 2].view("<i2").astype(np.int16, copy=False)


def _decode_212(raw: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Decode pairs of 12-bit samples in three bytes: low byte, both high nibbles, low byte."""
    pairs = raw[: len(raw) // 3 * 3].reshape(-1, 3).astype(np.int16)
    low, nibbles, high = pairs.T
    samples = np.empty((len(pairs), 2), np.int16)
    samples[:, 0] = low | ((nibbles & 0x0F) << 8)
    samples[:, 1] = high | ((nibbles & 0xF0) << 4)
    samples -= (samples & 0x800) << 1
    flat = samples.reshape(-1)
    if len(raw) % 3 == 2:  # an odd number of samples ends in two bytes
        last = int(raw[-2]) | (int(raw[-1]) & 0x0F) << 8
        flat = np.append(flat, np.int16(last - ((last & 0x800) << 1)))
    return flat
