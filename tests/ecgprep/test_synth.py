"""Synthetic recordings: what they hold, that WFDB readers read them, and that a model can learn them."""

from __future__ import annotations

import ast
import csv
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wfdb
from scipy.signal import find_peaks
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ecgprep.datasets import get_database
from ecgprep.synth import LIKE, write_mitdb, write_ptbxl
from ecgprep.synth.mitdb import RECORDS
from ecgprep.synth.ptbxl import draw_visits
from store.errors import UserError
from store.vocabulary import STATEMENT_SCHEMES, SYNTHETIC_MARK

DS1 = {str(number) for number in (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124)} | {
    str(number) for number in (201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
}
VALIDATION = {"114", "118", "205", "207", "223"}
PACED = {"102", "104", "107", "217"}
AAMI = {
    symbol: aami
    for aami, symbols in {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}.items()
    for symbol in symbols
}
SUPERCLASSES = {"NORM", "MI", "STTC", "CD", "HYP"}


@pytest.fixture(scope="module")
def mitdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mitdb(tmp_path_factory.mktemp("raw"), n_minutes=0.5, seed=3)


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ptbxl(tmp_path_factory.mktemp("raw"), n_records=80, seed=3, rates=(100, 500))


@pytest.fixture(scope="module")
def table(ptbxl: Path) -> pd.DataFrame:
    return read_table(ptbxl)


def read_table(ptbxl: Path) -> pd.DataFrame:
    """Return PTB-XL's table with a column of the superclasses that the two tables give together."""
    table = pd.read_csv(ptbxl / "ptbxl_database.csv", index_col="ecg_id")
    classes = pd.read_csv(ptbxl / "scp_statements.csv", index_col=0)["diagnostic_class"].dropna()
    codes = table["scp_codes"].map(ast.literal_eval)
    table["superclasses"] = codes.map(lambda row: {classes[code] for code in row if code in classes})
    return table


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def symbols_of(folder: Path, name: str) -> Counter[str]:
    return Counter(wfdb.rdann(str(folder / name), "atr").symbol)


def assert_checksums_hold(path: Path) -> None:
    record = wfdb.rdrecord(str(path), physical=False)
    header = wfdb.rdheader(str(path))
    assert [total % 65536 for total in record.calc_checksum()] == [total % 65536 for total in header.checksum]
    assert record.d_signal[0].tolist() == header.init_value


def test_mitdb_holds_the_files_of_the_database(mitdb: Path) -> None:
    assert (mitdb / "RECORDS").read_text().split() == RECORDS
    assert (mitdb / "ANNOTATORS").read_text().startswith("atr\t")
    expected = {f"{name}.{suffix}" for name in RECORDS for suffix in ("hea", "dat", "atr")}
    assert {path.name for path in mitdb.iterdir()} == expected | {"RECORDS", "ANNOTATORS", SYNTHETIC_MARK}
    assert len(RECORDS) == 48


@pytest.mark.parametrize("name", ["100", "102", "114", "207"])
def test_mitdb_records_read_back(mitdb: Path, name: str) -> None:
    header = wfdb.rdheader(str(mitdb / name))
    assert (header.fs, header.sig_len, header.fmt) == (360, 10_800, ["212", "212"])
    assert (header.adc_gain, header.baseline, header.adc_res) == ([200.0] * 2, [1024] * 2, [11] * 2)
    assert SYNTHETIC_MARK in header.comments[-1]
    assert_checksums_hold(mitdb / name)
    annotation = wfdb.rdann(str(mitdb / name), "atr")
    assert np.all(np.diff(annotation.sample) > 0)
    assert annotation.sample[0] >= 0
    assert annotation.sample[-1] < header.sig_len
    assert annotation.aux_note[annotation.symbol.index("+")].rstrip("\x00") == ("(P" if name in PACED else "(N")


def test_mitdb_leads_are_those_of_each_record(mitdb: Path) -> None:
    leads = {name: wfdb.rdheader(str(mitdb / name)).sig_name for name in RECORDS}
    assert leads["102"] == leads["104"] == ["V5", "V2"]
    assert leads["114"] == ["V5", "MLII"]
    assert leads["101"] == ["MLII", "V1"]
    assert {name for name, pair in leads.items() if "MLII" not in pair} == {"102", "104"}


@pytest.mark.real
def test_mitdb_leads_equal_those_of_the_real_database(mitdb: Path, real_data: Path) -> None:
    for name in RECORDS:
        real = wfdb.rdheader(str(real_data / "mitdb" / name))
        assert wfdb.rdheader(str(mitdb / name)).sig_name == real.sig_name


@pytest.mark.parametrize(
    "records",
    [DS1 - VALIDATION, VALIDATION, set(RECORDS) - DS1 - PACED],
    ids=["DS1 training", "validation", "DS2"],
)
def test_every_aami_class_is_in_every_part(mitdb: Path, records: set[str]) -> None:
    for name in records:
        found = {AAMI.get(symbol) for symbol in symbols_of(mitdb, name)}
        assert found >= {"N", "S", "V", "F"}, name


def test_mitdb_holds_rare_beats_and_marks_that_are_no_beats(mitdb: Path) -> None:
    symbols = sum((symbols_of(mitdb, name) for name in RECORDS), Counter())
    assert set(symbols) == set(AAMI) | set('+~|x"')
    assert {name for name in RECORDS if symbols_of(mitdb, name)["/"]} == PACED


def test_annotations_lie_on_the_r_peak(mitdb: Path) -> None:
    record = wfdb.rdrecord(str(mitdb / "101"))
    annotation = wfdb.rdann(str(mitdb / "101"), "atr")
    lead = record.p_signal[:, record.sig_name.index("MLII")]
    peaks = [sample for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True) if symbol == "N"]
    offsets = [int(np.argmax(lead[peak - 20 : peak + 21])) - 20 for peak in peaks if 20 <= peak < len(lead) - 20]
    assert np.max(np.abs(offsets)) <= 2


