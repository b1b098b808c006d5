"""The report of one predicted recording: its tables, its trends, and one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgeval import figures
from ecgeval.data import table_data
from ecgeval.ec57 import BEATS
from ecgeval.figures.trends import trends as draw_trends
from ecgeval.page import environment
from ecgeval.recording.burden import TREND_BIN_S, Trend, analysed_s, burden, day_and_night, trends
from ecgeval.recording.episodes import SIZES, Episode, find_patterns, find_runs
from ecgeval.recording.predicted import Beats, Recording
from ecgeval.recording.tables import (
    beat_scores,
    beat_stream,
    burden_table,
    clock,
    episode_scores,
    episode_table,
    trend_table,
)
from ecgeval.tables.table import Table, write_csv

PAGE, DATA = "recording.html", "recording.json"
EPISODE_CLASSES = ("V", "S")
STRIP_EDGE_S, STRIP_MOST_S = 2.0, 10.0
SHOWN_EPISODES = 100


@dataclass(frozen=True)
class Analysis:
    """What is found in a recording.

    Parameters
    ----------
    episodes : list of Episode
        Of V and S, and the patterns of V.
    trends : list of Trend
        In bins of five minutes.
    analysed_s : float
        How long was analysed.
    tables : list of Table
        All tables, that of beats last.
    """

    episodes: list[Episode]
    trends: list[Trend]
    analysed_s: float
    tables: list[Table]


def analyse(recording: Recording, *, bridge: bool = False, clinical: bool = False, learning_s: float = 300) -> Analysis:
    """Return episodes, burden and trends of a recording.

    Parameters
    ----------
    recording : Recording
        The recording.
    bridge : bool
        Whether one other beat inside a run is passed over.
    clinical : bool
        Whether the alarm follows the clinical rule; see `ecgeval.recording.episodes.find_runs`.
    learning_s : float
        Start of the recording that is left out of the scores against a reference.
    """
    about, beats = recording.about, recording.beats
    episodes = find_episodes(beats, bridge, clinical)
    in_bins = trends(beats, about.duration_s, episodes)
    hours = analysed_s(about, beats) / 3600
    parts = {"whole": burden(beats, hours)}
    if about.start_time:
        parts |= day_and_night(about.start_time, about, beats)
    tables = [
        burden_table(parts),
        episode_table(episodes),
        trend_table(trends(beats, about.duration_s, episodes, 3600), beats.classes, "hourly", "By the hour"),
        trend_table(in_bins, beats.classes, "trends", "In bins of 5 minutes"),
    ]
    if recording.reference is not None:
        expert = find_runs(recording.reference, "V", bridge, clinical)
        tables.append(episode_scores(expert, _ventricular_runs(episodes)))
        if set(beats.classes) <= set(BEATS):
            tables.append(beat_scores(recording.reference, beats, learning_s))
    return Analysis(episodes, in_bins, 3600 * hours, [*tables, beat_stream(beats)])


def find_episodes(beats: Beats, bridge: bool, clinical: bool) -> list[Episode]:
    """Return runs of V and S, and bigeminy and trigeminy, in the order of time."""
    runs = [run for label in EPISODE_CLASSES for run in find_runs(beats, label, bridge, clinical)]
    return sorted([*runs, *find_patterns(beats)], key=lambda episode: episode.start_s)


def report_recording(recording: Recording, analysis: Analysis, out: Path) -> Path:
    """Write tables, figures, ``recording.json`` and the page; return the page's path.

    Parameters
    ----------
    recording : Recording
        The recording.
    analysis : Analysis
        From `analyse`.
    out : Path
        The folder; files of a former report of a recording are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    for table in analysis.tables:
        write_csv(table, out / f"{table.name}.csv")
    drawn = {name: figures.save(figure, out / name)[0] for name, figure in _draw(recording, analysis)}
    facts = recording_facts(recording, analysis)
    data = {"schema": 1, "facts": facts, "tables": {t.name: table_data(t) for t in analysis.tables}}
    (out / DATA).write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")
    shown = [_shorten(table) for table in analysis.tables if table.name != "beats"]
    page = environment().get_template("recording.html.j2")
    about = recording.about
    (out / PAGE).write_text(page.render(about=about, facts=facts, tables=shown, figures=drawn), encoding="utf-8")
    return out / PAGE


