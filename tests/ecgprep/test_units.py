"""What a row is: the words for it, and any database cut into records, windows and beats."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from ecgprep.beats import PRESETS
from ecgprep.build import BuildResult
from ecgprep.units import FixedWindow, WholeRecord, parse_unit
from store.errors import UserError
from store.read import Store, open_store
from store.vocabulary import STATEMENT_SCHEMES
from tests.recordings import SCP_CODES, make_signal_mv, write_beats, write_mitdb, write_mitdb_record, write_ptbxl

SUPERCLASS_OF = STATEMENT_SCHEMES["superclass"]

Build = Callable[..., BuildResult]


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Four records of MIT-BIH of 10, 12.5, 20 and 30 s."""
    folder = tmp_path / "uneven"
    for name, seconds in (("100", 10.0), ("101", 12.5), ("103", 20.0), ("105", 30.0)):
        write_mitdb(tmp_path / name, (name,), seconds)
        folder.joinpath("mitdb").mkdir(parents=True, exist_ok=True)
        for file in (tmp_path / name / "mitdb").iterdir():
            file.rename(folder / "mitdb" / file.name)
    return folder


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("record", WholeRecord()),
        ("record:max=30", WholeRecord(30.0)),
        ("window:2.50", FixedWindow(2.5, 2.5)),
        ("window:10:step=5", FixedWindow(10.0, 5.0)),
        ("beat:c360", PRESETS["c360"]),
    ],
)
def test_word_is_read_and_written_in_one_way(text: str, unit: object) -> None:
    assert parse_unit(text) == unit
    assert parse_unit(str(unit)) == unit


@pytest.mark.parametrize(
    "text",
    [
        "window",
        "window:0",
        "window:-1",
        "window:nan",
        "window:10:5",
        "window:10:step=5:step=4",
        "record:30",
        "record:max=30:max=30",
        "beat",
    ],
)
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_unit(text)


@given(
    n_record=st.integers(1, 20_000),
    fs_hz=st.sampled_from([100.0, 128.0, 257.0, 360.0]),
    length_s=st.floats(0.1, 20),
    step_s=st.floats(0.05, 20),
)
def test_windows_start_on_their_grid_and_lie_within_the_record(
    n_record: int, fs_hz: float, length_s: float, step_s: float
) -> None:
    unit = FixedWindow(length_s, step_s)
    start, n = unit.starts(n_record, fs_hz), unit.n_samples(fs_hz)
    assert abs(n - length_s * fs_hz) <= 0.5
    half = 0.5 + 1e-6  # a place amid two samples may be rounded to either
    assert np.abs(start - np.arange(len(start)) * step_s * fs_hz).max(initial=0) <= half
    assert (start + n <= n_record).all()
    following = math.floor(len(start) * step_s * fs_hz + half)
    assert following + n > n_record, "a further window would have fitted"


def signal_of(raw: Path, name: str) -> np.ndarray:
    return wfdb.rdrecord(str(raw / "mitdb" / name)).p_signal[:, 0]


class TestRecords:
    def test_the_first_of_a_record_is_a_sample_at_least(self) -> None:
        assert WholeRecord(1e-4).n_samples(1000, 360.0) == 1

    def test_shorter_rows_are_signal_then_zeros(self, uneven: Path, build_in: Build) -> None:
        store = open_store(build_in(uneven, dataset="mitdb", unit="record", reps="gaf:size=16").place)
        assert store.signal.shape == (4, 1, 10_800)
        assert store.column("valid_n").tolist() == [3600, 4500, 7200, 10_800]
        assert store.column("valid_from").tolist() == [0] * 4
        for row, name in enumerate(("100", "101", "103", "105")):
            n = int(store.column("valid_n")[row])
            stored = np.asarray(store.signal[row, 0])
            assert np.abs(stored[:n] * store.scale_mv - signal_of(uneven, name)).max() <= 0.5e-3 + 1e-9
            assert (stored[n:] == 0).all()

    def test_pictures_see_the_signal_alone(self, uneven: Path, build_in: Build, tmp_path: Path) -> None:
        together = open_store(build_in(uneven, dataset="mitdb", unit="record", reps="mtf:size=16").place)
        alone = tmp_path / "alone/mitdb"
        alone.mkdir(parents=True)
        for file in (uneven / "mitdb").glob("100.*"):
            (alone / file.name).write_bytes(file.read_bytes())
        single = open_store(
            build_in(tmp_path / "alone", "other", dataset="mitdb", unit="record", reps="mtf:size=16").place
        )
        assert single.signal.shape[2] == 3600
        quarter = np.asarray(together.representation("mtf")[0, 0])
        assert quarter[:5, :5].any()
        assert not quarter[6:, 6:].any(), "padding is drawn as nothing"

    def test_a_maximum_keeps_the_first_seconds(self, uneven: Path, build_in: Build) -> None:
        store = open_store(build_in(uneven, dataset="mitdb", unit="record:max=12").place)
        assert store.signal.shape == (4, 1, 4320)
        assert store.column("valid_n").tolist() == [3600, 4320, 4320, 4320]
        cut = next(line for line in store.attributes["audit"] if line["rule"].startswith("seconds up to"))
        assert (cut["kept"], cut["dropped"]) == (10 + 12 * 3, 0 + 0 + 8 + 18)


