"""Noise: added at the ratio that was asked for, as the makers of the noise stress test did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from ecgprep.noise import add_noise, noise_power, qrs_power_mv2

FS_HZ = 100.0
PEAKS = np.arange(100, 59_900, 100)


def make_clean_mv(n_leads: int = 2) -> np.ndarray:
    """Triangles of 2 mV and, in the second lead, 1 mV."""
    clean_mv = np.zeros((n_leads, 60_000))
    clean_mv[:, PEAKS] = np.array([2.0, 1.0, 0.5])[:n_leads, None]
    return clean_mv


def make_noise(seed: int = 0, n_leads: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, (n_leads, 60_000))


def test_power_of_a_qrs_complex_of_2_mv_is_a_half() -> None:
    assert qrs_power_mv2(make_clean_mv(), PEAKS, FS_HZ) == pytest.approx([4 / 8, 1 / 8])


@given(st.floats(-6, 24), st.sampled_from([np.inf, 120.0]))
def test_ratio_is_the_one_that_was_asked_for(snr_db: float, period_s: float) -> None:
    clean_mv = make_clean_mv()
    added = add_noise(clean_mv, make_noise(), snr_db, PEAKS, FS_HZ, start_s=60, period_s=period_s) - clean_mv
    assert np.abs(added[:, :6000]).max() == 0
    ratio = qrs_power_mv2(clean_mv, PEAKS, FS_HZ) / noise_power(added[:, 6000:18_000], FS_HZ)
    assert 10 * np.log10(ratio) == pytest.approx([snr_db] * 2, abs=0.2)


def test_clean_stretches_differ_by_a_constant_and_nothing_jumps() -> None:
    clean_mv, noise = make_clean_mv(), np.cumsum(make_noise(), axis=1)
    added = add_noise(clean_mv, noise, 0, PEAKS, FS_HZ) - clean_mv
    assert np.ptp(added[:, 42_000:54_000], axis=1) == pytest.approx([0, 0])
    gain = np.sqrt(qrs_power_mv2(clean_mv, PEAKS, FS_HZ) / noise_power(noise, FS_HZ))
    assert (np.abs(np.diff(added)).max(axis=1) <= gain * np.abs(np.diff(noise)).max(axis=1) + 1e-9).all()


def test_short_noise_starts_again_in_time_and_in_leads() -> None:
    clean_mv, noise = make_clean_mv(3), make_noise(n_leads=2)[:, :10_000]
    added = add_noise(clean_mv, noise, 6, PEAKS, FS_HZ, start_s=0, period_s=np.inf) - clean_mv
    assert added[:, 10_001:20_000] - added[:, 10_001:10_002] == pytest.approx(added[:, 1:10_000] - added[:, 1:2])
    assert added[2] == pytest.approx(added[0] / 4)


def test_nothing_jumps_where_the_noise_starts_again() -> None:
    rising = np.linspace(0, 9, 40_000)[None] + make_noise(n_leads=1)[:, :40_000] / 100
    added = add_noise(make_clean_mv(1), rising, 6, PEAKS, FS_HZ, start_s=0, period_s=np.inf, first=25_000)
    added -= make_clean_mv(1)
    steps = np.abs(np.diff(added))
    assert steps.max() < 3 * np.sort(steps)[0, -100]
    scaled = np.diff(added)[:, 15_000:54_999] / np.diff(rising)  # a whole pass, between the two ends of the noise
    assert scaled == pytest.approx(np.full_like(scaled, scaled[0, 0]), rel=1e-6)


def test_a_recording_without_a_beat_has_no_signal_power() -> None:
    with pytest.raises(ValueError, match="no QRS complex"):
        add_noise(make_clean_mv(), make_noise(), 6, np.array([], np.int64), FS_HZ)


@pytest.mark.real
@pytest.mark.parametrize("name", ["118e00", "118e06", "118e24"])
def test_published_noisy_recordings_have_our_stretches(real_data: Path, name: str) -> None:
    """Record 118 with electrode motion: clean for five minutes, then by turns, and never a step."""
    clean = wfdb.rdrecord(str(real_data / "mitdb" / "118"), physical=False).d_signal.T.astype(float)
    beats = wfdb.rdann(str(real_data / "mitdb" / "118"), "atr").sample[1:]
    published = wfdb.rdrecord(str(real_data / "nstdb" / name), physical=False).d_signal.T.astype(float)
    theirs = np.diff(published - clean, axis=1)
    ours = np.diff(add_noise(clean, make_noise(), 0, beats, 360.0) - clean, axis=1)
    second = np.arange(theirs.shape[1]) // 360
    for start in range(302, 1800, 120):
        stretch = (second >= start) & (second < start + 116)
        assert theirs[:, stretch].any() == (np.abs(ours[:, stretch]).max() > 1e-6)
    assert not theirs[:, second < 299].any()


@pytest.mark.real
def test_published_ratios_are_ours(real_data: Path) -> None:
    """The noise of 118e00 is 0 dB to the first signal's power as we measure it, and 6 and 24 dB above the others.

    It agrees to 1 dB in the second lead; in the first, motion grows after the minutes that nst measures, which
    this recording leaves clean.
    """
    clean = wfdb.rdrecord(str(real_data / "mitdb" / "118"), physical=False).d_signal.T.astype(float)
    beats = wfdb.rdann(str(real_data / "mitdb" / "118"), "atr").sample[1:]
    power = {}
    for name in ("118e00", "118e06", "118e24"):
        noisy = wfdb.rdrecord(str(real_data / "nstdb" / name), physical=False).d_signal.T.astype(float)
        power[name] = noise_power((noisy - clean)[:, 108_000:151_200], 360.0)
    s_to_n_db = 10 * np.log10(qrs_power_mv2(clean, beats, 360.0) / power["118e00"])
    assert s_to_n_db[1] == pytest.approx(0, abs=1)
    for name, snr_db in (("118e06", 6), ("118e24", 24)):
        assert 10 * np.log10(power["118e00"] / power[name]) == pytest.approx([snr_db] * 2, abs=0.1)
