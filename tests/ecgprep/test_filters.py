"""Filters by their physics: what passes, what stops, what stays where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from ecgprep.filters import FILTERS, BandPass, Baseline, HighPass, Notch, apply_filters, parse_filters, pass_both_ways
from ecgprep.rpeaks import find_r_peaks
from store.errors import RecordError, UnknownNameError, UserError
from tests.ecgprep.test_rpeaks import make_recording


def gain_db(name: str, hz: float, fs_hz: float = 500.0, seconds: float = 120.0) -> float:
    """Return the gain of a tone, from the middle of a long recording."""
    t = np.arange(int(seconds * fs_hz)) / fs_hz
    middle = slice(len(t) // 4, -len(t) // 4)
    filtered = apply_filters(parse_filters(name), np.sin(2 * np.pi * hz * t)[None], fs_hz)[0]
    return float(20 * np.log10(filtered[middle].std() * np.sqrt(2) + 1e-12))


@pytest.mark.parametrize("hz", [1.0, 5.0, 15.0, 30.0])
@pytest.mark.parametrize("name", ["bandpass", "highpass", "notch:hz=50", "notch:hz=60"])
def test_the_pass_band_is_flat(name: str, hz: float) -> None:
    assert gain_db(name, hz) == pytest.approx(0, abs=1.3 if name == "bandpass" and hz in (1.0, 30.0) else 0.05)


@pytest.mark.parametrize(
    ("name", "hz", "at_most_db"),
    [
        ("bandpass", 0.1, -60),
        ("bandpass", 100.0, -50),
        ("bandpass:low_hz=5:high_hz=15", 1.0, -60),
        ("highpass", 0.01, -50),
        ("notch:hz=50", 50.0, -60),
        ("notch:hz=60", 60.0, -60),
        ("baseline", 0.05, -25),
    ],
)
def test_the_stop_band_is_silent(name: str, hz: float, at_most_db: float) -> None:
    assert gain_db(name, hz) <= at_most_db


@pytest.mark.parametrize(("name", "hz"), [("bandpass", 0.5), ("bandpass", 40.0), ("highpass", 0.05)])
def test_both_passes_together_halve_the_limit(name: str, hz: float) -> None:
    assert gain_db(name, hz, seconds=600) == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("limits_hz", [(0.5, 40.0), (5.0, 18.0), 0.05])
def test_the_cosine_transform_is_the_filter_run_both_ways(limits_hz: float | tuple[float, float]) -> None:
    signal_mv, _ = make_recording(seconds=60)
    kind = "bandpass" if isinstance(limits_hz, tuple) else "highpass"
    sections = butter(2, limits_hz, kind, fs=360.0, output="sos")
    both_ways = sosfiltfilt(sections, signal_mv, padtype="even", padlen=7200)
    off_mv = np.abs(pass_both_ways(signal_mv, 360.0, 2, limits_hz, kind) - both_ways)
    assert off_mv.max() < 0.02  # they go on differently beyond the ends, of which a limit of 0.05 Hz takes notice
    assert off_mv[:, 7200:-7200].max() < (0.02 if kind == "highpass" else 1e-6)


@pytest.mark.parametrize("name", ["bandpass", "highpass", "baseline"])
def test_a_recording_that_begins_and_ends_on_r_waves_is_filtered_as_a_part_of_a_longer_one(name: str) -> None:
    signal_mv, peaks = make_recording(seconds=60)
    part = slice(peaks[20], peaks[32] + 1)
    of_longer = apply_filters(parse_filters(name), signal_mv, 360.0)[:, part]
    alone = apply_filters(parse_filters(name), signal_mv[:, part], 360.0)
    assert np.abs(alone - of_longer).max() < 0.25


def test_a_notch_leaves_its_neighbours() -> None:
    assert gain_db("notch:hz=50", 45.0) == pytest.approx(0, abs=0.1)
    assert gain_db("notch:hz=50", 55.0) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("fs_hz", [128.0, 360.0, 1000.0])
def test_r_peaks_do_not_move(name: str, fs_hz: float) -> None:
    signal_mv, _ = make_recording(fs_hz)
    before = find_r_peaks(signal_mv, fs_hz)
    after = find_r_peaks(apply_filters(parse_filters(name), signal_mv, fs_hz), fs_hz)
    assert np.abs(after - before).max() <= max(1, 0.004 * fs_hz)


def make_st_elevation() -> tuple[np.ndarray, np.ndarray]:
    """A beat a second at 500 Hz: an R wave of 2 mV and an ST segment of 0.2 mV from 60 to 160 ms after it."""
    t = np.arange(60 * 500) / 500
    phase = t % 1.0
    signal_mv = 2 * np.exp(-(((phase - 0.3) / 0.012) ** 2)) + 0.2 * ((phase > 0.36) & (phase < 0.46))
    beats = np.arange(10, 50)
    at = lambda offset_s: np.rint((beats + offset_s) * 500).astype(int)  # noqa: E731
    return signal_mv, np.stack([at(0.40), at(0.15)])


@pytest.mark.parametrize(("name", "off_by_mv"), [("highpass", 0.01), ("bandpass:low_hz=0.05:high_hz=100", 0.01)])
def test_gentle_filters_keep_st(name: str, off_by_mv: float) -> None:
    signal_mv, (st, baseline) = make_st_elevation()
    filtered = apply_filters(parse_filters(name), signal_mv[None], 500.0)[0]
    assert np.abs(filtered[st] - filtered[baseline] - 0.2).max() <= off_by_mv


def test_the_baseline_filter_keeps_st_and_removes_wander() -> None:
    signal_mv, (st, baseline) = make_st_elevation()
    wander = 0.2 * np.sin(2 * np.pi * 0.15 * np.arange(len(signal_mv)) / 500)
    filtered = Baseline().apply((signal_mv + wander)[None], 500.0)[0]
    assert np.abs(filtered[st] - filtered[baseline] - 0.2).max() <= 0.05
    assert np.abs(filtered[baseline]).max() <= 0.05


def test_ends_do_not_ring() -> None:
    signal_mv = 5.0 + 0 * make_recording()[0]
    for name in FILTERS:
        filtered = apply_filters(parse_filters(name), signal_mv, 360.0)
        level = 5.0 if name == "notch" else 0.0
        assert filtered == pytest.approx(level, abs=1e-6), name


def test_requests_are_read_in_order() -> None:
    wanted = (Notch(hz=60), BandPass(low_hz=1, high_hz=30), HighPass(), Baseline(second_s=0.8))
    assert parse_filters("notch:hz=60, bandpass:low_hz=1:high_hz=30 ,highpass,baseline:second_s=0.8") == wanted
    assert parse_filters("") == ()


@pytest.mark.parametrize(
    ("text", "fault", "message"),
    [
        ("bandpas", UnknownNameError, r"unknown filter 'bandpas'\. Did you mean 'bandpass'"),
        ("notch:herz=50", UnknownNameError, r"unknown parameter of notch 'herz'\. Did you mean 'hz'"),
        ("notch:hz=x", UserError, r"filter 'notch:hz=x': hz=x: "),
        ("notch:hz", UserError, "no parameter=value"),
        ("notch:hz=50:hz=60", UserError, "given twice"),
        ("bandpass:low_hz=-1", UserError, "low_hz=-1: Input should be greater than 0"),
        ("bandpass:low_hz=50", UserError, "low_hz=50 is not below high_hz=40"),
    ],
)
def test_wrong_requests_are_refused(text: str, fault: type[Exception], message: str) -> None:
    with pytest.raises(fault, match=message):
        parse_filters(text)


def test_a_limit_above_the_record_is_refused() -> None:
    with pytest.raises(RecordError, match="filter notch at 60 Hz needs a rate above 120 Hz, the record has 100 Hz"):
        apply_filters(parse_filters("notch:hz=60"), np.zeros((1, 1000)), 100.0)


@pytest.mark.real
def test_mains_and_wander_leave_a_real_recording(real_data: Path) -> None:
    import wfdb

    record = wfdb.rdrecord(str(real_data / "mitdb" / "100"), sampto=36_000)
    clean_mv = record.p_signal.T
    t = np.arange(clean_mv.shape[1]) / 360
    dirty_mv = clean_mv + 0.3 * np.sin(2 * np.pi * 60 * t) + np.sin(2 * np.pi * 0.1 * t)
    filters = parse_filters("bandpass,notch:hz=60")
    difference = apply_filters(filters, dirty_mv, 360.0) - apply_filters(filters, clean_mv, 360.0)
    assert np.abs(difference[:, 720:-720]).max() <= 0.02


@pytest.mark.parametrize("limits", [(5.0, 18.0), (0.5, 35.0)])
def test_a_recording_of_many_hours_is_filtered_in_pieces_that_do_not_show(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[float, float]
) -> None:
    signal = np.random.default_rng(0).normal(size=(2, 50_000)).cumsum(axis=1)
    whole = pass_both_ways(signal, 250.0, 2, limits)
    monkeypatch.setattr("ecgprep.filters.PIECE_SAMPLES", 12_500)
    monkeypatch.setattr("ecgprep.filters.OVERLAP_SAMPLES", 5_000)
    np.testing.assert_allclose(pass_both_ways(signal, 250.0, 2, limits), whole, atol=1e-9)
