"""MIT-BIH and PTB-XL themselves: the counts that the literature gives, and signals as wfdb reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgprep.datasets.mitdb import DS1, DS1_VALIDATION, DS2, PACED
from ecgprep.index import IndexedRecord, index_record
from pipelines.workspace import Workspace
from store.read import Store, open_store
from store.verify import find_damage
from store.vocabulary import BEAT_SCHEMES, TEST, TRAIN, UNUSED, VALIDATION

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SYMBOL_COUNTS = {
    **{"N": 75052, "L": 8075, "R": 7259, "e": 16, "j": 229, "A": 2546, "a": 150, "J": 83, "S": 2},
    **{"V": 7130, "E": 106, "F": 803, "/": 7028, "f": 982, "Q": 33},
}
CLASS_COUNTS = {
    DS1: {"N": 45866, "S": 944, "V": 3788, "F": 415, "Q": 8},
    DS2: {"N": 44259, "S": 1837, "V": 3221, "F": 388, "Q": 7},
    PACED: {"N": 506, "V": 227, "Q": 8028},
    DS1_VALIDATION: {"N": 10145, "S": 291, "V": 813, "F": 29},
}


@pytest.fixture(scope="module")
def mitdb(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    home = Workspace(tmp_path_factory.mktemp("home"))
    return open_store(build(Prepare(dataset="mitdb", workers=2), home, real_data).place)


@pytest.fixture(scope="module")
def symbols(real_data: Path) -> dict[str, list[str]]:
    """Every beat symbol by record, edge beats included."""
    found = {}
    for name in f"{DS1} {DS2} {PACED}".split():
        marks = wfdb.rdann(str(real_data / "mitdb" / name), "atr").symbol
        found[name] = [mark for mark in marks if mark in BEAT_SCHEMES["aami"]]
    return found


def test_every_beat_symbol_is_counted_as_published(symbols: dict[str, list[str]]) -> None:
    counts = Counter(mark for marks in symbols.values() for mark in marks)
    assert counts == SYMBOL_COUNTS
    assert sum(counts.values()) == 109_494


@pytest.mark.parametrize("records", CLASS_COUNTS, ids=["DS1", "DS2", "paced", "validation"])
def test_classes_of_each_set_are_counted_as_published(symbols: dict[str, list[str]], records: str) -> None:
    classes = Counter(BEAT_SCHEMES["aami"][mark] for name in records.split() for mark in symbols[name])
    assert classes == CLASS_COUNTS[records]


def test_escape_beats_are_s_in_the_other_convention(symbols: dict[str, list[str]]) -> None:
    for records, expected in ((DS1, 976), (DS2, 2050)):
        marks = [mark for name in records.split() for mark in symbols[name]]
        assert sum(BEAT_SCHEMES["aami_bxb"][mark] == "S" for mark in marks) == expected


def test_only_26_edge_beats_are_dropped(mitdb: Store, symbols: dict[str, list[str]]) -> None:
    assert mitdb.n_rows == 109_494 - 26
    audit = {line["rule"]: (line["kept"], line["dropped"]) for line in mitdb.attributes["audit"]}
    assert audit["record can be used"] == (48, 0)
    assert audit["annotation marks a beat"][0] == 109_494
    assert audit["window lies within the record"] == (109_468, 26)
    assert not list(find_damage(Path(mitdb.location)))


def test_protocols_hold_their_records(mitdb: Store) -> None:
    name = np.array([record.removeprefix("mitdb/") for record in mitdb.column("record")])
    split = mitdb.split("interpatient")
    assert set(name[split.values == TEST]) == set(DS2.split())
    assert set(name[split.values == VALIDATION]) == set(DS1_VALIDATION.split())
    assert set(name[split.values == TRAIN]) == set(DS1.split()) - set(DS1_VALIDATION.split())
    assert split.leaks == ("patient",)
    strict = mitdb.split("interpatient-strict")
    assert set(name[strict.values >= 0]) == set(f"{DS1} {DS2}".split()) - {"201"}
    assert len(set(mitdb.column("patient"))) == 47


def test_102_and_104_are_flagged_and_out(mitdb: Store) -> None:
    record = mitdb.column("record")
    flagged = mitdb.column("lead_substituted")
    assert set(record[flagged]) == {"mitdb/102", "mitdb/104"}
    for protocol in ("interpatient", "interpatient-strict", "patient-70-15-15", "kfold-5"):
        assert (mitdb.split(protocol).values[flagged] == UNUSED).all()


@pytest.mark.parametrize("name", ["100", "114", "102", "232"])
def test_beats_equal_wfdbs_signal(mitdb: Store, real_data: Path, name: str) -> None:
    physical = wfdb.rdrecord(str(real_data / "mitdb" / name))
    lead = physical.sig_name.index("V5" if name == "102" else "MLII")
    rows = np.flatnonzero(mitdb.column("record") == f"mitdb/{name}")
    peaks = mitdb.column("sample")[rows]
    stored = mitdb.signal[int(rows[0]) : int(rows[-1]) + 1][:, 0] * mitdb.scale_mv
    expected = physical.p_signal[:, lead][peaks[:, None] + np.arange(-93, 93)]
    assert np.abs(stored - expected).max() <= 0.5e-3 + 1e-9


@pytest.fixture(scope="module")
def ptbxl(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    home = Workspace(tmp_path_factory.mktemp("home"))
    return open_store(build(Prepare(dataset="ptbxl", workers=2, leads=("all",)), home, real_data).place)


def test_400_of_21837_records(ptbxl: Store) -> None:
    (about,) = ptbxl.attributes["card"]["databases"]
    assert (about["records_used"], about["records_published"], about["patients"]) == (400, 21837, 369)
    assert about["version"] == "1.0.1"
    assert ptbxl.n_rows == 400


def test_superclasses_are_counted_as_published(ptbxl: Store) -> None:
    label = ptbxl.label("superclass")
    counts = dict(zip(label.classes, label.values.sum(axis=0).tolist(), strict=True))
    assert counts == {"NORM": 243, "STTC": 74, "CD": 58, "MI": 53, "HYP": 32}
    assert int((~label.values.any(axis=1)).sum()) == 10


def test_folds_are_the_recommended_ones(ptbxl: Store) -> None:
    split, label = ptbxl.split("ptbxl-folds"), ptbxl.label("superclass")
    labelled = label.values.any(axis=1)
    assert (split.values[~labelled] == UNUSED).all()
    folds = [37, 40, 30, 35, 36, 28, 35, 35, 70, 54]
    used = [int((split.values == part).sum()) for part in (TRAIN, VALIDATION, TEST)]
    assert sum(used) == 390
    assert used[0] <= sum(folds[:8])
    assert used[1] <= folds[8]
    assert used[2] <= folds[9]


def test_records_equal_wfdbs_signal(ptbxl: Store, real_data: Path) -> None:
    for row in (0, 17, 399):
        path = real_data / "ptb-xl" / ptbxl.column("record")[row].removeprefix("ptbxl/")
        physical = wfdb.rdrecord(str(path))
        order = [[name.upper() for name in physical.sig_name].index(lead.upper()) for lead in ptbxl.leads]
        assert np.abs(ptbxl.signal[row] * ptbxl.scale_mv - physical.p_signal.T[order]).max() <= 0.5e-3 + 1e-9


def test_60_records_at_500_hz(real_data: Path, tmp_path: Path) -> None:
    made = build(Prepare(dataset="ptbxl", workers=0, fs=500), Workspace(tmp_path), real_data)
    store = open_store(made.place)
    assert store.signal.shape == (60, 3, 5000)
    assert (store.fs_hz, set(store.column("fs_raw_hz"))) == (500.0, {500.0})
    physical = wfdb.rdrecord(str(real_data / "ptb-xl/records500/00000/00007_hr")).p_signal[:, [1, 6, 10]].T
    row = store.column("record").tolist().index("ptbxl/records500/00000/00007_hr")
    assert np.abs(store.signal[row] * store.scale_mv - physical).max() <= 0.5e-3 + 1e-9


@pytest.mark.parametrize("unit", ["beat:kachuee186", "beat:c360"])
def test_other_presets_index_a_real_record(real_data: Path, unit: str) -> None:
    from ecgprep.datasets import get_database

    database = get_database("mitdb")
    prepare = database.resolve(Prepare(dataset="mitdb", unit=unit))
    refs = {ref.record: ref for ref in database.find(real_data / "mitdb", prepare).records}
    record = index_record(database, refs["mitdb/208"], prepare)
    assert isinstance(record, IndexedRecord)
    assert 2950 < len(record.rows.start) <= 2955
    if unit == "beat:kachuee186":
        rr = np.nanmedian(record.rows.columns["rr_prev_s"])
        assert np.median(record.rows.valid_n) == pytest.approx(1.2 * rr * 125, rel=0.1)
