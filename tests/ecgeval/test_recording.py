"""A predicted recording: episodes, burden and trends by hand, and the folder that the report writes."""

from __future__ import annotations

import json
import math
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from ecgeval.errors import RunFileError, RunNotFoundError
from ecgeval.recording.burden import analysed_s, burden, day_and_night, trends, wilson
from ecgeval.recording.episodes import find_patterns, find_runs, score_episodes
from ecgeval.recording.predicted import About, Beats, Gap, read_recording
from ecgeval.recording.report import analyse, report_recording

CLASSES = ("N", "S", "V", "F", "Q")


def beats_of(letters, rr_s=0.8, pauses=()):
    """Beats of these classes; a pause of 4 s before each beat whose number is in `pauses`."""
    rr = np.array([4.0 if i in pauses else rr_s for i in range(len(letters))])
    label = np.array([CLASSES.index(c) for c in letters], dtype=np.int64)
    return Beats(np.cumsum(rr), label, np.full(len(letters), 0.9), CLASSES)


def found(episodes):
    return [(e.kind, e.n_beats) for e in episodes]


def test_runs_have_ec57_sizes():
    assert found(find_runs(beats_of("NVNVVNVVVNVVVVVNVVVVVVN"), "V")) == [
        ("couplet", 2), ("run", 3), ("run", 5), ("long run", 6)
    ]  # fmt: skip


def test_an_episode_by_hand():
    run = find_runs(beats_of("NNVVVN", rr_s=0.5), "V")[0]
    assert (run.start_s, run.end_s, run.duration_s) == (1.5, 2.5, 1.0)
    assert run.rate_bpm == pytest.approx(120)
    assert run.probability == pytest.approx(0.9)


def test_a_pause_breaks_a_run():
    assert found(find_runs(beats_of("VVVV", pauses=(2,)), "V")) == [("couplet", 2), ("couplet", 2)]


def test_one_beat_is_bridged_only_when_asked():
    letters = "VVNVVNNVV"
    assert found(find_runs(beats_of(letters), "V")) == [("couplet", 2)] * 3
    assert found(find_runs(beats_of(letters), "V", bridge=True)) == [("run", 5), ("couplet", 2)]


@pytest.mark.parametrize(
    ("letters", "rr_s", "clinical", "alarm"),
    [
        ("VVVVN", 0.5, False, False),
        ("VVVVV", 0.9, False, True),
        ("VVVN", 0.5, True, True),
        ("VVVN", 0.7, True, False),
        ("V" * 70, 0.5, True, False),
    ],
    ids=["four", "five", "three, fast", "three, slow", "sustained"],
)
def test_the_alarm_follows_its_rule(letters, rr_s, clinical, alarm):
    assert find_runs(beats_of(letters, rr_s), "V", clinical=clinical)[0].alarm == alarm


def test_patterns_need_three_repeats():
    assert found(find_patterns(beats_of("NNVNVNVNNN"))) == [("bigeminy", 6)]
    assert found(find_patterns(beats_of("NVNNVNNVNNN"))) == [("trigeminy", 9)]
    assert find_patterns(beats_of("VNVNSV")) == []
    assert find_patterns(beats_of("VNVNVN", pauses=(3,))) == []


def test_episodes_are_met_by_overlapping_ones_of_their_size():
    reference = find_runs(beats_of("VVVNNVVNVVVVVV"), "V")  # run, couplet, long run
    detected = find_runs(beats_of("NVVNNVVVNVVVVV"), "V")  # couplet, run, run
    assert score_episodes(reference, detected, "couplet") == (1.0, 1.0)
    assert score_episodes(reference, detected, "run") == (0.0, 0.5)
    assert score_episodes(reference, detected, "long run")[0] == 0.0
    assert math.isnan(score_episodes(reference, detected, "long run")[1])


def test_burden_by_hand():
    beats = beats_of("NNNNNNNNVV")
    v = burden(beats, hours=0.5)[2]
    assert (v.n_beats, v.percent, v.per_analysed_hour, v.per_24_h) == (2, 20.0, 4.0, 96.0)
    assert (v.low, v.high) == pytest.approx(tuple(100 * b for b in wilson(2, 10)))
    assert math.isnan(burden(Beats(np.empty(0), np.empty(0, int), np.empty(0), CLASSES), 0.0)[0].percent)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 12), (12, 12)])
def test_wilson_is_that_of_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_gaps_and_pauses_are_not_analysed():
    about = About(schema=1, record="r", duration_s=30.0, fs_hz=360, classes=CLASSES, run="a", model="m",
                  gaps=(Gap(start_s=20, end_s=25, reason="noise"),))  # fmt: skip
    beats = Beats(np.array([1.0, 2.0, 10.0, 11.0, 26.0, 27.0]), np.zeros(6, int), np.ones(6), CLASSES)
    # holes: 2–10, 11–26 (which holds the gap), and none of 27–30
    assert analysed_s(about, beats) == pytest.approx(30 - 8 - 15)


