"""Episodes: runs of beats of one class, and patterns such as bigeminy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgeval.metrics import divide
from ecgeval.recording.predicted import Beats

LONGEST_RR_S = 3.0  # a longer gap without an R peak breaks a run
ALARM_BEATS = 5  # consecutive V: possible non-sustained VT
CLINICAL_BEATS, CLINICAL_RATE_BPM, SUSTAINED_S = 3, 100.0, 30.0
LEAST_REPEATS = 3  # of VN, or of VNN
SIZES = {"couplet": (2, 2), "run": (3, 5), "long run": (6, 10**9)}  # EC57's run classes


class Episode(NamedTuple):
    """Consecutive beats of one class, or of one pattern.

    Times in seconds from the recording's start; the rate is the mean over its RR intervals in beats a minute.
    """

    kind: str
    label: str
    start_s: float
    end_s: float
    n_beats: int
    duration_s: float
    rate_bpm: float
    probability: float
    alarm: bool = False


def find_runs(beats: Beats, label: str, bridge: bool = False, clinical: bool = False) -> list[Episode]:
    """Return the couplets, runs and long runs of a class.

    Parameters
    ----------
    beats : Beats
        In the order of time; a gap of over 3 s breaks a run.
    label : str
        The class, such as ``V``.
    bridge : bool
        Whether one other beat inside a run is passed over.
    clinical : bool
        Whether the alarm is the clinical rule (at least 3 V at over 100 a minute, under 30 s) and not the default (at
        least 5 consecutive V).

    Returns
    -------
    list of Episode
        Of two beats and more, in the order of time.
    """
    chosen = beats.is_class(label)
    if bridge:
        chosen = _bridge(chosen)
    return [
        _episode(beats, start, stop, _size(stop - start), label, clinical)
        for start, stop in _stretches(chosen, beats.t_s)
        if stop - start >= 2
    ]


def find_patterns(beats: Beats, label: str = "V", other: str = "N") -> list[Episode]:
    """Return bigeminy (VN three times and more) and trigeminy (VNN).

    Parameters
    ----------
    beats : Beats
        In the order of time.
    label, other : str
        The premature class and the normal one.
    """
    letters = np.where(beats.is_class(label), 1, np.where(beats.is_class(other), 2, 0)).tolist()
    found = [
        _episode(beats, first + start, first + stop, kind, label, False)
        for first, last in _segments(beats.t_s)
        for kind, pattern in (("bigeminy", (1, 2)), ("trigeminy", (1, 2, 2)))
        for start, stop in _repeats(letters[first:last], pattern)
    ]
    return sorted(found, key=lambda episode: episode.start_s)


def score_episodes(reference: Sequence[Episode], detected: Sequence[Episode], size: str) -> tuple[float, float]:
    """Return sensitivity and PPV of episodes of one size, as EC57 compares run by run.

    Parameters
    ----------
    reference, detected : sequence of Episode
        Of one class, from `find_runs`.
    size : {"couplet", "run", "long run"}
        Sensitivity: the share of reference episodes of this size that overlap a detected one of at least it; PPV: the
        converse.
    """
    pairs = ((reference, detected), (detected, reference))
    sensitivity, ppv = (_share_met(these, those, size) for these, those in pairs)
    return sensitivity, ppv


def _share_met(these: Sequence[Episode], those: Sequence[Episode], size: str) -> float:
    least = SIZES[size][0]
    enough = [episode for episode in those if episode.n_beats >= least]
    wanted = [episode for episode in these if episode.kind == size]
    met = sum(any(a.start_s <= b.end_s and b.start_s <= a.end_s for b in enough) for a in wanted)
    return float(divide(met, len(wanted)))


def _segments(t_s: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Yield first and last plus one of the beats between gaps."""
    edges = np.flatnonzero(np.diff(t_s) > LONGEST_RR_S) + 1
    yield from itertools.pairwise([0, *edges.tolist(), len(t_s)])


def _stretches(chosen: NDArray[np.bool_], t_s: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Yield first and last plus one of each stretch of chosen beats that no gap breaks."""
    for first, last in _segments(t_s):
        steps = np.diff(np.concatenate([[0], chosen[first:last].astype(np.int8), [0]]))
        yield from zip((first + np.flatnonzero(steps == 1)).tolist(), (first + np.flatnonzero(steps == -1)).tolist(),
                       strict=True)  # fmt: skip


def _bridge(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    bridged = chosen.copy()
    bridged[1:-1] |= chosen[:-2] & chosen[2:]
    return bridged


def _repeats(letters: list[int], pattern: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield first and last plus one of each stretch in which a pattern comes at least three times."""
    i, n = 0, len(pattern)
    while i + n <= len(letters):
        stop = i
        while tuple(letters[stop : stop + n]) == pattern:
            stop += n
        if stop - i >= LEAST_REPEATS * n:
            yield i, stop
        i = max(stop, i + 1)


def _size(n_beats: int) -> str:
    return next(name for name, (least, most) in SIZES.items() if least <= n_beats <= most)


def _episode(beats: Beats, start: int, stop: int, kind: str, label: str, clinical: bool) -> Episode:
    t_s = beats.t_s[start:stop]
    duration_s = float(t_s[-1] - t_s[0])
    rate_bpm = 60 * (len(t_s) - 1) / duration_s
    if clinical:
        alarm = len(t_s) >= CLINICAL_BEATS and rate_bpm > CLINICAL_RATE_BPM and duration_s < SUSTAINED_S
    else:
        alarm = len(t_s) >= ALARM_BEATS
    alarm = alarm and label == "V" and kind in SIZES
    probability = float(beats.p[start:stop].mean())
    return Episode(kind, label, float(t_s[0]), float(t_s[-1]), len(t_s), duration_s, rate_bpm, probability, alarm)
