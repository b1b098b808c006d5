"""Beats are cut where the presets say, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgprep.beats import PRESETS, beat_windows, cut, rr_intervals_s

peak_lists = st.lists(st.integers(0, 4999), min_size=1, max_size=40, unique=True).map(
    lambda peaks: np.array(sorted(peaks), dtype=np.int64)
)


@pytest.mark.parametrize(
    ("name", "fs_hz", "n_samples", "before"),
    [
        ("centred186", 360, 186, 93),
        ("kachuee186", 125, 186, 0),
        ("kachuee187", 125, 187, 0),
        ("c360", 360, 360, 90),
        ("c216", 360, 216, 72),
    ],
)
def test_presets_are_those_of_the_literature(name: str, fs_hz: float, n_samples: int, before: int) -> None:
    preset = PRESETS[name]
    assert (preset.fs_hz, preset.n_samples, preset.before) == (fs_hz, n_samples, before)
    assert preset.padded == name.startswith("kachuee")


@given(peaks=peak_lists, name=st.sampled_from(sorted(PRESETS)))
def test_r_peak_is_where_the_preset_says_and_windows_stay_inside(peaks: np.ndarray, name: str) -> None:
    preset = PRESETS[name]
    counts = np.arange(1, 5001, dtype=np.int16)[None, :]
    windows = beat_windows(peaks, 5000, preset)
    rows = cut(counts, windows.start, windows.valid_n, preset.n_samples)
    assert rows.shape == (len(windows.peak), 1, preset.n_samples)
    for row, peak, valid_n in zip(rows[:, 0], windows.peak, windows.valid_n, strict=True):
        assert row[preset.before] == peaks[peak] + 1
        expected = np.arange(peaks[peak] - preset.before, peaks[peak] - preset.before + valid_n) + 1
        np.testing.assert_array_equal(row[:valid_n], expected)
        assert (row[valid_n:] == 0).all()
    left_out = np.setdiff1d(np.arange(len(peaks)), windows.peak)
    if not preset.padded:
        outside = (peaks < preset.before) | (peaks - preset.before + preset.n_samples > 5000)
        np.testing.assert_array_equal(left_out, np.flatnonzero(outside))


@pytest.mark.parametrize(("peak", "kept"), [(92, 0), (93, 1), (4907, 1), (4908, 0)])
def test_window_that_runs_over_the_edge_by_one_sample_has_no_row(peak: int, kept: int) -> None:
    assert len(beat_windows(np.array([peak]), 5000, PRESETS["centred186"]).peak) == kept


def test_kachuee_beats_end_at_1_2_median_rr_of_their_ten_seconds() -> None:
    first = np.arange(50, 1250, 100)  # RR 100 samples in the first ten seconds
    second = np.arange(1300, 2500, 125)  # RR 125 in the next
    windows = beat_windows(np.concatenate([first, second]), 5000, PRESETS["kachuee186"])
    assert windows.valid_n[: len(first)].tolist() == [120] * len(first)
    assert windows.valid_n[len(first) :].tolist() == [150] * len(second)


def test_kachuee_beats_are_never_longer_than_their_row() -> None:
    slow = np.arange(10, 4000, 400)  # 3.2 s apart: 1.2 times that does not fit
    assert set(beat_windows(slow, 5000, PRESETS["kachuee187"]).valid_n.tolist()) == {187}


def test_single_beat_takes_the_whole_row() -> None:
    assert beat_windows(np.array([100]), 5000, PRESETS["kachuee186"]).valid_n.tolist() == [186]


@given(peaks=peak_lists, fs_hz=st.sampled_from([125.0, 257.0, 360.0]))
def test_rr_intervals_are_differences_in_seconds(peaks: np.ndarray, fs_hz: float) -> None:
    before, after = rr_intervals_s(peaks, fs_hz)
    assert np.isnan(before[0])
    assert np.isnan(after[-1])
    np.testing.assert_allclose(before[1:], np.diff(peaks) / fs_hz)
    np.testing.assert_array_equal(before[1:], after[:-1])


def test_no_beats_have_no_intervals() -> None:
    assert [len(x) for x in rr_intervals_s(np.empty(0, np.int64), 360.0)] == [0, 0]
