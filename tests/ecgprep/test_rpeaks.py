"""R peaks: where they were put, by every detector, whatever the rate, gain, offset and polarity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgprep.rpeaks import DETECTORS, check_r_peaks, find_r_peaks
from ecgprep.rpeaks_multilead import best_sequence, find_by_all_leads, interval_costs
from store.errors import RecordError, UnknownNameError
from tests.recordings import make_signal_mv


def make_recording(fs_hz: float = 360.0, seconds: float = 30.0, n_leads: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    peaks = np.rint(np.cumsum(generator.uniform(0.6, 1.1, int(2 * seconds))) * fs_hz).astype(np.int64)
    peaks = peaks[peaks < (seconds - 0.5) * fs_hz]
    return make_signal_mv(generator, peaks, fs_hz, (n_leads, int(seconds * fs_hz))), peaks


def is_near(found: np.ndarray, peaks: np.ndarray, within: float) -> bool:
    return len(found) == len(peaks) and int(np.abs(found - peaks).max()) <= within


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_finds_clean_beats(detector: str) -> None:
    signal_mv, peaks = make_recording()
    found = find_r_peaks(signal_mv, 360.0, detector)
    assert found.dtype == np.int64
    nearest = np.abs(peaks[:, None] - found).min(axis=1)
    assert (nearest <= 0.15 * 360).mean() >= 0.9
    assert len(found) <= len(peaks) + 1


def test_unknown_detector_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown R-peak detector 'xqr'\. Did you mean 'xqrs'"):
        find_r_peaks(np.zeros((1, 1000)), 100.0, "xqr")


def test_no_peak_is_an_error() -> None:
    signal_mv = np.linspace(0, 1, 3600)[None]
    with pytest.raises(RecordError, match="multilead finds no R peak"):
        find_r_peaks(signal_mv, 360.0)


@pytest.mark.parametrize("fs_hz", [100.0, 125.0, 128.0, 250.0, 257.0, 300.0, 360.0, 500.0, 1000.0])
def test_rate_does_not_matter(fs_hz: float) -> None:
    signal_mv, peaks = make_recording(fs_hz)
    assert is_near(find_r_peaks(signal_mv, fs_hz), peaks, 0.01 * fs_hz + 1)


@pytest.mark.parametrize("gain", [1e-3, -1.0, 1e3])
@pytest.mark.parametrize("offset_mv", [0.0, 40.0])
def test_gain_offset_and_polarity_do_not_matter(gain: float, offset_mv: float) -> None:
    signal_mv, _ = make_recording()
    expected = find_r_peaks(signal_mv, 360.0)
    assert find_r_peaks(gain * signal_mv + offset_mv, 360.0).tolist() == expected.tolist()


def test_a_lead_of_noise_beside_a_good_one_changes_nothing() -> None:
    signal_mv, peaks = make_recording(n_leads=1)
    noise = np.random.default_rng(0).normal(0, 0.5, signal_mv.shape)
    assert is_near(find_r_peaks(np.concatenate([signal_mv, noise]), 360.0), peaks, 4)


def test_leads_one_by_one_say_what_they_say_together(monkeypatch: pytest.MonkeyPatch) -> None:
    noise_mv = np.random.default_rng(0).normal(size=(3, 100_000)) * [[1.0], [2.0], [3.0]]
    together = find_by_all_leads(noise_mv, 360.0)
    monkeypatch.setattr("ecgprep.filters.GROUP_SAMPLES", 1)
    np.testing.assert_array_equal(find_by_all_leads(noise_mv, 360.0), together)


def test_beats_on_the_first_and_the_last_sample_are_found() -> None:
    signal_mv, peaks = make_recording()
    part = signal_mv[:, peaks[5] : peaks[15] + 1]
    assert is_near(find_r_peaks(part, 360.0), peaks[5:16] - peaks[5], 0.01 * 360)


@pytest.mark.parametrize("fs_hz", [50.0, 250.0, 1000.0])
@pytest.mark.parametrize("n_samples", [1, 2, 3, 10, 26, 101])
def test_a_moment_has_no_beats_to_speak_of(n_samples: int, fs_hz: float) -> None:
    moment_mv = np.random.default_rng(0).normal(size=(2, n_samples))
    assert len(find_by_all_leads(moment_mv, fs_hz)) <= np.ceil(n_samples / fs_hz / 0.2)


def test_a_pause_is_not_filled_with_its_noise() -> None:
    signal_mv, peaks = make_recording(seconds=60)
    pause = slice(20 * 360, 29 * 360)
    signal_mv[:, pause] = np.random.default_rng(1).normal(0, 0.02, signal_mv[:, pause].shape)
    inside = (peaks >= pause.start - 36) & (peaks < pause.stop + 36)
    with pytest.raises(RecordError, match=r"multilead finds no R peak from (19|20)\.\d s to (28|29)\.\d s"):
        find_r_peaks(signal_mv, 360.0)
    found = find_r_peaks(signal_mv, 360.0, max_pause_s=12)
    assert is_near(found[(found < pause.start - 36) | (found >= pause.stop + 36)], peaks[~inside], 4)
    assert ((found > pause.start + 180) & (found < pause.stop - 180)).sum() == 0


def test_flutter_waves_are_no_beats() -> None:
    signal_mv, peaks = make_recording(seconds=60, n_leads=1)
    flutter = slice(30 * 360, 60 * 360)
    signal_mv[:, flutter] = np.sin(2 * np.pi * 4.5 * np.arange(30 * 360) / 360)
    found = find_r_peaks(signal_mv, 360.0, max_pause_s=60)
    assert (found > flutter.start + 360).sum() <= 5
    assert is_near(found[found < flutter.start - 360], peaks[peaks < flutter.start - 360], 4)


@pytest.mark.parametrize("removed", [5, 12, 13])
def test_a_small_beat_is_found_where_one_is_missing(removed: int) -> None:
    signal_mv, peaks = make_recording(n_leads=1)
    near = slice(peaks[removed] - 30, peaks[removed] + 30)
    signal_mv[:, near] *= 0.3
    assert is_near(find_r_peaks(signal_mv, 360.0), peaks, 4)


def test_the_best_sequence_by_hand() -> None:
    """Candidates at 0, 1, 1.3 and 2 s, usual interval 1 s: the third scores, but costs 1 twice more."""
    score = np.array([1.0, 1.0, 0.3, 1.0])
    cost = interval_costs(np.array([0.0, 1.0, 1.3, 2.0]), np.ones(4))
    assert cost[2, 0] == pytest.approx(0.6 / 0.3 - 1)
    assert cost[3, 1] == 0
    assert cost[3, 2] == pytest.approx(0.6)
    assert best_sequence(score, cost).tolist() == [0, 1, 3]
    assert best_sequence(np.array([1.0, 1.0, 1.2, 1.0]), cost).tolist() == [0, 1, 2, 3]


FAULTS = {
    "a gap of a second": (slice(3000, 3360), np.nan, "no lead to find R peaks in: lead 1: 360 samples have no value"),
    "no value at all": (slice(None), np.nan, "lead 1 has no values"),
    "flat": (slice(None), 0.3, "lead 1 is flat"),
    "flat for six seconds": (slice(3600, 5760), 0.0, "finds no R peak from"),
}


@pytest.mark.parametrize("detector", ["multilead", "sleepecg"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_recordings_are_refused_with_the_reason(fault: str, detector: str) -> None:
    where, value, reason = FAULTS[fault]
    signal_mv, _ = make_recording(n_leads=1)
    signal_mv[0, where] = value
    with pytest.raises(RecordError, match=reason) as refusal:
        find_r_peaks(signal_mv, 360.0, detector)
    assert refusal.value.stage == "detect"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_short_gaps_are_bridged_and_no_beat_is_put_there(value: float) -> None:
    signal_mv, peaks = make_recording()
    signal_mv[:, peaks[9] - 20 : peaks[9] + 20] = value
    signal_mv[:, peaks[12] + 100] = value
    found = find_r_peaks(signal_mv, 360.0)
    assert is_near(found, np.delete(peaks, 9), 4)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_refused_whoever_finds_beats_in_it(detector: str, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.3, (1, 60 * 360))
    with pytest.raises(RecordError, match=r"do not look alike|finds no R peak|no heart makes|follow another|failed"):
        find_r_peaks(noise, 360.0, detector)


def test_a_clipped_recording_keeps_its_beats() -> None:
    signal_mv, peaks = make_recording()
    assert is_near(find_r_peaks(signal_mv.clip(-0.3, 0.3), 360.0), peaks, 8)


def test_an_unusable_lead_is_left_out() -> None:
    signal_mv, peaks = make_recording(n_leads=3)
    signal_mv[0] = np.nan
    signal_mv[1] = 5.0
    assert is_near(find_r_peaks(signal_mv, 360.0), peaks, 4)


PEAKS = np.arange(100, 3600, 300)


@pytest.mark.parametrize(
    ("peaks", "reason"),
    [
        (np.array([], np.int64), "finds no R peak"),
        (PEAKS[:6], "finds no R peak from 4.4 s to 10.0 s"),
        (np.arange(10, 3600, 70), "312 beats a minute"),
        (np.sort(np.concatenate([PEAKS, PEAKS[::2] + 60])), "% of the beats follow another within 0.2 s"),
        (PEAKS + np.arange(len(PEAKS)) * 29, "do not look alike"),
    ],
    ids=["none", "a pause", "too many", "too close", "not alike"],
)
def test_implausible_beats_are_refused(peaks: np.ndarray, reason: str) -> None:
    signal_mv = make_signal_mv(np.random.default_rng(0), PEAKS, 360.0, (1, 3600))
    check_r_peaks(PEAKS, signal_mv, 360.0, "anyone")
    with pytest.raises(RecordError, match=reason):
        check_r_peaks(peaks, signal_mv, 360.0, "anyone")


def test_a_detector_that_raises_quarantines_its_record() -> None:
    """The xqrs of wfdb cannot take a recording of a fifth of a second."""
    signal_mv, _ = make_recording()
    with pytest.raises(RecordError, match=r"xqrs failed: [A-Za-z]+Error: |finds no R peak"):
        find_r_peaks(signal_mv[:, :72], 360.0, "xqrs")


@pytest.mark.real
@pytest.mark.parametrize("name", ["100", "201", "228"])
def test_beats_of_mit_bih_are_found(real_data: Path, name: str) -> None:
    record = wfdb.rdrecord(str(real_data / "mitdb" / name))
    annotation = wfdb.rdann(str(real_data / "mitdb" / name), "atr")
    is_beat = ~np.isin(annotation.symbol, ["+", "~", "|", "x", '"'])
    beats = annotation.sample[is_beat]
    found = find_r_peaks(record.p_signal.T, float(record.fs))
    missed = (np.abs(beats[:, None] - found).min(axis=1) > 54).sum()
    extra = (np.abs(found[:, None] - beats).min(axis=1) > 54).sum()
    assert missed + extra <= 0.03 * len(beats)
