"""Annotations of a record: its beats, the rhythm that they stand in, and the labels that they give to a frame.

A frame is a window or a whole record. Its labels follow reference 1: the rarest kind of beat that it holds, the rhythm
that fills most of it, and its heart rate.

References
----------
.. [1] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021. Departures: a
   rhythm lasts until the next one is marked, also where a frame starts within it.
.. [2] PhysioNet, WFDB annotation file formats, annot(5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgprep.wfdb_files import read_header_text, sampling_rate, stated_rate
from store.errors import RecordError
from store.vocabulary import (
    BEAT_SCHEMES,
    FRAME_BEAT_CLASSES,
    FRAME_BEAT_OF,
    FRAME_RHYTHM_CLASSES,
    FRAME_RHYTHM_OF,
    HEART_RATE_CLASSES,
)

if TYPE_CHECKING:
    import wfdb

END_MARK = b"\0\0"  # of every annotation file [2]; wfdb reads one that was cut short without a word
HOLE = bytes(16)  # no file has so many zeros, but for one that lost a part of itself, which moves all later marks
MAX_APART_S = 10.0  # of beats, in the median; apnea-ecg marks minutes with N and A, others half minutes of sleep
ECTOPIC = ("PAC", "aberrated", "PVC")  # any of them outweighs all normal beats of a frame
ABNORMAL_RHYTHMS = ("undefined", "AFIB", "AFL")  # any of them outweighs what else fills a frame
SLOW_BPM, FAST_BPM = 60.0, 100.0


@dataclass(frozen=True)
class Annotations:
    """What an annotator marked in a record.

    Parameters
    ----------
    r_peaks : ndarray of int64, shape (n_beats,)
        Raw sample numbers of the beats, ascending.
    symbols : ndarray of str, shape (n_beats,)
        Their WFDB symbols.
    rhythm_starts : ndarray of int64, shape (n_rhythms,)
        Raw sample numbers at which a rhythm begins, ascending.
    rhythms : sequence of str
        Its name as marked, such as ``(AFIB``.
    n_dropped : mapping
        Annotations that mark no beat, or one that is marked already, counted by symbol.
    """

    r_peaks: NDArray[np.int64]
    symbols: NDArray[np.str_]
    rhythm_starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rhythms: Sequence[str] = ()
    n_dropped: Mapping[str, int] = field(default_factory=dict)


def read_annotations(path: Path, extension: str = "atr") -> Annotations:
    """Read the beats and rhythms of a WFDB annotation file, in samples of the record.

    Parameters
    ----------
    path : Path
        The record's path without a suffix.
    extension : str
        The annotator's name, which is the file's suffix.

    Raises
    ------
    RecordError
        If the file cannot be read, or what it marks with the symbols of beats is none.
    """
    annotation = load_annotation(path, extension)
    symbols = np.asarray(annotation.symbol, dtype=np.str_)
    header = read_header_text(path.with_name(f"{path.name}.hea"))
    ticks_hz = annotation.fs or stated_rate(header)  # of a file's own, or the frames, which may hold several samples
    fs_hz = sampling_rate(path)
    samples = np.rint(np.asarray(annotation.sample) * (fs_hz / ticks_hz)).astype(np.int64)
    notes = [note.rstrip("\x00 ") for note in annotation.aux_note or [""] * len(symbols)]
    order = np.argsort(samples, kind="stable")  # a file that several hands wrote may go back in time
    symbols, samples, notes = symbols[order], samples[order], [notes[i] for i in order]
    is_beat = np.isin(symbols, list(BEAT_SCHEMES["aami"]))
    marks = np.flatnonzero(is_beat)
    is_beat[np.delete(marks, np.unique(samples[marks], return_index=True)[1])] = False  # a beat marked twice is one
    _check_beats(samples[is_beat], fs_hz, f"{path.name}.{extension}")
    is_rhythm = np.array([note.startswith("(") or note == ")" for note in notes], dtype=bool)
    return Annotations(
        samples[is_beat],
        symbols[is_beat],
        samples[is_rhythm],
        [note for note, rhythm in zip(notes, is_rhythm, strict=True) if rhythm],
        Counter(symbols[~is_beat].tolist()),
    )


def _check_beats(samples: NDArray[np.int64], fs_hz: float, name: str) -> None:
    apart_s = float(np.median(np.diff(samples))) / fs_hz if len(samples) > 1 else 0.0
    if apart_s > MAX_APART_S:
        raise RecordError(
            "label", f"the beats that {name} marks are {apart_s:.3g} s apart: they are none; name another annotator"
        )


def load_annotation(path: Path, extension: str) -> wfdb.Annotation:
    """Return what an annotation file holds, as the wfdb package reads it.

    Parameters
    ----------
    path, extension
        As in `read_annotations`.

    Raises
    ------
    RecordError
        If the file is missing, damaged or cut short.
    """
    import wfdb

    name = f"{path.name}.{extension}"
    try:
        annotation = wfdb.rdann(str(path), extension)
        raw = path.with_name(name).read_bytes()
    except Exception as error:  # the parser raises whatever a damaged file trips
        said = str(error).replace(f"{path.parent}/", "")  # a store names no folder of its maker's
        raise RecordError("label", f"{name} cannot be read: {type(error).__name__}: {said}") from error
    if not raw.endswith(END_MARK):
        raise RecordError("label", f"{name} has no end mark: it is cut short, or no annotation file")
    if HOLE in raw:
        raise RecordError("label", f"{name} holds {len(HOLE)} zero bytes in a row: it is damaged")
    return annotation


def label_frames(
    marked: Annotations, start: NDArray[np.int64], stop: NDArray[np.int64], fs_hz: float
) -> dict[str, NDArray[np.int8]]:
    """Return the class numbers of frames: their beats, their rhythm and their heart rate.

    Parameters
    ----------
    marked : Annotations
        Of the record.
    start, stop : ndarray of int64, shape (n_frames,)
        Raw sample numbers of each frame's first sample and of the one after its last.
    fs_hz : float
        Sampling rate that they are counted at.

    Returns
    -------
    dict of str to ndarray of int8, shape (n_frames,)
        By the scheme's name: ``frame_beat``, ``frame_rhythm`` and ``heart_rate``. −1 where the annotator marks no beat,
        or no rhythm, of the whole record: some mark rhythms alone, others beats alone.
    """
    first, last = (np.searchsorted(marked.r_peaks, edge) for edge in (start, stop))
    kinds = np.array([FRAME_BEAT_OF[symbol] for symbol in marked.symbols.tolist()], dtype=np.str_)
    beats = [beat_class(kinds[i + 1 : j]) for i, j in zip(first, last, strict=True)]  # the first one is not whole
    rates = [heart_rate_class(marked.r_peaks[i:j], fs_hz) for i, j in zip(first, last, strict=True)]
    rhythms = [rhythm_class(_rhythm_samples(marked, a, b)) for a, b in zip(start, stop, strict=True)]
    return {
        "frame_beat": _numbers(beats, FRAME_BEAT_CLASSES, len(marked.r_peaks) > 0),
        "frame_rhythm": _numbers(rhythms, FRAME_RHYTHM_CLASSES, len(marked.rhythms) > 0),
        "heart_rate": _numbers(rates, HEART_RATE_CLASSES, len(marked.r_peaks) > 0),
    }


def beat_class(kinds: NDArray[np.str_]) -> str:
    """Return the most frequent ectopic beat if there is one, else the most frequent of the rest."""
    counts = Counter(kinds.tolist())
    ectopic = {kind: counts[kind] for kind in ECTOPIC if counts[kind]}
    rest = {kind: counts[kind] for kind in ("normal", "undefined") if counts[kind]}
    return _largest(ectopic or rest)


def rhythm_class(n_samples: Mapping[str, int]) -> str:
    """Return the longest of undefined, AFIB and AFL if there is one, else the longest of the rest.

    Parameters
    ----------
    n_samples : mapping
        How many samples each rhythm of the frame lasts.
    """
    abnormal = {name: n_samples[name] for name in ABNORMAL_RHYTHMS if n_samples.get(name)}
    return _largest(abnormal or n_samples)


def heart_rate_class(r_peaks: NDArray[np.int64], fs_hz: float) -> str:
    """Return bradycardia, normal or tachycardia by the mean RR interval; noise for fewer than two beats."""
    if len(r_peaks) < 2:
        return "noise"
    lasting_s = max(int(r_peaks[-1] - r_peaks[0]), 1) / fs_hz
    rate_bpm = 60.0 * (len(r_peaks) - 1) / lasting_s
    if rate_bpm < SLOW_BPM:
        return "bradycardia"
    return "tachycardia" if rate_bpm > FAST_BPM else "normal"


def _largest(counts: Mapping[str, int]) -> str:
    """Return the key of the largest count, the first of equal ones; ``undefined`` where there is none."""
    return max(counts, key=lambda name: counts[name], default="undefined")


def _rhythm_samples(marked: Annotations, start: int, stop: int) -> dict[str, int]:
    """Return how many samples of a frame each rhythm lasts; what lies before the first mark counts for none."""
    first = int(np.searchsorted(marked.rhythm_starts, start, side="right"))
    last = int(np.searchsorted(marked.rhythm_starts, stop))
    edges = [start, *marked.rhythm_starts[first:last].tolist(), stop]
    names = [marked.rhythms[i] if i >= 0 else None for i in range(first - 1, last)]
    lasting: Counter[str] = Counter()
    for name, (begin, end) in zip(names, pairwise(edges), strict=True):
        if name is not None:
            lasting[FRAME_RHYTHM_OF.get(name, "undefined")] += end - begin
    return lasting


def _numbers(names: Sequence[str], classes: Sequence[str], is_judged: bool) -> NDArray[np.int8]:
    return np.array([classes.index(name) if is_judged else -1 for name in names], dtype=np.int8)