def test_premature_beats_come_early(mitdb: Path) -> None:
    annotation = wfdb.rdann(str(mitdb / "100"), "atr")
    beats = [(s, x) for s, x in zip(annotation.sample, annotation.symbol, strict=True) if x in AAMI]
    rr_s = np.diff([sample for sample, _ in beats]) / 360
    early = [rr for rr, (_, symbol) in zip(rr_s, beats[1:], strict=True) if symbol in "AV"]
    assert early
    assert max(early) < 0.8 * np.median(rr_s)


def test_201_and_202_are_one_patient(mitdb: Path) -> None:
    comments = {name: wfdb.rdheader(str(mitdb / name)).comments for name in ("201", "202", "203")}
    assert comments["201"] == comments["202"] != comments["203"]


def nearest_centroid_recall(train: dict[str, np.ndarray], test: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the share of each class's test rows that lie nearest to the mean training row of their class."""
    centres = {name: rows.mean(axis=0) for name, rows in train.items()}
    recall = {}
    for name, rows in test.items():
        distance = np.stack([np.linalg.norm(rows - centre, axis=1) for centre in centres.values()])
        recall[name] = float(np.mean(distance.argmin(axis=0) == list(centres).index(name)))
    return recall


def beats_by_class(mitdb: Path, names: set[str]) -> dict[str, np.ndarray]:
    """Return spectra of the beats' surroundings: blind to a beat's sign, which differs between patients."""
    beats: dict[str, list[np.ndarray]] = {"N": [], "V": []}
    for name in sorted(names):
        record, annotation = wfdb.rdrecord(str(mitdb / name)), wfdb.rdann(str(mitdb / name), "atr")
        lead = record.p_signal[:, record.sig_name.index("MLII")]
        for sample, symbol in zip(annotation.sample, annotation.symbol, strict=True):
            if symbol in "NV" and 60 <= sample < len(lead) - 60:
                spectrum = np.abs(np.fft.rfft(lead[sample - 60 : sample + 60] - lead[sample - 60 : sample + 60].mean()))
                beats[symbol].append(spectrum[:30] / np.linalg.norm(spectrum))
    return {symbol: np.array(rows) for symbol, rows in beats.items()}


def test_normal_and_ventricular_beats_can_be_told_apart_between_patients(mitdb: Path) -> None:
    recall = nearest_centroid_recall(beats_by_class(mitdb, DS1), beats_by_class(mitdb, set(RECORDS) - DS1 - PACED))
    assert min(recall.values()) > 0.9, recall


def test_ptbxl_holds_the_files_of_the_database(ptbxl: Path, table: pd.DataFrame) -> None:
    assert {path.name for path in ptbxl.iterdir()} == {
        "ptbxl_database.csv", "scp_statements.csv", "records100", "records500", SYNTHETIC_MARK,
    }  # fmt: skip
    for column in ("filename_lr", "filename_hr"):
        for name in table[column]:
            assert (ptbxl / f"{name}.hea").is_file()
            assert (ptbxl / f"{name}.dat").is_file()
    assert len(table) == 80


@pytest.mark.real
def test_ptbxl_tables_have_the_columns_and_classes_of_the_real_database(ptbxl: Path, real_data: Path) -> None:
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        real, synthetic = ((folder / name).open(newline="") for folder in (real_data / "ptb-xl", ptbxl))
        with real, synthetic:
            assert next(csv.reader(synthetic)) == next(csv.reader(real))
    columns = ["diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    real_table, synthetic_table = (
        pd.read_csv(folder / "scp_statements.csv", index_col=0)[columns] for folder in (real_data / "ptb-xl", ptbxl)
    )
    pd.testing.assert_frame_equal(synthetic_table, real_table.loc[synthetic_table.index], check_dtype=False)
    assert set(real_table.index) == set(synthetic_table.index)


def test_ptbxl_statements_have_the_published_numbers_of_diagnoses(ptbxl: Path) -> None:
    statements = pd.read_csv(ptbxl / "scp_statements.csv", index_col=0)
    assert len(statements) == 71
    assert statements["diagnostic_class"].value_counts().to_dict() == {
        "MI": 14, "STTC": 13, "CD": 11, "HYP": 5, "NORM": 1,
    }  # fmt: skip
    assert [int(statements[kind].sum()) for kind in ("diagnostic", "form", "rhythm")] == [44, 19, 12]


@pytest.mark.parametrize(("column", "fs"), [("filename_lr", 100), ("filename_hr", 500)])
def test_ptbxl_records_read_back(ptbxl: Path, table: pd.DataFrame, column: str, fs: int) -> None:
    for name in table[column].iloc[:5]:
        header = wfdb.rdheader(str(ptbxl / name))
        assert (header.fs, header.sig_len, set(header.fmt)) == (fs, 10 * fs, {"16"})
        assert " ".join(header.sig_name) == "I II III AVR AVL AVF V1 V2 V3 V4 V5 V6"
        assert (set(header.adc_gain), set(header.units), set(header.baseline)) == ({1000.0}, {"mV"}, {0})
        assert SYNTHETIC_MARK in header.comments[-1]
        assert_checksums_hold(ptbxl / name)


def test_limb_leads_keep_einthovens_relations(ptbxl: Path, table: pd.DataFrame) -> None:
    for name in table["filename_lr"]:
        signal = wfdb.rdrecord(str(ptbxl / name), physical=False).d_signal.astype(int)
        one, two, three, avr, avl, avf = signal[:, :6].T
        np.testing.assert_array_equal(one + three, two)
        assert np.max(np.abs(avr + avl + avf)) <= 1.5


def test_every_superclass_is_in_every_part(table: pd.DataFrame) -> None:
    for folds in (range(1, 9), [9], [10]):
        part = table[table["strat_fold"].isin(folds)]
        assert set().union(*part["superclasses"]) == SUPERCLASSES
    assert set(table["strat_fold"]) == set(range(1, 11))
    assert 0.1 <= np.mean(table["strat_fold"] == 10) <= 0.22


@pytest.mark.parametrize(("n_records", "share"), [(200, 0.15), (1_000, 0.10), (21_837, 0.10)])
def test_the_folds_that_are_held_out_have_their_share(n_records: int, share: float) -> None:
    folds = Counter(patient.fold for patient in draw_visits(n_records, np.random.default_rng(1)))
    assert sum(folds.values()) == n_records
    for fold in (9, 10):
        assert abs(folds[fold] / n_records - share) < 0.04


def test_some_records_have_several_superclasses_and_some_none(table: pd.DataFrame) -> None:
    sizes = Counter(len(superclasses) for superclasses in table["superclasses"])
    assert sizes[2] >= 3
    assert sizes[0] >= 1
    assert sizes[1] > 0.5 * len(table)


def test_patients_come_again_and_stay_in_one_fold(table: pd.DataFrame) -> None:
    patients = table.groupby("patient_id")
    assert len(patients) < len(table)
    assert (patients["strat_fold"].nunique() == 1).all()
    assert (patients["age"].nunique() == 1).all()


def mean_beat(path: Path) -> np.ndarray:
    """Return the mean of a record's beats in all leads, aligned where the leads together are steepest."""
    signal = wfdb.rdrecord(str(path)).p_signal
    steepness = np.sum(np.gradient(signal, axis=0) ** 2, axis=1)
    beats, _ = find_peaks(steepness, distance=35, height=0.3 * steepness.max())
    inner = beats[(beats >= 25) & (beats < len(signal) - 45)]
    return np.mean([signal[beat - 25 : beat + 45] - np.median(signal, axis=0) for beat in inner], axis=0).ravel()


def test_superclasses_can_be_told_apart_between_patients(tmp_path: Path) -> None:
    database = write_ptbxl(tmp_path, n_records=200, seed=3)
    table = read_table(database)
    beats = np.array([mean_beat(database / name) for name in table["filename_lr"]])
    held_out = table["strat_fold"].to_numpy() >= 9
    for superclass in sorted(SUPERCLASSES):
        present = np.array([superclass in superclasses for superclasses in table["superclasses"]])
        model = LogisticRegression(max_iter=2_000).fit(beats[~held_out], present[~held_out])
        auroc = roc_auc_score(present[held_out], model.decision_function(beats[held_out]))
        assert auroc > 0.9, superclass


@pytest.mark.parametrize(
    ("like", "size"),
    [("mitdb", {"n_minutes": 0.25, "records": ["100", "208", "232"]}), ("ptbxl", {"n_records": 40})],
    ids=["mitdb", "ptbxl"],
)
def test_same_seed_same_bytes(tmp_path: Path, like: str, size: dict[str, Any]) -> None:
    first, again, other = (
        bytes_of(LIKE[like](tmp_path / name, seed=seed, **size)) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == again
    assert first != other


def test_a_record_does_not_depend_on_the_others(mitdb: Path, tmp_path: Path) -> None:
    alone = write_mitdb(tmp_path, n_minutes=0.5, seed=3, records=["208"])
    assert (alone / "RECORDS").read_text() == "208\n"
    for suffix in ("hea", "dat", "atr"):
        assert (alone / f"208.{suffix}").read_bytes() == (mitdb / f"208.{suffix}").read_bytes()


def test_the_marker_says_what_made_them(mitdb: Path, ptbxl: Path) -> None:
    for folder in (mitdb, ptbxl):
        text = (folder / SYNTHETIC_MARK).read_text()
        assert "seed 3" in text
        assert "no patient" in text


def test_real_recordings_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mitdb").mkdir()
    (tmp_path / "mitdb" / "100.dat").write_bytes(b"real")
    with pytest.raises(UserError, match="was not synthesised"):
        write_mitdb(tmp_path, records=["100"], n_minutes=0.5)
    assert (tmp_path / "mitdb" / "100.dat").read_bytes() == b"real"


def test_synthetic_recordings_are_replaced(tmp_path: Path) -> None:
    write_mitdb(tmp_path, records=["100", "101"], n_minutes=0.5)
    folder = write_mitdb(tmp_path, records=["100"], n_minutes=0.5)
    assert not (folder / "101.dat").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mitdb"]


@pytest.mark.parametrize(
    ("like", "options", "message"),
    [
        ("mitdb", {"records": ["110"]}, "unknown MIT-BIH record '110'"),
        ("mitdb", {"n_minutes": 0.1}, "too short"),
        ("ptbxl", {"n_records": 5}, "too few"),
        ("ptbxl", {"rates": (250,)}, "100 and 500 Hz"),
        ("ptbxl", {"rates": ()}, "100 and 500 Hz"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, like: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LIKE[like](tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_statements_agree_with_the_superclasses(tmp_path: Path) -> None:
    table = pd.read_csv(write_ptbxl(tmp_path, n_records=40, seed=0) / "scp_statements.csv", index_col=0)
    assert table["diagnostic_class"].dropna().to_dict() == STATEMENT_SCHEMES["superclass"]


def test_of_two_builds_at_once_one_writes_the_synthetic_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Thread(target=get_database("synthetic").make_raw, args=(tmp_path,))
    written: list[Path] = []

    def write(folder: Path, n_minutes: float) -> None:
        written.append(folder)
        if len(written) == 1:
            second.start()
            second.join(timeout=0.3)  # it waits for this one
        (folder / "mitdb").mkdir(exist_ok=True)

    monkeypatch.setattr("ecgprep.synth.write_mitdb", write)
    get_database("synthetic").make_raw(tmp_path)
    second.join()
    assert written == [tmp_path / "synthetic"]


def test_place_where_synthetic_recordings_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "synthetic").touch()
    with pytest.raises(UserError, match=r"synthetic: cannot be made .*name another --home"):
        get_database("synthetic").make_raw(tmp_path)
