"""A build with recorded noise: the ratio that was asked for, the same bytes each time, and clear refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ecgprep.noise import noise_power, qrs_power_mv2
from ecgprep.noise_records import RecordedNoise, add_recorded_noise, parse_noise
from ecgprep.synth import write_mitdb, write_nstdb, write_ptbxl
from store.errors import MissingDataError, UnknownNameError, UserError
from store.read import Store, open_store
from tests.ecgprep.conftest import Build


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    write_nstdb(folder, n_minutes=0.6, seed=3)
    write_mitdb(folder, n_minutes=0.5, seed=3, records=["100", "101", "106"])
    write_ptbxl(folder, n_records=40, seed=3)
    return folder


@pytest.mark.parametrize("snr_db", [24.0, 6.0, -6.0])
@pytest.mark.parametrize("fs_hz", [360.0, 100.0])
def test_noise_stands_in_the_ratio_that_was_asked_for(recordings: Path, snr_db: float, fs_hz: float) -> None:
    r_peaks = np.arange(1, 20) * round(0.8 * fs_hz)
    signal_mv = np.zeros((3, round(16 * fs_hz)))
    signal_mv[:, r_peaks] = [[1.0], [0.5], [2.0]]
    noisy_mv = add_recorded_noise(signal_mv, RecordedNoise("ma", snr_db), recordings / "x", r_peaks, fs_hz, "x/1")
    added = noisy_mv - signal_mv
    ratio_db = 10 * np.log10(qrs_power_mv2(signal_mv, r_peaks, fs_hz) / noise_power(added, fs_hz))
    np.testing.assert_allclose(ratio_db, snr_db, atol=1e-6)
    assert np.abs(added).min(axis=1).max() < np.abs(added).max(axis=1).min()


def test_each_recording_gets_another_stretch_always_the_same(recordings: Path) -> None:
    def noisy(name: str) -> np.ndarray:
        signal_mv = np.zeros((1, 3600))
        signal_mv[:, 360::360] = 1.0
        peaks = np.arange(360, 3600, 360)
        return add_recorded_noise(signal_mv, RecordedNoise("em", 0.0), recordings / "x", peaks, 360.0, name)

    np.testing.assert_array_equal(noisy("mitdb/100"), noisy("mitdb/100"))
    assert np.abs(noisy("mitdb/100") - noisy("mitdb/101")).max() > 0.1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("mu@6", UnknownNameError, "unknown noise record 'mu'"),
        ("ma", UserError, "is no signal-to-noise ratio"),
        ("ma@six", UserError, "'six' is no signal-to-noise ratio"),
        ("ma@200", UserError, "from -30 to 60 dB"),
    ],
)
def test_what_is_no_noise_is_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_noise(text)


def noise_of(clean: Store, noisy: Store) -> np.ndarray:
    return (noisy.signal[:].astype(float) - clean.signal[:]) * clean.scale_mv


def test_beats_keep_their_places_and_lose_their_shape(recordings: Path, build_in: Build) -> None:
    clean = open_store(build_in(recordings, dataset="mitdb").place)
    noisy = open_store(build_in(recordings, dataset="mitdb", noise="ma@6").place)
    assert clean.name != noisy.name
    np.testing.assert_array_equal(clean.column("sample"), noisy.column("sample"))
    np.testing.assert_array_equal(clean.label("aami").values, noisy.label("aami").values)
    louder = open_store(build_in(recordings, dataset="mitdb", noise="ma@0").place)
    ratio = noise_of(clean, louder).std() / noise_of(clean, noisy).std()
    assert ratio == pytest.approx(10 ** (6 / 20), rel=0.01)


def test_records_without_annotations_are_scaled_by_detected_beats(recordings: Path, build_in: Build) -> None:
    clean = open_store(build_in(recordings, dataset="ptbxl", leads="all").place)
    noisy = open_store(build_in(recordings, dataset="ptbxl", leads="all", noise="em@12").place)
    added = noise_of(clean, noisy)
    assert (added.std(axis=2) > 0.002).all()
    assert noisy.n_rows == clean.n_rows


def test_same_build_twice_gives_the_same_digest(recordings: Path, build_in: Build) -> None:
    first, second = (build_in(recordings, home, dataset="mitdb", noise="bw@0") for home in ("a", "b"))
    assert first.digest == second.digest


def test_noise_that_is_not_here_is_named_before_anything_is_read(
    recordings: Path, tmp_path: Path, build_in: Build
) -> None:
    shutil.copytree(recordings / "mitdb", tmp_path / "raw/mitdb")
    with pytest.raises(MissingDataError, match=r"nstdb/ma\.hea is missing"):
        build_in(tmp_path / "raw", dataset="mitdb", noise="ma@6")
