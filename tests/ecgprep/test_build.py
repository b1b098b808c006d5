"""The main job: rows, columns, what is left out and why, and equal bytes however it is run."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

import store.schema
from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, RecordRef
from ecgprep.datasets.mitdb import DS1, DS1_VALIDATION, DS2
from ecgprep.execute import TaskRunner
from ecgprep.index import CleanRecord, read_clean
from ecgprep.inspect import print_result, print_store
from ecgprep.plan import make_plan
from pipelines.workspace import Workspace
from store.errors import DamagedStoreError, MissingDataError, NothingLeftError, UserError
from store.read import Store, open_store
from store.verify import find_damage
from store.vocabulary import AAMI_CLASSES, BEAT_SCHEMES, TEST, TRAIN, UNUSED, VALIDATION
from tests.recordings import (
    MITDB_NAMES,
    SCP_CODES,
    make_signal_mv,
    write_beats,
    write_mitdb,
    write_mitdb_record,
    write_ptbxl,
)

Build = Callable[..., BuildResult]
PICTURES = "gaf:size=16,cwt:size=16,spectrogram:size=16"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records of MIT-BIH."""
    folder = tmp_path_factory.mktemp("few")
    write_mitdb(folder, ("100", "102", "114"), seconds=20)
    return folder


def annotations(raw: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    annotation = wfdb.rdann(str(raw / "mitdb" / name), "atr")
    symbols = np.asarray(annotation.symbol)
    is_beat = np.isin(symbols, list(BEAT_SCHEMES["aami"]))
    return np.asarray(annotation.sample)[is_beat], symbols[is_beat]


def built(result: BuildResult) -> Store:
    return open_store(result.place)


@pytest.fixture(scope="module")
def mitdb(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The twelve records of MIT-BIH, built with every default."""
    home = Workspace(tmp_path_factory.mktemp("home"))
    return built(build(Prepare(dataset="mitdb", workers=0), home, raw))


class TestMitdb:
    def test_rows_go_by_record_and_time(self, mitdb: Store) -> None:
        record, sample = mitdb.column("record"), mitdb.column("sample")
        assert list(dict.fromkeys(record)) == [f"mitdb/{name}" for name in sorted(MITDB_NAMES)]
        for name in np.unique(record):
            assert (np.diff(sample[record == name]) > 0).all()

    def test_each_beat_with_a_whole_window_has_a_row(self, mitdb: Store, raw: Path) -> None:
        record = mitdb.column("record")
        for name in MITDB_NAMES:
            peaks, symbols = annotations(raw, name)
            inside = (peaks >= 93) & (peaks + 93 <= 10800)
            rows = record == f"mitdb/{name}"
            np.testing.assert_array_equal(mitdb.column("sample")[rows], peaks[inside])
            assert mitdb.column("symbol")[rows].tolist() == symbols[inside].tolist()

    def test_signals_are_the_raw_ones_around_the_r_peak(self, mitdb: Store, raw: Path) -> None:
        leads = {"100": 0, "102": 0, "114": 1}  # MLII first, V5 in its place, MLII second
        for name, lead in leads.items():
            physical = wfdb.rdrecord(str(raw / "mitdb" / name)).p_signal[:, lead]
            for row in np.flatnonzero(mitdb.column("record") == f"mitdb/{name}")[[0, 5, -1]]:
                peak = int(mitdb.column("sample")[row])
                stored = mitdb.signal[int(row)][0] * mitdb.scale_mv
                assert np.abs(stored - physical[peak - 93 : peak + 93]).max() <= 0.5e-3 + 1e-9

    def test_records_without_mlii_are_flagged_and_left_out(self, mitdb: Store) -> None:
        in_102 = mitdb.column("record") == "mitdb/102"
        np.testing.assert_array_equal(mitdb.column("lead_substituted"), in_102)
        assert mitdb.signal.attrs["lead_sources"] == {"MLII": ["MLII", "V5"]}
        for protocol in ("interpatient", "interpatient-strict"):
            assert (mitdb.split(protocol).values[in_102] == UNUSED).all()

    def test_labels_follow_the_symbols(self, mitdb: Store) -> None:
        symbols = mitdb.column("symbol")
        for scheme in ("aami", "aami_bxb"):
            label = mitdb.label(scheme)
            assert label.classes == AAMI_CLASSES
            assert [label.classes[v] for v in label.values] == [BEAT_SCHEMES[scheme][symbol] for symbol in symbols]

    def test_rr_intervals_count_every_beat_of_the_record(self, mitdb: Store, raw: Path) -> None:
        edge_beats = 0
        for name in MITDB_NAMES:
            peaks, _ = annotations(raw, name)
            rows = mitdb.column("record") == f"mitdb/{name}"
            inside = (peaks >= 93) & (peaks + 93 <= 10800)
            before = np.concatenate([[np.nan], np.diff(peaks) / 360])[inside]
            after = np.concatenate([np.diff(peaks) / 360, [np.nan]])[inside]
            np.testing.assert_allclose(mitdb.column("rr_prev_s")[rows], before, rtol=1e-6)
            np.testing.assert_allclose(mitdb.column("rr_next_s")[rows], after, rtol=1e-6)
            edge_beats += int((~inside).sum())
        assert edge_beats, "beats without a row must count too"

    def test_neighbours_are_neighbours(self, mitdb: Store) -> None:
        prev_row, next_row = mitdb.column("prev_row"), mitdb.column("next_row")
        record = mitdb.column("record")
        rows = np.arange(mitdb.n_rows)
        has = prev_row >= 0
        assert (prev_row[has] == rows[has] - 1).all()
        assert (record[prev_row[has]] == record[has]).all()
        np.testing.assert_array_equal(next_row[prev_row[has]], rows[has])
        assert (~has).sum() == len(MITDB_NAMES)

    def test_person_and_amplitude(self, mitdb: Store, raw: Path) -> None:
        assert set(mitdb.column("age")) == {69.0}
        assert set(mitdb.column("sex")) == {"male"}
        physical = wfdb.rdrecord(str(raw / "mitdb/100")).p_signal[:, 0]
        rows = mitdb.column("record") == "mitdb/100"
        assert mitdb.column("record_mean_mv")[rows] == pytest.approx(physical.mean(), abs=1e-5)
        assert mitdb.column("record_sd_mv")[rows] == pytest.approx(physical.std(), abs=1e-5)

    def test_protocols_are_those_of_the_lists(self, mitdb: Store) -> None:
        name = np.array([record.removeprefix("mitdb/") for record in mitdb.column("record")])
        split = mitdb.split("interpatient")
        expected = {
            **dict.fromkeys(DS1.split(), TRAIN),
            **dict.fromkeys(DS1_VALIDATION.split(), VALIDATION),
            **dict.fromkeys(DS2.split(), TEST),
        }
        assert split.values.tolist() == [expected.get(each, UNUSED) for each in name]
        assert split.leaks == ("patient",), "201 trains and 202, the same subject, tests"
        strict = mitdb.split("interpatient-strict")
        assert strict.leaks == ()
        assert strict.values.tolist() == [UNUSED if e == "201" else expected.get(e, UNUSED) for e in name]
        assert mitdb.split("intrapatient").leaks == ("patient", "neighbour")

    def test_201_and_202_are_one_patient(self, mitdb: Store) -> None:
        record, patient = mitdb.column("record"), mitdb.column("patient")
        assert set(patient[np.isin(record, ["mitdb/201", "mitdb/202"])]) == {"mitdb/201"}

    def test_audit_counts_every_annotation(self, mitdb: Store, raw: Path) -> None:
        audit = {line["rule"]: (line["kept"], line["dropped"]) for line in mitdb.attributes["audit"]}
        n_beats = sum(len(annotations(raw, name)[0]) for name in MITDB_NAMES)
        assert audit["record can be used"] == (12, 0)
        assert audit["annotation marks a beat"] == (n_beats, 12)
        assert audit["window lies within the record"] == (mitdb.n_rows, n_beats - mitdb.n_rows)
        assert audit["interpatient"][0] + audit["interpatient"][1] == mitdb.n_rows

    def test_store_is_whole_and_can_be_shown(self, mitdb: Store, capsys: pytest.CaptureFixture[str]) -> None:
        assert not list(find_damage(Path(mitdb.location)))
        print_store(mitdb)
        shown = capsys.readouterr().out
        assert "12 of 48 records" in shown
        assert "interpatient" in shown

    def test_croissant_names_every_array(self, mitdb: Store) -> None:
        document = json.loads((Path(mitdb.location) / "croissant.json").read_text())
        names = {field["name"] for field in document["recordSet"][0]["field"]}
        arrays = {path.removesuffix("/zarr.json") for path in mitdb.manifest.digests if path.count("/") > 1}
        assert names == {path for path in arrays if "/c/" not in path} | {"signal"}
        assert document["@type"] == "sc:Dataset"


class TestPtbxl:
    def test_records_of_the_table_that_are_here(
        self, raw: Path, build_in: Build, capsys: pytest.CaptureFixture
    ) -> None:
        result = build_in(raw, dataset="ptbxl")
        store = built(result)
        assert store.leads == ("II", "V1", "V5")
        assert store.column("record").tolist() == [f"ptbxl/records100/00000/{i:05d}_lr" for i in range(1, 25)]
        print_result(result)
        assert "24 of 30 records are here" in capsys.readouterr().err
        expected = wfdb.rdrecord(str(raw / "ptb-xl/records100/00000/00003_lr")).p_signal[:, [1, 6, 10]].T
        assert np.abs(store.signal[2] * store.scale_mv - expected).max() <= 0.5e-3 + 1e-9
        fold = (np.arange(24) // 2) % 10 + 1
        label = store.label("superclass")
        has = label.values.any(axis=1)
        part = np.where(fold <= 8, TRAIN, np.where(fold == 9, VALIDATION, TEST))
        np.testing.assert_array_equal(store.split("ptbxl-folds").values, np.where(has, part, UNUSED))
        assert (~has).sum() == sum(i % len(SCP_CODES) == 5 for i in range(1, 25))
        assert store.column("sex")[:4].tolist() == ["male", "male", "female", "female"]

    def test_records_of_one_patient_stay_together(self, raw: Path, build_in: Build) -> None:
        store = built(build_in(raw, dataset="ptbxl"))
        patients = [f"ptbxl/{1000 + (number - 1) // 2}" for number in range(1, 25)]
        assert store.column("patient").tolist() == patients
        split = store.split("patient-70-15-15").values
        assert all(len({int(part) for part in split[here : here + 2] if part >= 0}) <= 1 for here in range(0, 24, 2))

    def test_leads_by_any_spelling_and_order(self, raw: Path, build_in: Build) -> None:
        store = built(build_in(raw, dataset="ptbxl", leads="avr,V6,i"))
        assert store.leads == ("aVR", "V6", "I")
        physical = wfdb.rdrecord(str(raw / "ptb-xl/records100/00000/00001_lr")).p_signal[:, [3, 11, 0]].T
        assert np.abs(store.signal[0] * store.scale_mv - physical).max() <= 0.5e-3 + 1e-9
        assert built(build_in(raw, dataset="ptbxl", leads="all")).leads[3:6] == ("aVR", "aVL", "aVF")


# What is left out


def truncate(place: Path, name: str) -> None:
    data = (place / f"{name}.dat").read_bytes()
    (place / f"{name}.dat").write_bytes(data[: len(data) // 2])


def flat(place: Path, name: str) -> None:
    write_mitdb_record(place, name, np.full((2, 7200), 0.1), ("MLII", "V1"))


def nan_samples(place: Path, name: str) -> None:
    signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 7000, 300), 360.0, (2, 7200))
    counts = np.rint(signal_mv.T * 200).astype(np.int64) + 1024
    counts[720:820, 0] = -2048  # format 212's mark of no value
    write_mitdb_record(place, name, signal_mv, ("MLII", "V1"), d_signal=counts)


def other_leads(place: Path, name: str) -> None:
    header = place / f"{name}.hea"
    header.write_text(header.read_text().replace("MLII", "V2"))


def wrong_checksum(place: Path, name: str) -> None:
    data = bytearray((place / f"{name}.dat").read_bytes())
    data[3000] ^= 1
    (place / f"{name}.dat").write_bytes(data)


def clipped(place: Path, name: str) -> None:
    header = place / f"{name}.hea"
    header.write_text(header.read_text().replace("200.0(1024)", "2.0(1024)"))


def rewrite_header(old: str, new: str) -> Callable[[Path, str], None]:
    def damage(place: Path, name: str) -> None:
        header = place / f"{name}.hea"
        assert old in header.read_text()
        header.write_text(header.read_text().replace(old, new))

    return damage


def take_header_of(other: str) -> Callable[[Path, str], None]:
    return lambda place, name: shutil.copyfile(place / f"{other}.hea", place / f"{name}.hea") and None


def cut_annotations(place: Path, name: str) -> None:
    marks = place / f"{name}.atr"
    marks.write_bytes(marks.read_bytes()[:20])


def write(suffix: str, content: bytes) -> Callable[[Path, str], None]:
    return lambda place, name: (place / f"{name}{suffix}").write_bytes(content) and None


def remove(suffix: str) -> Callable[[Path, str], None]:
    return lambda place, name: (place / f"{name}{suffix}").unlink()


DAMAGES = {
    "damaged header": (write(".hea", b"\x00\x01 nonsense\n\n"), "read", "cannot be read"),
    "header without a signal": (write(".hea", b"100 0 360 7200\n"), "read", ""),
    "header without a rate": (rewrite_header(" 360 ", " 0 "), "read", "sampling rate"),
    "header of text": (rewrite_header("MLII", "\xe9" * 3), "", ""),
    "longer header": (rewrite_header(" 7200", " 9999"), "read", ""),
    "truncated signal": (truncate, "read", ""),
    "empty signal": (write(".dat", b""), "read", "100.dat is empty"),
    "empty header": (write(".hea", b""), "read", "100.hea is empty"),
    "no signal file": (remove(".dat"), "read", "100.dat is missing"),
    "no header": (remove(".hea"), "read", "100.hea is missing"),
    "no annotation": (remove(".atr"), "read", "100.atr is missing"),
    "garbled annotation": (write(".atr", b"\x07\xff" * 33), "label", ""),
    "annotations cut short": (cut_annotations, "label", "100.atr has no end mark"),
    "web page for annotations": (write(".atr", b"<!DOCTYPE html><html>"[:20]), "label", "100.atr has no end mark"),
    "header of another record": (take_header_of("102"), "read", "100.hea names 102.dat"),
    "flat": (flat, "quality", "lead MLII is flat"),
    "samples without a value": (
        nan_samples,
        "quality",
        "a gap of 0.28 s from 2.00 s",
    ),
    "missing lead": (other_leads, "leads", "lead MLII is missing; the record has V2, V1"),
    "wrong checksum": (wrong_checksum, "read", "checksum of"),
    "no beats": (lambda place, name: write_beats(place, name, [18], ["+"]), "label", "100.atr marks no beat"),
    "gain of another unit": (clipped, "quality", "mV in a typical second, which no ECG does"),
    "unit that is no voltage": (rewrite_header("/mV", "/mmHg"), "leads", "is in 'mmHg', which is not a voltage"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_is_left_out_with_its_reason(
    few: Path, tmp_path: Path, build_in: Build, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, stage, reason = DAMAGES[damage]
    shutil.copytree(few, tmp_path / "raw")
    harm(tmp_path / "raw/mitdb", "100")
    result = build_in(tmp_path / "raw", dataset="mitdb")
    (item,) = result.quarantined
    assert item.record == "mitdb/100"
    assert stage in item.stage
    assert reason in item.reason
    assert item.reason
    assert str(tmp_path) not in item.reason
    store = built(result)
    assert set(store.column("record")) == {"mitdb/102", "mitdb/114"}
    (line,) = (result.place / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line) == {"record": "mitdb/100", "stage": item.stage, "reason": item.reason}
    assert store.attributes["card"]["databases"][0]["records_quarantined"] == 1
    print_result(result)
    shown = capsys.readouterr().err
    assert "3 of 48 records are here, 2 used" in " ".join(shown.split())
    assert "1 records left out" in shown
    assert "mitdb/100: " in shown


def take_signals_of_102(place: Path, name: str) -> None:
    (place / f"{name}.hea").write_text((place / "102.hea").read_text().replace("102", name))
    shutil.copyfile(place / "102.dat", place / f"{name}.dat")


@pytest.mark.parametrize("change", [truncate, take_signals_of_102, remove(".dat")], ids=["cut", "replaced", "removed"])
def test_record_that_changes_during_the_build_stops_it(
    few: Path, tmp_path: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, str], None]
) -> None:
    """Its rows and labels were made of other signals."""
    shutil.copytree(few, tmp_path / "raw")

    def planned(*arguments: object) -> object:
        change(tmp_path / "raw/mitdb", "114")
        return make_plan(*arguments)

    monkeypatch.setattr("ecgprep.build.make_plan", planned)
    with pytest.raises(DamagedStoreError, match="record mitdb/114 changed during the build"):
        build_in(tmp_path / "raw", dataset="mitdb")


def test_strict_stops_at_a_damaged_record(few: Path, tmp_path: Path, build_in: Build) -> None:
    shutil.copytree(few, tmp_path / "raw")
    truncate(tmp_path / "raw/mitdb", "102")
    with pytest.raises(NothingLeftError, match=r"mitdb/102: .*--strict"):
        build_in(tmp_path / "raw", dataset="mitdb", strict=True)
    assert not (tmp_path / "home").exists()


def test_no_usable_record_says_why(few: Path, tmp_path: Path, build_in: Build) -> None:
    shutil.copytree(few, tmp_path / "raw")
    for name in ("100", "102", "114"):
        (tmp_path / "raw/mitdb" / f"{name}.dat").write_bytes(b"")
    with pytest.raises(NothingLeftError, match=r"none of 3 records can be used; mitdb/100: 100\.dat is empty"):
        build_in(tmp_path / "raw", dataset="mitdb")


def test_folder_that_is_named_itself_will_do(few: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(few / "mitdb")
    assert build_in(Path(), dataset="mitdb").plan.n_rows > 0


def test_empty_folder_is_no_raw_data(tmp_path: Path, build_in: Build) -> None:
    (tmp_path / "raw/mitdb").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="no record of mitdb is here"):
        build_in(tmp_path / "raw", dataset="mitdb")


# The same bytes, however it is run


def test_building_what_is_there_does_nothing(few: Path, build_in: Build) -> None:
    first = build_in(few, dataset="mitdb", reps="gaf:size=16")
    files = [path for path in first.place.rglob("*") if path.name != "MANIFEST.sha256"]
    stamps = {path: path.stat().st_mtime_ns for path in files}
    again = build_in(few, dataset="mitdb", reps="gaf:size=16")
    without = build_in(few, dataset="mitdb")
    assert (again.state, without.state) == ("complete", "complete")
    assert again.digest == without.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in files} == stamps


@pytest.mark.parametrize("first", ["", "gaf:size=16", "spectrogram:size=16"])
def test_adding_pictures_gives_the_digest_of_building_them_at_once(few: Path, build_in: Build, first: str) -> None:
    at_once = build_in(few, "at-once", dataset="mitdb", reps=PICTURES)
    before = build_in(few, "later", dataset="mitdb", reps=first)
    after = build_in(few, "later", dataset="mitdb", reps=PICTURES)
    assert (before.state, after.state) == ("built", "added")
    assert before.place == after.place
    assert after.digest == at_once.digest
    assert open_store(after.place).digest == at_once.digest
    assert not list(find_damage(after.place))
    assert sorted(p.name for p in after.place.parent.iterdir() if not p.name.endswith(".lock")) == [after.place.name]


def test_picture_of_other_parameters_is_refused_with_the_way_out(few: Path, build_in: Build) -> None:
    place = build_in(few, dataset="mitdb", reps="gaf:size=16").place
    with pytest.raises(UserError, match=r"holds 'gaf' with .*gaf:size=24:as=gaf2") as caught:
        build_in(few, dataset="mitdb", reps="gaf:size=24")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"method=summation, .*such as gaf:method=difference:size=16:as=gaf2$"):
        build_in(few, dataset="mitdb", reps="rp:size=16, gaf:method=difference:size=16")
    build_in(few, dataset="mitdb", reps="gaf:size=24:as=gaf2")
    with pytest.raises(UserError, match=r"holds 'gaf2' with .*such as mtf:as=gaf22"):
        build_in(few, dataset="mitdb", reps="mtf:as=gaf2")
    assert open_store(place).representations == ["gaf", "gaf2"]


def test_other_software_needs_replace_and_is_named(few: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    build_in(few, dataset="mitdb")
    own = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "scipy" else own(name))
    with pytest.raises(UserError, match=rf"with other software \(scipy {own('scipy')} then, 9.9 now\).*--replace"):
        build_in(few, dataset="mitdb", reps="gaf:size=16")


def test_other_raw_data_needs_replace(few: Path, tmp_path: Path, build_in: Build) -> None:
    place = build_in(few, dataset="mitdb", reps="gaf:size=8,mtf:size=8").place
    write_mitdb(tmp_path / "other", ("100", "102"), seconds=20, seed=5)
    with pytest.raises(UserError, match=r"other version \(3 records then, 2 now.*--replace.* anew, or"):
        build_in(tmp_path / "other", dataset="mitdb", reps="gaf:size=8,mtf:size=8")
    with pytest.raises(UserError, match=r"--replace to build it anew without its mtf, unless --reps asks for"):
        build_in(tmp_path / "other", dataset="mitdb", reps="gaf:size=8")
    replaced = build_in(tmp_path / "other", dataset="mitdb", replace=True)
    assert (replaced.place, replaced.state) == (place, "built")
    assert set(open_store(place).column("record")) == {"mitdb/100", "mitdb/102"}
    assert not list(place.parent.glob(".replaced*"))


def test_damaged_store_is_built_anew_by_replace_alone(few: Path, build_in: Build) -> None:
    whole = build_in(few, dataset="mitdb")
    shard = whole.place / "signal/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-3])
    assert build_in(few, dataset="mitdb").state == "complete"
    anew = build_in(few, dataset="mitdb", replace=True)
    assert (anew.state, anew.digest) == ("built", whole.digest)
    assert not list(find_damage(whole.place))
    assert build_in(few, dataset="mitdb", replace=True).state == "complete"


def test_store_with_a_missing_file_is_not_called_complete(few: Path, build_in: Build) -> None:
    first = build_in(few, dataset="mitdb")
    (first.place / "signal/c/0/0/0").unlink()
    with pytest.raises(DamagedStoreError, match=r"signal/c/0/0/0 is missing \(1 files\); add --replace"):
        build_in(few, dataset="mitdb")
    assert build_in(few, dataset="mitdb", replace=True).digest == first.digest


@pytest.mark.parametrize(
    ("n_records", "section", "said"),
    [
        (1, {"dataset": "mitdb"}, "Next: ecgtrain run --protocol intrapatient, which leaks; interpatient has no train"),
        (12, {"dataset": "wfdb", "labels": "none", "leads": "MLII"}, "one class alone, unlabelled: build with other"),
        (3, {"dataset": "wfdb", "unit": "beat:c360", "leads": "MLII"}, "No split could be drawn: too few patients"),
    ],
    ids=["another protocol", "no labels", "no split"],
)
def test_what_a_store_lacks_to_be_trained_on_is_said(
    tmp_path: Path, build_in: Build, capsys: pytest.CaptureFixture[str], n_records: int, section: Any, said: str
) -> None:
    names = [str(100 + number) for number in range(n_records)]
    raw = write_mitdb(tmp_path / "raw", names, seconds=20, leads=dict.fromkeys(names, ("MLII", "V1")))
    print_result(build_in(raw, **section))
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_reference_engine_draws_the_same_pictures(tmp_path: Path, build_in: Build) -> None:
    few = tmp_path / "raw"
    write_mitdb(few, ("100",), seconds=8)
    reps = "gaf:size=24,mtf:size=24,cwt:size=24,spectrogram:size=24,phasogram:size=24"
    fast = built(build_in(few, dataset="mitdb", reps=reps))
    slow = built(build_in(few, dataset="mitdb", reps=reps, engine="reference"))
    assert Path(fast.location).name != Path(slow.location).name
    assert fast.rows_digest == slow.rows_digest
    for name in fast.representations:
        a, b = (np.asarray(s.representation(name)[:]).astype(int) for s in (fast, slow))
        apart = np.abs(a - b)
        if name != "phasogram":
            assert apart.max() <= 1, name
            continue
        apart = np.minimum(apart, 255 - apart)[(a != 128) & (b != 128)]  # on the circle, and outside the floor
        # just above the floor the angle is that of two small numbers, and their rounding shows
        assert (apart <= 1).mean() > 0.999
        assert apart.max() <= 3


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of 64 rows, so that tiny databases have several."""
    monkeypatch.setattr(store.schema, "MAX_TASK_ROWS", 64)


def test_workers_may_run_in_another_folder(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_elsewhere(runner: TaskRunner, function: Callable[..., Any], arguments: Iterable[Any], n: int) -> Any:
        for argument in arguments:
            with contextlib.chdir(tmp_path):
                result = function(argument)
            yield result

    monkeypatch.chdir(few)
    monkeypatch.setattr(TaskRunner, "run", run_elsewhere)
    home = Path(os.path.relpath(tmp_path / "home"))
    result = build(Prepare(dataset="mitdb", reps="gaf:size=16"), Workspace(home), Path())
    assert built(result).representations == ["gaf"]
    more = build(Prepare(dataset="mitdb", reps="mtf:size=16"), Workspace(home), Path())
    assert (more.state, built(more).representations) == ("added", ["gaf", "mtf"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("small_tasks")
def test_equal_digests_for_any_number_of_workers(raw: Path, build_in: Build) -> None:
    from distributed import LocalCluster

    section = {"dataset": "mitdb", "reps": PICTURES}
    alone = build_in(raw, "alone", **section)
    assert len(alone.plan.tasks()) > 4
    digests = {"0": alone.digest}
    for workers in (1, 2):
        digests[str(workers)] = build_in(raw, f"w{workers}", **section, workers=workers).digest
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster:
        digests["tcp"] = build_in(raw, "tcp", **section, scheduler=cluster.scheduler_address).digest
    assert len(set(digests.values())) == 1, digests


def test_a_recording_that_many_tasks_share_is_cleaned_once_for_all(
    tmp_path: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mitdb(tmp_path, ("100", "101"), seconds=20)
    cleaned: list[str] = []

    def counted(database: Database, ref: RecordRef, prepare: Prepare) -> CleanRecord:
        cleaned.append(ref.record)
        return read_clean(database, ref, prepare)

    monkeypatch.setattr("ecgprep.build.read_clean", counted)
    monkeypatch.setattr(store.schema, "MIN_TASK_ROWS", 4)
    monkeypatch.setattr(store.schema, "MAX_TASK_ROWS", 4)
    result = build_in(tmp_path, dataset="mitdb", unit="window:1", workers=0)
    assert len(result.plan.tasks()) == 10
    assert cleaned == ["mitdb/100", "mitdb/101"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "records100/00000/00003_lr",
            "records100/00000/00004_lr",
            "filename_lr records100/00000/00004_lr is there twice",
        ),
        (
            ",2,records100/00000/00003_lr",
            ",11,records100/00000/00003_lr",
            "line 4: strat_fold is 11, which is no whole",
        ),
        (
            ",2,records100/00000/00003_lr",
            ",1.5,records100/00000/00003_lr",
            "line 4: strat_fold is 1.5, which is no whole",
        ),
        ("\n3,1001.0", "\n3,inf", "line 4: patient_id is inf, which is no whole"),
        (",31.0,", ",-31,", "line 4: age is -31.0, which is no number from 0 to 300"),
    ],
    ids=["a record twice", "fold 11", "fold 1.5", "patient without end", "age below 0"],
)
def test_ptbxl_table_that_cannot_be_right_is_refused(
    tmp_path: Path, build_in: Build, old: str, new: str, message: str
) -> None:
    table = write_ptbxl(tmp_path / "raw", 4) / "ptbxl_database.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        build_in(tmp_path / "raw", dataset="ptbxl")


def test_ptbxl_table_may_have_words_for_sex(tmp_path: Path, build_in: Build) -> None:
    """One word makes text of all numbers of its column."""
    table = write_ptbxl(tmp_path / "raw", 8) / "ptbxl_database.csv"
    text = table.read_text()
    for old, new in ((",30.0,0,", ",30.0,M,"), (",31.0,1,", ",31.0,Female,"), (",33.0,1,", ",33.0,,")):
        assert old in text
        text = text.replace(old, new)
    table.write_text(text)
    store = built(build_in(tmp_path / "raw", dataset="ptbxl"))
    assert store.column("sex").tolist() == ["male", "male", "female", "female", "male", "male", "", ""]


def test_ptbxl_records_that_the_table_does_not_name_are_said(tmp_path: Path, build_in: Build) -> None:
    table = write_ptbxl(tmp_path / "raw", 4) / "ptbxl_database.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-2]))
    (about,) = built(build_in(tmp_path / "raw", dataset="ptbxl")).attributes["card"]["databases"]
    expected = "ptbxl_database.csv does not name 2 of the records here, such as 'records100/00000/00003_lr'"
    assert about["note"] == expected


def test_files_of_the_other_rate_are_named_with_the_option_that_brings_them(raw: Path, build_in: Build) -> None:
    with pytest.raises(MissingDataError, match=r"at 500 Hz is here.*download ptbxl --fs 500.*--like ptbxl --fs 500"):
        build_in(raw, dataset="ptbxl", fs=500)


def test_ptbxl_of_records_built_at_500_hz(tmp_path: Path, build_in: Build) -> None:
    write_ptbxl(tmp_path / "raw", 2, rates_hz=(500,), n_rows=3)
    store = built(build_in(tmp_path / "raw", dataset="ptbxl", fs=500))
    assert (store.fs_hz, store.signal.shape) == (500.0, (2, 3, 5000))
    assert store.column("record")[0] == "ptbxl/records500/00000/00001_hr"
    with pytest.raises(MissingDataError, match="no record of ptbxl at 100 Hz is here"):
        build_in(tmp_path / "raw", dataset="ptbxl")