def test_trends_by_hand():
    beats = Beats(np.array([1.0, 2.0, 3.0, 11.0, 11.5, 12.0]), np.array([0, 0, 2, 0, 0, 0]), np.ones(6), CLASSES)
    first, second, third = trends(beats, 21, bin_s=10)
    assert (first.n_beats, first.heart_rate_bpm) == (3, 60)
    assert first.percent == pytest.approx((200 / 3, 0, 100 / 3, 0, 0))
    assert second.heart_rate_bpm == 120
    assert math.isnan(third.heart_rate_bpm)


def test_day_and_night_follow_the_clock():
    beats = Beats(np.array([0.0, 1.0, 2.0, 7200.0]), np.array([0, 0, 2, 2]), np.ones(4), CLASSES)
    about = About(schema=1, record="r", duration_s=7201.0, fs_hz=360, classes=CLASSES, run="a", model="m")
    parts = day_and_night(datetime(2024, 5, 1, 21), about, beats)
    assert [part[2].n_beats for part in parts.values()] == [1, 1]


def test_hours_of_day_and_night_add_up_to_those_that_were_analysed():
    """Three days from noon with a gap over the second dusk: 2 of its 4 hours are day, 2 are night."""
    hour_s = 3600.0
    beats = beats_of("NNV" * 86_400, rr_s=1.0)
    gap = Gap(start_s=32 * hour_s, end_s=36 * hour_s, reason="off")
    about = About(
        schema=1, record="r", duration_s=72 * hour_s, fs_hz=360, classes=CLASSES, run="a", model="m", gaps=(gap,)
    )
    parts = day_and_night(datetime(2024, 5, 1, 12), about, beats)
    hours = {name: part[2].n_beats / part[2].per_analysed_hour for name, part in parts.items()}
    assert hours == pytest.approx({"day": 46, "night": 22})
    assert sum(hours.values()) == pytest.approx(analysed_s(about, beats) / hour_s)


@pytest.fixture
def predicted(tmp_path):
    """A folder as ecgtrain predict leaves it, with a signal and a reference."""
    folder = tmp_path / "rec"
    folder.mkdir()
    rng = np.random.default_rng(0)
    letters = "NNNVVVVVVNNNSNVNVNVNN" * 20
    beats = beats_of(letters, rr_s=0.7)
    p = np.full((len(beats), 5), 0.02)
    p[np.arange(len(beats)), beats.label] = 0.92
    columns = {"t_s": beats.t_s} | {f"p_{c}": p[:, i] for i, c in enumerate(CLASSES)}
    pq.write_table(pa.table(columns), folder / "beats.parquet")
    pq.write_table(pa.table({"t_s": beats.t_s + 0.02, "label": list(letters)}), folder / "reference.parquet")
    about = {
        "schema": 1, "record": "mine/<one>", "duration_s": 300.0, "fs_hz": 100.0, "leads": ["II"], "run": "a",
        "model": "resnet1d_wang", "classes": list(CLASSES), "protocol": "interpatient", "leaks": ["patient"],
        "start_time": "2024-05-01T21:58:00", "versions": {"torch": "2.9"},
        "gaps": [{"start_s": 296, "end_s": 300, "reason": "noise"}],
    }  # fmt: skip
    (folder / "recording.json").write_text(json.dumps(about))
    np.savez(folder / "signal.npz", signal_mv=rng.normal(0, 0.2, (1, 30_000)).astype(np.float32))
    return folder


def test_the_report_of_a_recording(predicted):
    recording = read_recording(predicted)
    page = report_recording(recording, analyse(recording, learning_s=0), predicted / "report")
    names = {path.name for path in page.parent.iterdir()}
    tables = ("beats", "episodes", "burden", "trends", "hourly", "beat_scores", "episode_scores")
    assert names >= {f"{name}.csv" for name in tables} | {"recording.json", "trends.png", "strips.png"}
    text = page.read_text(encoding="utf-8")
    assert "Research output, not a diagnosis" in text
    assert "mine/&lt;one&gt;" in text
    assert "mine/<one>" not in text
    data = json.loads((page.parent / "recording.json").read_text(), parse_constant=pytest.fail)
    assert data["facts"]["alarms"] == 20
    scores = {row[0]: row[1:] for row in data["tables"]["beat_scores"]["rows"]}
    assert scores["QRS"][:2] == [1.0, 1.0]
    assert scores["V"] == [1.0, 1.0, 0.0]


def test_recording_prints_the_page_last(predicted, tmp_path, ecgeval_here):
    done = ecgeval_here("recording", predicted, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "recording.html")
    assert "Burden" in done.stdout


def test_a_folder_that_is_no_recording_is_named(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"no recording\.json.*ecgtrain predict"):
        read_recording(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("recording.json", b"{}", "recording.json: "),
        ("beats.parquet", b"PAR1", "beats.parquet: damaged"),
        ("signal.npz", b"zip?", "signal.npz: damaged"),
    ],
)
def test_a_damaged_file_is_named(predicted, file, content, message):
    (predicted / file).write_bytes(content)
    with pytest.raises(RunFileError, match=message):
        read_recording(predicted)


def test_beats_out_of_order_are_refused(predicted):
    table = pq.read_table(predicted / "beats.parquet")
    pq.write_table(table.take(list(range(len(table)))[::-1]), predicted / "beats.parquet")
    with pytest.raises(RunFileError, match="not in the order of time"):
        read_recording(predicted)
