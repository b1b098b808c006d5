"""ptbdb, challenge-2017, ludb and nstdb, from synthetic recordings in their own layouts to a store."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.ludb import read_waves
from ecgprep.synth import write_cinc2017, write_ludb, write_mitdb, write_nstdb, write_ptbdb
from store.errors import MissingDataError, RecordError, UnknownNameError, UserError
from store.read import Store, open_store
from store.vocabulary import TEST, TRAIN, UNUSED
from tests.ecgprep.conftest import Build


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four databases, small; read only."""
    folder = tmp_path_factory.mktemp("layouts")
    write_ptbdb(folder, n_records=12, n_minutes=0.2, seed=2)
    write_cinc2017(folder, n_records=60, seed=2)
    write_ludb(folder, n_records=12, seed=2)
    write_nstdb(folder, n_minutes=0.6, seed=2)
    return folder


@pytest.fixture
def copied(layouts: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(layouts, tmp_path / "raw")


def class_names(store: Store, scheme: str) -> list[str]:
    label = store.label(scheme)
    return ["" if value < 0 else label.classes[value] for value in label.values.tolist()]


class TestPtbdb:
    def test_copy_of_a_folder_is_no_other_patient(self, copied: Path, build_in: Build) -> None:
        shutil.copytree(copied / "ptbdb/patient001", copied / "ptbdb/patient001_backup")
        store = open_store(build_in(copied, dataset="ptbdb").place)
        assert "ptbdb/patient001" in store.column("patient")
        assert "ptbdb/patient001_backup" not in store.column("patient")

    def test_records_of_15_leads(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ptbdb", leads="all").place)
        assert store.signal.shape == (12, 15, 12_000)
        assert store.leads[-3:] == ("Vx", "Vy", "Vz")
        assert store.fs_hz == 1000
        assert store.synthetic

    def test_other_diagnoses_are_unknown_and_take_no_part(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ptbdb", fs=250).place)
        names = np.array(class_names(store, "mi"))
        assert set(names) == {"normal", "infarction", ""}
        for protocol in store.protocols:
            assert (store.split(protocol).values[names == ""] == UNUSED).all()

    def test_patients_with_two_recordings_stay_together(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ptbdb", fs=250).place)
        patients, record = store.column("patient"), store.column("record")
        assert len(set(patients)) == 9
        assert all(name.startswith(patient + "/") for name, patient in zip(record, patients, strict=True))
        folds = store.split("kfold-5").values
        for patient in set(patients):
            assert len(set(folds[patients == patient])) == 1

    def test_beats_of_lead_ii_by_a_detector(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ptbdb", unit="beat:kachuee186").place)
        assert store.signal.shape[1:] == (1, 186)
        assert store.leads == ("II",)
        rr_s = store.column("rr_prev_s")
        assert 0.6 < np.nanmedian(rr_s) < 1.1
        assert store.split("intrapatient").leaks == ("patient", "neighbour")

    def test_person_is_read_from_the_header(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ptbdb", fs=250).place)
        assert set(store.column("sex")) <= {"male", "female"}
        assert ((store.column("age") > 20) & (store.column("age") < 90)).all()

    @pytest.mark.parametrize("suffix", [".hea", ".xyz"])
    def test_record_without_a_file_is_left_out(self, copied: Path, build_in: Build, suffix: str) -> None:
        victim = next((copied / "ptbdb/patient001").glob(f"*{suffix}"))
        victim.unlink()
        result = build_in(copied, dataset="ptbdb", fs=250)
        assert [(item.record, item.reason) for item in result.quarantined] == [
            (f"ptbdb/patient001/{victim.stem}", f"{victim.name} is missing")
        ]


class TestCinc2017:
    def test_records_of_all_lengths_with_their_classes(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="cinc2017").place)
        with (layouts / "challenge-2017/REFERENCE-v3.csv").open(newline="") as file:
            expected = dict(csv.reader(file))
        found = dict(zip(store.column("record").tolist(), class_names(store, "rhythm4"), strict=True))
        assert found == {f"cinc2017/training/A00/{name}": label for name, label in expected.items()}
        valid_n = store.column("valid_n")
        assert store.signal.shape == (60, 1, valid_n.max())
        short = int(valid_n.argmin())
        assert not store.signal[short, 0, int(valid_n[short]) :].any()

    def test_default_protocol_holds_each_record_once(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="cinc2017").place)
        split = store.split()
        assert split.protocol == "record-75-5-20"
        shares = [float((split.values == part).mean()) for part in range(3)]
        assert shares == pytest.approx([0.75, 0.05, 0.20], abs=0.02)
        assert split.leaks == ()
        classes = store.label("rhythm4").values
        for part, share in enumerate((0.75, 0.05, 0.20)):
            for number in range(4):
                here = int(((classes == number) & (split.values == part)).sum())
                assert here == pytest.approx(share * (classes == number).sum(), abs=1)

    def test_layout_of_the_archive_gives_the_same_rows(self, layouts: Path, tmp_path: Path, build_in: Build) -> None:
        place = tmp_path / "raw/challenge-2017/training2017"
        shutil.copytree(layouts / "challenge-2017/training/A00", place)
        shutil.copy(layouts / "challenge-2017/REFERENCE-v3.csv", place)
        archive = open_store(build_in(tmp_path / "raw", "a", dataset="cinc2017").place)
        published = open_store(build_in(layouts, "b", dataset="cinc2017").place)
        assert archive.column("record")[0] == "cinc2017/training2017/A00001"
        assert archive.column("patient").tolist() == published.column("patient").tolist()
        np.testing.assert_array_equal(archive.signal[:], published.signal[:])

    def test_record_in_both_layouts_is_one_row(self, copied: Path, build_in: Build) -> None:
        shutil.copytree(copied / "challenge-2017/training/A00", copied / "challenge-2017/training2017")
        store = open_store(build_in(copied, dataset="cinc2017").place)
        assert store.n_rows == 60
        assert all(name.startswith("cinc2017/training/") for name in store.column("record"))

    def test_record_in_two_folders_is_read_from_the_first_however_the_disk_lists_them(
        self, copied: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(copied / "challenge-2017/training/A00", copied / "challenge-2017/training/A00-copy")
        glob = Path.glob
        monkeypatch.setattr(Path, "glob", lambda place, pattern: sorted(glob(place, pattern), reverse=True))
        store = open_store(build_in(copied, dataset="cinc2017").place)
        assert store.n_rows == 60
        assert all(name.startswith("cinc2017/training/A00/") for name in store.column("record"))

    def test_other_versions_of_the_labels(self, copied: Path, build_in: Build) -> None:
        folder = copied / "challenge-2017"
        (folder / "REFERENCE-v0.csv").write_text("A00001,~\nA00002,O\n")
        store = open_store(build_in(copied, dataset="cinc2017", label_rule="v0").place)
        names = class_names(store, "rhythm4")
        assert names[:2] == ["~", "O"]
        assert set(names[2:]) == {""}
        assert store.group["label/rhythm4"].attrs["rule"] == "v0: REFERENCE-v0.csv"

    def test_missing_version_names_those_that_are_here(self, layouts: Path, build_in: Build) -> None:
        with pytest.raises(MissingDataError, match=r"REFERENCE-v2\.csv is missing.*--label-rule v3"):
            build_in(layouts, dataset="cinc2017", label_rule="v2")

    def test_line_without_a_class_is_named(self, copied: Path, build_in: Build) -> None:
        (copied / "challenge-2017/REFERENCE-v3.csv").write_text("A00001,N\nA00002,X\n")
        with pytest.raises(UserError, match="line 2: 'A00002,X' is not RECORD,CLASS"):
            build_in(copied, dataset="cinc2017")

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (b"A00001,N\nA00001,A\n", "line 2: A00001 is 'A', and 'N' further up"),
            (b"A00001,N\n\xff\xfe\n", "not a table of text"),
            (b"", "names none of the 60 records here"),
        ],
        ids=["two classes", "no text", "empty"],
    )
    def test_label_file_that_cannot_be_right_is_refused(
        self, copied: Path, build_in: Build, table: bytes, message: str
    ) -> None:
        (copied / "challenge-2017/REFERENCE-v3.csv").write_bytes(table)
        with pytest.raises(UserError, match=message):
            build_in(copied, dataset="cinc2017")

    def test_label_file_of_a_spreadsheet_names_its_first_record_and_what_it_leaves_out_is_said(
        self, copied: Path, build_in: Build
    ) -> None:
        (copied / "challenge-2017/REFERENCE-v3.csv").write_bytes("\ufeffA00001,A\r\nA00002,O\r\n".encode())
        store = open_store(build_in(copied, dataset="cinc2017").place)
        assert class_names(store, "rhythm4")[:3] == ["A", "O", ""]
        (about,) = store.attributes["card"]["databases"]
        assert about["note"].startswith("REFERENCE-v3.csv does not name 58 of the records here, such as 'A00003'")

    def test_file_of_another_record_is_left_out(self, copied: Path, build_in: Build) -> None:
        path = copied / "challenge-2017/training/A00/A00003.mat"
        path.write_bytes(path.read_bytes() + b"\0\0")
        (left_out,) = build_in(copied, dataset="cinc2017").quarantined
        assert left_out.record == "cinc2017/training/A00/A00003"
        assert "the header says" in left_out.reason

    def test_short_file_is_left_out(self, copied: Path, build_in: Build) -> None:
        path = copied / "challenge-2017/training/A00/A00003.mat"
        path.write_bytes(path.read_bytes()[:-1000])
        (left_out,) = build_in(copied, dataset="cinc2017").quarantined
        assert left_out.record == "cinc2017/training/A00/A00003"
        assert "the header says" in left_out.reason


class TestLudb:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("\n2,", "\n1,", "ID 1 is there twice"),
            ("\n2,", "\n2,,,,,,,,,,,,", "the line of ID 2 has more cells than there are columns"),
            ("\n2,", "\n\xe9,", "not a table of text"),
        ],
        ids=["a record twice", "cells too many", "no UTF-8"],
    )
    def test_table_that_cannot_be_right_is_refused(
        self, copied: Path, build_in: Build, old: str, new: str, message: str
    ) -> None:
        table = copied / "ludb/ludb.csv"
        table.write_bytes(table.read_bytes().replace(old.encode(), new.encode("latin-1"), 1))
        with pytest.raises(UserError, match=message):
            build_in(copied, dataset="ludb")

    def test_table_of_a_spreadsheet_is_read_and_records_without_a_line_are_said(
        self, copied: Path, build_in: Build
    ) -> None:
        table = copied / "ludb/ludb.csv"
        text = table.read_text(encoding="utf-8")
        table.write_text("\ufeff" + text[: text.index("\n12,") + 1], encoding="utf-8")
        store = open_store(build_in(copied, dataset="ludb").place)
        assert class_names(store, "ludb_rhythm")[0]
        (about,) = store.attributes["card"]["databases"]
        assert about["note"].startswith("ludb.csv does not name 1 of the records here")

    def test_labels_are_those_of_the_table(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ludb", leads="all").place)
        with (layouts / "ludb/ludb.csv").open(newline="") as file:
            table = {line["ID"]: line for line in csv.DictReader(file)}
        lines = [table[name.rpartition("/")[2]] for name in store.column("record")]
        assert class_names(store, "ludb_rhythm") == [line["Rhythms"] for line in lines]
        axes = [line["Electric axis of the heart"].removeprefix("Electric axis of the heart: ") for line in lines]
        assert class_names(store, "ludb_axis") == axes
        diagnosis = store.label("ludb_diagnosis")
        hypertrophy = diagnosis.values[:, diagnosis.classes.index("hypertrophy")].astype(bool)
        assert hypertrophy.tolist() == [bool(line["Hypertrophies"]) for line in lines]
        assert store.signal.shape == (12, 12, 5000)

    def test_first_of_several_rhythms_counts(self) -> None:
        fact = {"Rhythms": "Sinus rhythm\nWandering atrial pacemaker", "Ischemia": "Ischemia: septal\nIschemia: apical"}
        prepare = Prepare(dataset="ludb", label_rule="table")
        labels = get_database("ludb").labels([fact, {}], {}, prepare)
        assert labels["ludb_rhythm"].values.tolist() == [0, -1]
        assert labels["ludb_axis"].values.tolist() == [-1, -1]
        classes = labels["ludb_diagnosis"].attributes["classes"]
        assert labels["ludb_diagnosis"].values[0].tolist() == [int(name == "ischemia") for name in classes]
        assert (labels["ludb_diagnosis"].values[1] == 255).all()

    def test_beats_are_the_qrs_complexes_of_lead_ii(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="ludb", unit="beat:centred186").place)
        record = store.column("record")
        for name in set(record):
            path = layouts / "ludb/data" / name.rpartition("/")[2]
            marked = [wave.peak for wave in read_waves(path, "II") if wave.kind == "QRS"]
            assert set(store.column("sample")[record == name]) <= set(marked)
        assert "symbol" not in store.columns

    def test_waves_have_their_boundaries(self, layouts: Path) -> None:
        waves = read_waves(layouts / "ludb/data/1", "V1")
        assert {wave.kind for wave in waves} == {"P", "QRS", "T"}
        assert all(wave.onset < wave.peak < wave.offset for wave in waves)

    def test_record_without_an_annotation_file_is_left_out(self, copied: Path, build_in: Build) -> None:
        (copied / "ludb/data/7.v3").unlink()
        (left_out,) = build_in(copied, dataset="ludb").quarantined
        assert (left_out.record, left_out.reason) == ("ludb/data/7", "7.v3 is missing")

    def test_damaged_annotations_name_their_file(self, copied: Path) -> None:
        (copied / "ludb/data/7.ii").write_bytes(b"\x01")
        with pytest.raises(RecordError, match=r"7\.ii cannot be read"):
            read_waves(copied / "ludb/data/7", "II")

    def test_annotations_that_are_cut_short_are_refused(self, copied: Path) -> None:
        marks = copied / "ludb/data/7.ii"
        marks.write_bytes(marks.read_bytes()[:20])
        with pytest.raises(RecordError, match=r"7\.ii has no end mark"):
            read_waves(copied / "ludb/data/7", "II")

    def test_table_is_needed(self, copied: Path, build_in: Build) -> None:
        table = copied / "ludb/ludb.csv"
        table.write_text("ID,Sex\n1,F\n")
        with pytest.raises(UserError, match="column 'Age' is missing"):
            build_in(copied, dataset="ludb")
        table.unlink()
        with pytest.raises(MissingDataError, match="holds its labels"):
            build_in(copied, dataset="ludb")


class TestNstdb:
    def test_noisy_records_are_rows_and_noise_is_not(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="nstdb").place)
        names = {name.removeprefix("nstdb/") for name in store.column("record")}
        assert names == {f"{source}e{snr}" for source in ("118", "119") for snr in ("24", "18", "12", "06", "00", "_6")}
        assert set(store.column("patient")) == {"mitdb/118", "mitdb/119"}
        assert set(class_names(store, "aami")) >= {"N", "V"}

    def test_every_row_is_a_test(self, layouts: Path, build_in: Build) -> None:
        store = open_store(build_in(layouts, dataset="nstdb").place)
        assert store.protocols == ["noise-test"]
        assert (store.split().values == TEST).all()

    def test_their_patients_do_not_train_beside_mitdb(self, layouts: Path, tmp_path: Path, build_in: Build) -> None:
        shutil.copytree(layouts / "nstdb", tmp_path / "raw/nstdb")
        names = ["100", "101", "103", "105", "106", "108", "109", "112", "118", "119"]
        write_mitdb(tmp_path / "raw", n_minutes=0.5, records=names)
        store = open_store(build_in(tmp_path / "raw", dataset="mitdb,nstdb").place)
        split, patient = store.split("cross-mitdb-nstdb").values, store.column("patient")
        assert set(patient[split == TEST]) == {"mitdb/118", "mitdb/119"}
        assert not set(patient[split == TRAIN]) & {"mitdb/118", "mitdb/119"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"dataset": "ptbdb", "leads": "V9"}, "unknown lead of ptbdb 'V9'"),
        ({"dataset": "cinc2017", "label_rule": "v4"}, "unknown label rule of cinc2017 'v4'"),
        ({"dataset": "ludb", "unit": "beat:centred187"}, "Did you mean 'beat:centred186'"),
        ({"dataset": "cinc2O17"}, "Did you mean 'cinc2017'"),
    ],
)
def test_wrong_names_are_refused(layouts: Path, build_in: Build, section: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        build_in(layouts, **section)