class TestWindows:
    def test_each_window_is_the_record_at_its_sample(self, uneven: Path, build_in: Build) -> None:
        store = open_store(build_in(uneven, dataset="mitdb", unit="window:5:step=2.5", fs=180).place)
        assert store.signal.shape[2] == 900
        assert "valid_n" not in store.columns
        record, sample = store.column("record"), store.column("sample")
        assert sample[record == "mitdb/101"].tolist() == [0, 900, 1800, 2700]
        for row in np.flatnonzero(record == "mitdb/103"):
            raw = signal_of(uneven, "103")[sample[row] : sample[row] + 1800 : 2]
            inner = slice(20, -20)  # the filter smooths the R waves
            assert np.corrcoef(store.signal[int(row), 0][inner], raw[inner])[0, 1] > 0.99

    def test_record_shorter_than_a_window_is_left_out_with_its_reason(self, uneven: Path, build_in: Build) -> None:
        result = build_in(uneven, dataset="mitdb", unit="window:15")
        assert [item.reason for item in result.quarantined] == [
            "lasts 10 s, less than one window of 15 s",
            "lasts 12.5 s, less than one window of 15 s",
        ]

    def test_frames_are_labelled_by_what_they_hold(self, tmp_path: Path, build_in: Build) -> None:
        place = tmp_path / "raw/mitdb"
        place.mkdir(parents=True)
        generator = np.random.default_rng(1)
        peaks = np.array([100, 500, 900, 1300, 1700, 2100, 2500, 2900, 3300])
        write_mitdb_record(place, "100", make_signal_mv(generator, peaks, 360.0, (2, 3600)), ("MLII", "V1"))
        write_beats(place, "100", peaks.tolist(), list("NNVNANNNN"))
        store = open_store(build_in(tmp_path / "raw", dataset="mitdb", unit="window:5").place)
        names = {scheme: store.label(scheme) for scheme in ("frame_beat", "heart_rate")}
        assert [names["frame_beat"].classes[v] for v in names["frame_beat"].values] == ["PAC", "normal"]
        assert store.label("frame_rhythm").values.tolist() == [-1, -1]  # the annotator marks none
        assert [names["heart_rate"].classes[v] for v in names["heart_rate"].values] == ["bradycardia"] * 2


class TestDetectedBeats:
    @pytest.fixture
    def store(self, tmp_path: Path, build_in: Build) -> Store:
        write_ptbxl(tmp_path / "raw", 8, rates_hz=(500,))
        return open_store(build_in(tmp_path / "raw", dataset="ptbxl", unit="beat:kachuee187", leads="II").place)

    def test_beats_lie_where_the_signal_has_them(self, store: Store) -> None:
        assert store.fs_hz == 125.0
        assert set(store.column("fs_raw_hz")) == {500.0}
        for number in range(1, 9):
            rows = store.column("record") == f"ptbxl/records500/00000/{number:05d}_hr"
            peaks = np.arange(0.4, 10, np.random.default_rng([0, number]).uniform(0.6, 1.1)) * 500
            found = store.column("sample")[rows]
            nearest = np.abs(found[:, None] - peaks).min(axis=1)
            assert len(found) >= len(peaks) - 3, "only beats at the edges are lost"
            assert nearest.max() <= 10

    def test_their_labels_are_those_of_the_record(self, store: Store) -> None:
        label, record = store.label(), store.column("record")
        assert "symbol" not in store.columns
        for name in np.unique(record.astype(str)):
            number = int(name[-8:-3])
            expected = {SUPERCLASS_OF[code] for code in SCP_CODES[number % len(SCP_CODES)] if code in SUPERCLASS_OF}
            rows = label.values[record == name]
            assert (rows == [name in expected for name in label.classes]).all()

    def test_the_detector_is_in_the_recipe(self, store: Store) -> None:
        assert store.attributes["recipe"]["detector"] == "multilead"
