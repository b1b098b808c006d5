"""ptbdb, challenge-2017, ludb and nstdb themselves, from their folders to a store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import neurokit2
import numpy as np
import pytest
import wfdb

from ecgprep.annotations import read_annotations
from ecgprep.build import build
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.ludb import read_waves
from ecgprep.index import read_clean
from ecgprep.noise import noise_power, qrs_power_mv2
from ecgprep.rpeaks_matching import match_r_peaks
from pipelines.workspace import Workspace
from store.read import Store, open_store
from store.verify import find_damage
from store.vocabulary import BEAT_SCHEMES

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

LUDB_LEADS = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")


def built(source: Path, home: Path, **section: object) -> Store:
    return open_store(build(Prepare.model_validate({"workers": 0, **section}), Workspace(home), source).place)


def class_counts(store: Store, scheme: str) -> dict[str, int]:
    label = store.label(scheme)
    return dict(Counter(label.classes[value] for value in label.values.tolist() if value >= 0))


@pytest.fixture(scope="module")
def cinc2017(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return built(real_data, tmp_path_factory.mktemp("cinc2017"), dataset="cinc2017", workers=2)


def test_cinc2017_classes_are_counted_as_published(cinc2017: Store) -> None:
    assert class_counts(cinc2017, "rhythm4") == {"N": 1786, "O": 812, "A": 303, "~": 99}
    (about,) = cinc2017.attributes["card"]["databases"]
    assert (about["records_used"], about["records_published"], about["patients"]) == (3000, 8528, 3000)
    assert not list(find_damage(Path(cinc2017.location)))


def test_cinc2017_lengths_are_those_of_the_recordings(cinc2017: Store) -> None:
    valid_n = cinc2017.column("valid_n")
    assert (valid_n.min(), valid_n.max(), int(valid_n.sum())) == (2796, 18_260, 29_177_885)


@pytest.mark.parametrize("row", [0, 1234, 2999])
def test_cinc2017_rows_equal_wfdbs_signal(cinc2017: Store, real_data: Path, row: int) -> None:
    path = real_data / "challenge-2017" / cinc2017.column("record")[row].removeprefix("cinc2017/")
    expected = wfdb.rdrecord(str(path)).p_signal[:, 0]
    n = int(cinc2017.column("valid_n")[row])
    assert n == len(expected)
    assert np.abs(cinc2017.signal[row, 0, :n] * cinc2017.scale_mv - expected).max() <= 0.5e-3 + 1e-9


@pytest.fixture(scope="module")
def ludb(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return built(real_data, tmp_path_factory.mktemp("ludb"), dataset="ludb", leads="all")


def test_ludb_records_carry_the_tables_labels(ludb: Store) -> None:
    assert ludb.signal.shape == (120, 12, 5000)
    assert (ludb.label("ludb_rhythm").values >= 0).all()
    assert set(class_counts(ludb, "ludb_axis")) <= set(ludb.label("ludb_axis").classes)
    row = ludb.column("record").tolist().index("ludb/data/8")
    assert ludb.label("ludb_rhythm").classes[ludb.label("ludb_rhythm").values[row]] == "Atrial fibrillation"
    assert ludb.label("ludb_axis").values[row] == -1  # a paced patient
    diagnosis = ludb.label("ludb_diagnosis")
    has = {name for name, value in zip(diagnosis.classes, diagnosis.values[row], strict=True) if value}
    assert has == {"pacing", "ischemia"}
    assert (ludb.column("age")[row], ludb.column("sex")[row]) == (57, "female")


def test_ludb_signals_equal_wfdbs(ludb: Store, real_data: Path) -> None:
    row = ludb.column("record").tolist().index("ludb/data/42")
    expected = wfdb.rdrecord(str(real_data / "ludb/data/42")).p_signal.T
    assert np.abs(ludb.signal[row] * ludb.scale_mv - expected).max() <= 0.5e-3 + 1e-9


def test_ludb_waves_of_120_records(real_data: Path) -> None:
    kinds: Counter[str] = Counter()
    without_boundary = 0
    for number in range(1, 121):
        for lead in LUDB_LEADS:
            waves = read_waves(real_data / f"ludb/data/{number}", lead)
            kinds.update(wave.kind for wave in waves)
            without_boundary += sum(wave.onset < 0 or wave.offset < 0 for wave in waves)
    assert kinds == {"QRS": 13_385, "T": 12_007, "P": 9_384}
    assert without_boundary < 0.01 * kinds.total()


def test_ludb_beats_lie_where_the_cardiologist_put_them(real_data: Path, tmp_path: Path) -> None:
    store = built(real_data, tmp_path, dataset="ludb", unit="beat:centred186")
    marked = sum(wave.kind == "QRS" for n in range(1, 121) for wave in read_waves(real_data / f"ludb/data/{n}", "II"))
    assert store.n_rows == marked == 1116


@pytest.fixture(scope="module")
def nstdb(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return built(real_data, tmp_path_factory.mktemp("nstdb"), dataset="nstdb")


def test_nstdb_holds_three_noisy_records_of_one_patient(nstdb: Store, real_data: Path) -> None:
    assert set(nstdb.column("record")) == {"nstdb/118e00", "nstdb/118e06", "nstdb/118e24"}
    assert set(nstdb.column("patient")) == {"mitdb/118"}
    marks = wfdb.rdann(str(real_data / "nstdb/118e06"), "atr").symbol
    n_beats = sum(mark in BEAT_SCHEMES["aami"] for mark in marks)
    assert int((nstdb.column("record") == "nstdb/118e06").sum()) == n_beats - 1  # one window runs over the edge


def test_ptbdb_beats_of_lead_ii(real_data: Path, tmp_path: Path) -> None:
    store = built(real_data, tmp_path, dataset="ptbdb", unit="beat:kachuee186")
    assert class_counts(store, "mi") == {"infarction": store.n_rows}
    assert set(store.column("patient")) == {"ptbdb/patient001", "ptbdb/patient002"}
    raw = wfdb.rdrecord(str(real_data / "ptbdb/patient001/s0010_re")).p_signal[:, 1]
    theirs = neurokit2.ecg_peaks(raw, sampling_rate=1000)[1]["ECG_R_Peaks"].astype(np.int64)
    ours = store.column("sample")[store.column("record") == "ptbdb/patient001/s0010_re"]
    matched = match_r_peaks(ours, theirs, 1000.0)
    assert len(matched) >= len(theirs) - 2  # the beats at the edges have no whole window


def test_ptbdb_records_in_15_leads(real_data: Path, tmp_path: Path) -> None:
    store = built(real_data, tmp_path, dataset="ptbdb", leads="all")
    assert store.signal.shape == (2, 15, 115_200)
    assert store.column("valid_n").tolist() == [38_400, 115_200]
    assert store.column("age").tolist() == [81, 58]
    expected = wfdb.rdrecord(str(real_data / "ptbdb/patient001/s0010_re")).p_signal.T
    assert np.abs(store.signal[0, :, :38_400] * store.scale_mv - expected).max() <= 0.5e-3 + 1e-9


@pytest.mark.parametrize("snr_db", [18, 0])
def test_muscle_noise_on_a_real_record_stands_in_its_ratio(real_data: Path, snr_db: int) -> None:
    database = get_database("mitdb")
    clean, noisy = (
        database.resolve(Prepare(dataset="mitdb", noise=noise, unit="record")) for noise in ("", f"ma@{snr_db}")
    )
    (ref,) = (ref for ref in database.find(real_data / "mitdb", clean).records if ref.record == "mitdb/118")
    clean_mv = read_clean(database, ref, clean).raw_mv
    added_mv = read_clean(database, ref, noisy).raw_mv - clean_mv
    peaks = read_annotations(ref.path, "atr").r_peaks
    ratio_db = 10 * np.log10(qrs_power_mv2(clean_mv, peaks, 360.0) / noise_power(added_mv, 360.0))
    np.testing.assert_allclose(ratio_db, snr_db, atol=1e-6)
