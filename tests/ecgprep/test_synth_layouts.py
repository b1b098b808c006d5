"""Synthetic recordings in the layouts of ptbdb, challenge-2017, ludb and nstdb: files, headers, and what they hold."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb
from scipy.io import loadmat

from ecgprep.noise import noise_power, qrs_power_mv2
from ecgprep.synth import write_cinc2017, write_like, write_ludb, write_nstdb, write_ptbdb
from store.errors import UserError
from store.vocabulary import SYNTHETIC_MARK
from tests.ecgprep.test_synth import assert_checksums_hold, bytes_of

LEADS = ["i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four, small."""
    place = tmp_path_factory.mktemp("raw")
    write_ptbdb(place, n_records=8, n_minutes=0.2, seed=1)
    write_cinc2017(place, n_records=20, seed=1)
    write_ludb(place, n_records=6, seed=1)
    write_nstdb(place, n_minutes=1.0, seed=1)
    return place


def test_ptbdb_has_15_leads_in_two_files(folder: Path) -> None:
    names = (folder / "ptbdb/RECORDS").read_text().split()
    assert len(names) == 8
    assert len({name.split("/")[0] for name in names}) == 6
    header = wfdb.rdheader(str(folder / "ptbdb" / names[0]))
    assert (header.fs, header.sig_len, header.sig_name) == (1000, 12_000, [*LEADS, "vx", "vy", "vz"])
    stem = names[0].split("/")[1]
    assert header.file_name == [f"{stem}.dat"] * 12 + [f"{stem}.xyz"] * 3
    assert_checksums_hold(folder / "ptbdb" / names[0])


def test_ptbdb_says_why_each_patient_was_admitted(folder: Path) -> None:
    names = (folder / "ptbdb/RECORDS").read_text().split()
    comments = [wfdb.rdheader(str(folder / "ptbdb" / name)).comments for name in names]
    reasons = Counter(line for lines in comments for line in lines if line.startswith("Reason for admission"))
    known = ("Healthy control", "Myocardial infarction", "Bundle branch block")
    assert set(reasons) == {f"Reason for admission: {name}" for name in known}


def test_ptbdb_leads_are_those_of_one_heart(folder: Path) -> None:
    name = (folder / "ptbdb/RECORDS").read_text().split()[0]
    signal = wfdb.rdrecord(str(folder / "ptbdb" / name)).p_signal
    np.testing.assert_allclose(signal[:, 2], signal[:, 1] - signal[:, 0], atol=1e-9)
    np.testing.assert_allclose(signal[:, 3], -(signal[:, 0] + signal[:, 1]) / 2, atol=1e-3)
    from_frank = signal[:, 12:] @ np.array([0.235, 1.066, -0.132])  # lead II by Dower's matrix
    assert np.corrcoef(from_frank, signal[:, 1])[0, 1] > 0.8  # each lead has its own drift


def test_cinc2017_is_read_alike_by_matlab_and_wfdb(folder: Path) -> None:
    place = folder / "challenge-2017/training/A00"
    for path in sorted(place.glob("*.mat"))[:4]:
        record = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
        np.testing.assert_array_equal(record.d_signal.T, loadmat(path)["val"])
        assert (record.fs, record.sig_name, record.adc_gain, record.checksum) == (300, ["ECG"], [1000.0], [0])
        assert 9 * 300 <= record.sig_len <= 61 * 300
    assert (place / "A00001.hea").read_bytes().count(b"\r\n") == 3


def test_cinc2017_labels_every_record(folder: Path) -> None:
    with (folder / "challenge-2017/REFERENCE-v3.csv").open(newline="") as file:
        labels = dict(csv.reader(file))
    assert set(labels) == {path.stem for path in (folder / "challenge-2017/training").rglob("*.hea")}
    assert Counter(labels.values()) == {"N": 10, "A": 4, "O": 4, "~": 2}


def test_ludb_marks_every_lead(folder: Path) -> None:
    place = folder / "ludb/data"
    for number in range(1, 7):
        assert_checksums_hold(place / str(number))
        for lead in LEADS:
            marked = wfdb.rdann(str(place / str(number)), lead)
            text = "".join(marked.symbol)
            assert text.replace("(p)", "").replace("(N)", "").replace("(t)", "") == ""
            assert np.all(np.diff(marked.sample) >= 0)


