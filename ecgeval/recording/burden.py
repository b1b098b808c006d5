"""Burden and trends: how much of a recording each class is, and how it changes over the hours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgeval.recording.episodes import LONGEST_RR_S, Episode
from ecgeval.recording.predicted import About, Beats

TREND_BIN_S = 300.0
NIGHT = (22, 6)  # hours of the clock
Z_95 = 1.959964


class Burden(NamedTuple):
    """Beats of a class, their share in percent with Wilson's 95 % interval, and how many an hour and a day."""

    label: str
    n_beats: int
    percent: float
    low: float
    high: float
    per_analysed_hour: float
    per_24_h: float


class Trend(NamedTuple):
    """One bin of time: its heart rate and each class's share of its beats in percent."""

    start_s: float
    n_beats: int
    heart_rate_bpm: float
    percent: tuple[float, ...]
    n_episodes: int


def analysed_s(about: About, beats: Beats, first_s: float = 0.0, last_s: float = math.inf) -> float:
    """Return how long the recording was analysed: its length without named gaps and without pauses of over 3 s.

    Parameters
    ----------
    about : About
        Names the gaps.
    beats : Beats
        In the order of time.
    first_s, last_s : float
        The part of the recording; by default all of it.
    """
    last_s = min(last_s, about.duration_s)
    lost = (min(end, last_s) - max(start, first_s) for start, end in _holes(about, beats))
    return last_s - first_s - sum(length for length in lost if length > 0)


def _holes(about: About, beats: Beats) -> list[tuple[float, float]]:
    """Return gaps and pauses, none over another."""
    edges = np.concatenate([[0.0], beats.t_s, [about.duration_s]])
    holes = [(gap.start_s, gap.end_s) for gap in about.gaps]
    holes += [(float(a), float(b)) for a, b in itertools.pairwise(edges) if b - a > LONGEST_RR_S]
    apart, reached = [], 0.0
    for start, end in sorted(holes):
        if end > reached:
            apart.append((max(start, reached), end))
            reached = end
    return apart


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; NaN for none of none.

    Parameters
    ----------
    k, n : int
        How many of how many.

    References
    ----------
    Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 22 (1927).
    """
    if not n:
        return math.nan, math.nan
    share, z2 = k / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def burden(beats: Beats, hours: float) -> list[Burden]:
    """Return the burden of each class.

    Parameters
    ----------
    beats : Beats
        All classified beats.
    hours : float
        How long was analysed, from `analysed_s`; gaps then bias nothing.
    """
    rows = []
    for label in beats.classes:
        k, n = int(beats.is_class(label).sum()), len(beats)
        low, high = (100 * bound for bound in wilson(k, n))
        hourly = k / hours if hours else math.nan
        rows.append(Burden(label, k, 100 * k / n if n else math.nan, low, high, hourly, 24 * hourly))
    return rows


def trends(
    beats: Beats, duration_s: float, episodes: Sequence[Episode] = (), bin_s: float = TREND_BIN_S
) -> list[Trend]:
    """Return heart rate and burden in bins of time.

    Parameters
    ----------
    beats : Beats
        In the order of time.
    duration_s : float
        Length of the recording.
    episodes : sequence of Episode
        Counted in the bin in which they start.
    bin_s : float
        Width of a bin; 300 by default, 3,600 for the hourly table.

    Returns
    -------
    list of Trend
        The rate is the median of 60 / RR over the intervals that end in the bin and are no longer than 3 s; NaN
        without one.
    """
    rr_s = np.diff(beats.t_s, prepend=np.nan)
    rate = np.where(rr_s <= LONGEST_RR_S, 60 / rr_s, np.nan)
    bins = (beats.t_s // bin_s).astype(int)
    starts = np.array([episode.start_s // bin_s for episode in episodes], dtype=int)
    return [
        _trend(beats, bins == i, rate, i * bin_s, int((starts == i).sum()))
        for i in range(math.ceil(duration_s / bin_s))
    ]


def day_and_night(start: datetime, about: About, beats: Beats) -> dict[str, list[Burden]]:
    """Return the burden by day (6 to 22 h) and by night, over the hours of each that were analysed.

    Parameters
    ----------
    start : datetime
        The clock at the recording's start.
    about : About
        Names the gaps.
    beats : Beats
        In the order of time.
    """
    night = np.array([_is_night(start, float(t)) for t in beats.t_s], dtype=bool)
    seconds = {True: 0.0, False: 0.0}
    for first_s, last_s in itertools.pairwise(_turns_s(start, about.duration_s)):
        seconds[_is_night(start, (first_s + last_s) / 2)] += analysed_s(about, beats, first_s, last_s)
    parts = {"day": False, "night": True}
    return {name: burden(_take(beats, night == part), seconds[part] / 3600) for name, part in parts.items()}


def _is_night(start: datetime, t_s: float) -> bool:
    hour = (start + timedelta(seconds=t_s)).hour
    return hour >= NIGHT[0] or hour < NIGHT[1]


def _turns_s(start: datetime, duration_s: float) -> list[float]:
    """Return the recording's start and end, and when day and night change between them."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = range(int(duration_s // 86_400) + 2)
    turns = [(midnight + timedelta(days=day, hours=hour) - start).total_seconds() for day in days for hour in NIGHT]
    return [0.0, *sorted(turn for turn in turns if 0 < turn < duration_s), duration_s]


def _trend(
    beats: Beats, chosen: NDArray[np.bool_], rate: NDArray[np.float64], start_s: float, n_episodes: int
) -> Trend:
    n = int(chosen.sum())
    known = rate[chosen & ~np.isnan(rate)]
    shares = (
        np.bincount(beats.label[chosen], minlength=len(beats.classes)) * (100 / n)
        if n
        else np.full(len(beats.classes), np.nan)
    )
    heart_rate = float(np.median(known)) if len(known) else math.nan
    return Trend(start_s, n, heart_rate, tuple(shares.tolist()), n_episodes)


def _take(beats: Beats, chosen: NDArray[np.bool_]) -> Beats:
    return Beats(beats.t_s[chosen], beats.label[chosen], beats.p[chosen], beats.classes)
