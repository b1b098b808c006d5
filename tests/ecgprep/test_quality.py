"""Quality and direction of recordings: what noise does to the index, and what turning a lead does to the flag."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgprep.noise import add_noise
from ecgprep.quality import beat_similarity, find_inverted, quality_index
from ecgprep.records import read_record
from ecgprep.rpeaks_multilead import find_by_all_leads
from tests.ecgprep.test_rpeaks import make_recording


def judge(signal_mv: np.ndarray, fs_hz: float) -> float:
    return quality_index(signal_mv, find_by_all_leads(signal_mv, fs_hz), fs_hz)


def test_a_clean_recording_is_near_1_and_noise_is_0() -> None:
    signal_mv, _ = make_recording()
    assert judge(signal_mv, 360.0) > 0.97
    assert judge(np.random.default_rng(0).normal(size=signal_mv.shape), 360.0) == 0


def test_a_third_of_ectopic_beats_is_no_noise() -> None:
    signal_mv, peaks = make_recording()
    signal_mv[:, :] = (
        np.where(np.abs(np.arange(signal_mv.shape[1]) - peaks[::3, None]).min(axis=0) < 40, -1, 1) * signal_mv
    )
    assert beat_similarity(signal_mv, peaks, 360.0).min() > 0.9


def test_of_very_many_beats_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beats that are passed over are noise: nothing of them may be seen."""
    signal_mv, peaks = make_recording(seconds=120)
    nearest = np.abs(np.arange(signal_mv.shape[1]) - peaks[:, None]).argmin(axis=0)
    passed_over = nearest % 4 != 0
    signal_mv[:, passed_over] = np.random.default_rng(0).normal(size=(2, int(passed_over.sum())))
    assert beat_similarity(signal_mv, peaks, 360.0).max() < 0.6
    monkeypatch.setattr("ecgprep.quality.MOST_BEATS", -(-len(peaks) // 4))
    assert beat_similarity(signal_mv, peaks, 360.0).min() > 0.9


def test_time_without_beats_counts() -> None:
    signal_mv, _ = make_recording(seconds=60)
    whole = judge(signal_mv, 360.0)
    signal_mv[:, 30 * 360 :] = 0
    assert judge(signal_mv, 360.0) == pytest.approx(whole * 32 / 60, abs=0.03)


def make_upright(fs_hz: float = 250.0) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen beats with P, R, a small S, and T."""
    t = np.arange(int(16 * fs_hz)) / fs_hz
    phase = t % 0.9 - 0.4
    waves = ((-0.15, 0.15, 0.025), (0.0, 1.0, 0.012), (0.035, -0.2, 0.012), (0.25, 0.3, 0.05))
    lead_mv = sum(height * np.exp(-(((phase - at) / width) ** 2)) for at, height, width in waves)
    noise = np.random.default_rng(0).normal(0, 0.01, len(t))
    return (lead_mv + noise)[None], np.rint((np.arange(17) * 0.9 + 0.4) * fs_hz).astype(np.int64)


@pytest.mark.parametrize(
    ("lead", "judged"), [("I", 1), ("ii", 1), ("V6", 1), ("MLII", 1), ("aVR", -1), ("V1", 0), ("III", 0)]
)
def test_a_lead_is_inverted_where_all_waves_point_the_wrong_way(lead: str, judged: int) -> None:
    upright, peaks = make_upright()
    assert find_inverted(upright, [lead], peaks, 250.0).tolist() == [judged == -1]
    assert find_inverted(-upright, [lead], peaks, 250.0).tolist() == [judged == 1]


def test_one_inverted_wave_alone_is_disease() -> None:
    upright, peaks = make_upright()
    t = np.arange(upright.shape[1]) / 250.0 % 0.9 - 0.4
    negative_t = upright - 0.6 * np.exp(-(((t - 0.25) / 0.05) ** 2))
    assert not find_inverted(negative_t, ["I"], peaks, 250.0)[0]
    assert not find_inverted(upright, ["I"], peaks[:2], 250.0)[0]


@pytest.mark.real
@pytest.mark.parametrize("kind", ["bw", "ma"])
def test_quality_falls_with_every_step_of_noise(real_data: Path, kind: str) -> None:
    noise_mv = wfdb.rdrecord(str(real_data / "nstdb" / kind), sampto=43_200).p_signal.T[:1]
    means = []
    for snr_db in (24, 18, 12, 6, 0, -6):
        found = []
        for name in ("100", "118", "119", "208"):
            clean_mv = wfdb.rdrecord(str(real_data / "mitdb" / name), sampto=43_200).p_signal.T[:1]
            beats = wfdb.rdann(str(real_data / "mitdb" / name), "atr", sampto=43_100).sample[1:]
            found.append(judge(add_noise(clean_mv, noise_mv, snr_db, beats, 360.0, 0.0, np.inf), 360.0))
        means.append(np.mean(found))
    assert np.all(np.diff(means) < 0), means


@pytest.mark.real
def test_noisy_recordings_of_cinc2017_have_a_lower_quality(real_data: Path) -> None:
    from sklearn.metrics import roc_auc_score

    place = real_data / "challenge-2017"
    with (place / "REFERENCE-v3.csv").open() as file:
        label = dict(csv.reader(file))
    headers = sorted((place / "training").glob("*/*.hea"))
    chosen = [h for h in headers if label[h.stem] == "~"] + [h for h in headers if label[h.stem] != "~"][::15]
    quality = [judge(read_record(h.with_suffix(""), (".hea", ".mat")).signal_mv, 300.0) for h in chosen]
    assert roc_auc_score([label[h.stem] != "~" for h in chosen], quality) > 0.9


@pytest.mark.real
def test_turned_leads_of_real_recordings_are_found(real_data: Path) -> None:
    """As they are, about one in a hundred is flagged; turned by us, four in five."""
    flags = []
    for header in sorted((real_data / "ptb-xl" / "records100").glob("*/*.hea"))[:200]:
        record = read_record(header.with_suffix(""))
        leads = [record.leads.index(lead) for lead in ("I", "II", "V5", "V6", "AVR")]
        names, signal_mv = [record.leads[i] for i in leads], record.signal_mv[leads]
        peaks = find_by_all_leads(signal_mv, record.fs_hz)
        flags.append([find_inverted(sign * signal_mv, names, peaks, record.fs_hz) for sign in (1, -1)])
    as_they_are, turned = np.mean(flags, axis=(0, 2))
    assert as_they_are <= 0.012
    assert turned >= 0.75