def test_ludb_peaks_lie_on_the_r_waves(folder: Path) -> None:
    place = folder / "ludb/data"
    record = wfdb.rdrecord(str(place / "1"))
    marked = wfdb.rdann(str(place / "1"), "ii")
    peaks = np.array([at for at, symbol in zip(marked.sample, marked.symbol, strict=True) if symbol == "N"])
    lead = record.p_signal[:, 1]
    for peak in peaks:
        assert abs(int(np.argmax(np.abs(lead[peak - 30 : peak + 30]))) - 30) <= 6


@pytest.mark.real
def test_ludb_table_has_the_columns_of_the_real_one(folder: Path, real_data: Path) -> None:
    with (folder / "ludb/ludb.csv").open(newline="") as ours, (real_data / "ludb/ludb.csv").open(newline="") as real:
        assert next(csv.reader(ours)) == next(csv.reader(real))


@pytest.mark.parametrize(("suffix", "snr_db"), [("24", 24), ("06", 6), ("_6", -6)])
def test_nstdb_noise_stands_in_the_ratio_of_the_name(folder: Path, suffix: str, snr_db: float) -> None:
    noisy, clean = (read_mv(folder / "nstdb" / f"118e{name}") for name in (suffix, "24"))
    peaks = r_peaks(folder / "nstdb/118e24")
    start, stop = 10 * 360, 14 * 360  # the first noisy stretch of a minute
    np.testing.assert_allclose(noisy[:, :start], clean[:, :start], atol=0.006)
    if suffix != "24":
        em = read_mv(folder / "nstdb/em")
        added = (noisy - clean)[:, start:stop]
        scale = np.sqrt(qrs_power_mv2(clean[:, :start], peaks[peaks < start], 360.0) / noise_power(em, 360.0))
        expected = scale * (10 ** (-snr_db / 20) - 10 ** (-24 / 20)) * em[:, start:stop].std(axis=1)
        np.testing.assert_allclose(added.std(axis=1), expected, rtol=0.15)


def test_nstdb_noise_records_are_not_calibrated(folder: Path) -> None:
    for name in ("bw", "em", "ma"):
        lines = (folder / f"nstdb/{name}.hea").read_text().splitlines()
        assert [line.split()[2] for line in lines[1:3]] == ["0", "0"]
        assert read_mv(folder / "nstdb" / name).std() > 0.05


def read_mv(path: Path) -> np.ndarray:
    return wfdb.rdrecord(str(path)).p_signal.T


def r_peaks(path: Path) -> np.ndarray:
    marked = wfdb.rdann(str(path), "atr")
    return marked.sample[np.array(marked.symbol) != "+"]


@pytest.mark.parametrize("like", ["ptbdb", "cinc2017", "ludb"])
def test_same_seed_gives_the_same_bytes(tmp_path: Path, like: str) -> None:
    for home, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_like(like, tmp_path / home, n_minutes=0.2 if like == "ptbdb" else None, n_records=2, seed=seed)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert bytes_of(tmp_path / "a") != bytes_of(tmp_path / "c")
    assert list((tmp_path / "a").glob(f"*/{SYNTHETIC_MARK}"))


def test_ptbxl_is_written_at_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    place = write_like("ptbxl", tmp_path, n_minutes=None, n_records=40, seed=0, fs=500)
    assert not (place / "records100").exists()
    record = wfdb.rdheader(str(place / "records500/00000/00001_hr"))
    assert (record.fs, record.sig_len) == (500, 5000)


@pytest.mark.parametrize(
    ("like", "options", "message"),
    [
        ("ptbdb", {"n_records": 0}, "ask for 1 or more"),
        ("ptbdb", {"n_minutes": 0.01}, "too short"),
        ("cinc2017", {"n_records": 0}, "ask for 1 to 99999"),
        ("cinc2017", {"n_minutes": 1.0}, "fixes the length"),
        ("ludb", {"n_records": 0}, "ask for 1 or more"),
        ("nstdb", {"n_minutes": 0.1}, "too short"),
        ("nstdb", {"n_records": 5}, "fixes the number"),
        ("ptbxl", {"fs": 250}, "PTB-XL has 100 and 500 Hz"),
        ("mitdb", {"fs": 360}, "--fs: the layout of mitdb fixes the rate of its records"),
        ("ptbd", {}, "Did you mean 'ptbdb'"),
    ],
)
def test_what_a_layout_cannot_be_is_refused(tmp_path: Path, like: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_like(like, tmp_path, **{"n_minutes": None, "n_records": None, "seed": 0, **options})
    assert not list(tmp_path.iterdir())
