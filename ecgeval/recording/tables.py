"""Tables of a predicted recording."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ecgeval import ec57
from ecgeval.recording.burden import Burden, Trend
from ecgeval.recording.episodes import SIZES, Episode, score_episodes
from ecgeval.recording.predicted import Beats
from ecgeval.tables.table import Row, Table


def beat_stream(beats: Beats) -> Table:
    """Return every beat with its time, class and probability."""
    rows: list[Row] = [
        (clock(t), float(t), beats.classes[label], float(p))
        for t, label, p in zip(beats.t_s, beats.label, beats.p, strict=True)
    ]
    return Table("beats", "Beats", ("Time", "t_s", "Class", "Probability"), tuple(rows))


def episode_table(episodes: Sequence[Episode]) -> Table:
    """Return the episodes in the order of time."""
    rows: list[Row] = [
        (clock(e.start_s), e.kind, e.label, e.start_s, e.end_s, e.n_beats, e.duration_s, e.rate_bpm, e.probability,
         "possible non-sustained VT" if e.alarm else "")
        for e in sorted(episodes, key=lambda e: e.start_s)
    ]  # fmt: skip
    columns = (
        "Start", "Kind", "Class", "Start (s)", "End (s)", "Beats", "Duration (s)", "Rate (1/min)", "Mean probability",
        "Alarm",
    )  # fmt: skip
    return Table("episodes", "Episodes", columns, tuple(rows), "A pause of over 3 s without an R peak breaks a run.")


def burden_table(parts: dict[str, list[Burden]]) -> Table:
    """Return the burden of each class, of the whole recording and where known by day and night."""
    rows: list[Row] = [(part, *one) for part, burdens in parts.items() for one in burdens]
    columns = ("Part", "Class", "Beats", "Burden (%)", "Low", "High", "An analysed hour", "In 24 h")
    note = (
        "Burden: beats of the class in all classified beats, with Wilson's 95 % interval, which takes beats as "
        "independent and is too narrow where they come in runs. Hours are analysed ones, so gaps bias nothing."
    )
    return Table("burden", "Burden", columns, tuple(rows), note)


def trend_table(trends: Sequence[Trend], classes: Sequence[str], name: str, title: str) -> Table:
    """Return heart rate and burden by bins of time."""
    rows: list[Row] = [(clock(t.start_s), t.n_beats, t.heart_rate_bpm, *t.percent, t.n_episodes) for t in trends]
    columns = ("Start", "Beats", "Heart rate (1/min)", *(f"{c} (%)" for c in classes), "Episodes")
    return Table(name, title, columns, tuple(rows))


def episode_scores(reference: Sequence[Episode], detected: Sequence[Episode]) -> Table:
    """Return sensitivity and PPV of couplets, runs and long runs against an expert's beats."""
    rows: list[Row] = []
    for size in SIZES:
        sensitivity, ppv = score_episodes(reference, detected, size)
        n = [sum(episode.kind == size for episode in episodes) for episodes in (reference, detected)]
        rows.append((size, *n, sensitivity, ppv))
    columns = ("Size", "Reference", "Detected", "Sensitivity", "PPV")
    note = "An episode is met by an overlapping one of at least its size, as in EC57's run-by-run comparison."
    return Table("episode_scores", "Ventricular episodes against the reference", columns, tuple(rows), note)


def beat_scores(reference: Beats, beats: Beats, learning_s: float) -> Table:
    """Return EC57's statistics of detection and of S and V beats against an expert's beats.

    Parameters
    ----------
    reference, beats : Beats
        What an expert and the model say.
    learning_s : float
        Start of the recording that is left out.
    """
    chosen = [beats_.t_s >= learning_s for beats_ in (reference, beats)]
    position = np.array([ec57.BEATS.find(name) for name in beats.classes])
    match = ec57.match_beats(reference.t_s[chosen[0]], beats.t_s[chosen[1]])
    matrix = ec57.beat_matrix(position[reference.label[chosen[0]]], position[beats.label[chosen[1]]], match)
    rows: list[Row] = [("QRS", *(float(value) for value in ec57.detection(matrix)), math.nan)]
    for name, of in (("S", ec57.supraventricular(matrix)), ("V", ec57.ventricular(matrix))):
        rows.append((name, float(of.sensitivity), float(of.ppv), float(of.false_positive_rate)))
    note = f"Beats within 150 ms of each other match; the first {learning_s:g} s are left out."
    return Table("beat_scores", "Beats against the reference (EC57)", ("Beat", "Se", "PPV", "FPR"), tuple(rows), note)


def clock(t_s: float) -> str:
    """Return a time from the start as hours, minutes and seconds."""
    whole = int(t_s)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