def recording_facts(recording: Recording, analysis: Analysis) -> dict[str, Any]:
    """Return the facts of a recording that head its page."""
    about, beats = recording.about, recording.beats
    counts = {name: int(beats.is_class(name).sum()) for name in beats.classes}
    named = {"longest": lambda e: e.n_beats, "fastest": lambda e: e.rate_bpm}
    runs = _ventricular_runs(analysis.episodes)
    extremes = {f"{name} ventricular run": _say(max(runs, key=key)) for name, key in named.items() if runs}
    return {
        "record": about.record,
        "length": clock(about.duration_s),
        "analysed": f"{100 * analysis.analysed_s / about.duration_s:.1f} %",
        "leads": " ".join(about.leads),
        "beats": len(beats),
        **{f"beats {name}": n for name, n in counts.items()},
        "alarms": sum(episode.alarm for episode in analysis.episodes),
        **extremes,
        "run": about.run,
        "model": about.model,
        "trained under": f"{about.protocol} (leaks: {', '.join(about.leaks) or 'none known'})",
        "versions": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
    }


def _ventricular_runs(episodes: Sequence[Episode]) -> list[Episode]:
    """Return runs of three V and more; a couplet is none."""
    return [episode for episode in episodes if episode.label == "V" and episode.kind in SIZES and episode.n_beats > 2]


def _say(episode: Episode) -> str:
    return f"{episode.n_beats} beats at {episode.rate_bpm:.0f}/min, from {clock(episode.start_s)}"


def _shorten(table: Table) -> Table:
    if len(table.rows) <= SHOWN_EPISODES:
        return table
    note = f"The first {SHOWN_EPISODES} of {len(table.rows):,}; {table.name}.csv holds all. {table.note}"
    return Table(table.name, table.title, table.columns, table.rows[:SHOWN_EPISODES], note)


def _draw(recording: Recording, analysis: Analysis) -> list[tuple[str, Any]]:
    about, beats = recording.about, recording.beats
    note = f"{'SYNTHETIC. ' if about.synthetic else ''}{about.record}, {about.model}. Research output, not a diagnosis."
    hours = [(trend.start_s + TREND_BIN_S / 2) / 3600 for trend in analysis.trends]
    percent = _shown_percent(analysis.trends, beats.classes)
    marks = [episode.start_s / 3600 for episode in analysis.episodes if episode.alarm]
    drawn = [("trends", draw_trends(hours, [t.heart_rate_bpm for t in analysis.trends], percent, marks, note))]
    if pieces := _episode_strips(recording, analysis.episodes):
        drawn.append(("strips", figures.strips(pieces, note)))
    return drawn


def _shown_percent(in_bins: Sequence[Trend], classes: Sequence[str]) -> Mapping[str, list[float]]:
    by_class = {name: [trend.percent[i] for trend in in_bins] for i, name in enumerate(classes)}
    return {name: values for name, values in by_class.items() if name != "N" and np.nansum(values) > 0}


def _episode_strips(recording: Recording, episodes: Sequence[Episode]) -> list[figures.Strip]:
    """Return the longest and the fastest ventricular run as pieces of signal."""
    signal, fs_hz = recording.signal_mv, recording.about.fs_hz
    runs = _ventricular_runs(episodes)
    if signal is None or not runs:
        return []
    chosen = {"longest": max(runs, key=lambda e: e.n_beats), "fastest": max(runs, key=lambda e: e.rate_bpm)}
    pieces = []
    for name, run in chosen.items():
        start = max(0.0, run.start_s - STRIP_EDGE_S)
        stop = min(run.end_s + STRIP_EDGE_S, start + STRIP_MOST_S)
        piece = signal[:, round(start * fs_hz) : round(stop * fs_hz)]
        pieces.append(figures.Strip(piece, fs_hz, recording.about.leads, f"{name}: {run.kind}, {_say(run)}"))
    return pieces
