"""Any folder of WFDB records, labelled by a CSV file or by annotations; and what the build writes itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from ecgprep.datasets.base import person_in
from ecgprep.inspect import print_result
from pipelines.recipe import override
from pipelines.workspace import Workspace
from store.errors import MissingDataError, UserError
from store.read import open_store
from tests.recordings import (
    make_signal_mv,
    write_beats,
    write_mitdb,
    write_mitdb_record,
    write_ptbxl_record,
)

Build = Callable[..., BuildResult]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 records of twelve leads at 100 Hz, two levels deep, with a label file for 22 of them."""
    place = tmp_path / "my recordings"
    lines = ["name,diagnosis,subject,age,sex"]
    for number in range(24):
        write_ptbxl_record(place / f"ward{number % 2}/r{number:02d}", 100, np.random.default_rng(number))
        if number < 22:
            lines.append(f"r{number:02d},{'sick' if number % 3 else 'well'},{number // 2},{40 + number},F")
    (place / "labels.csv").write_text("\n".join(lines))
    return place


NAMED = "labels.csv:record=name:label=diagnosis"


class TestLabelFile:
    def test_records_have_their_lines_of_the_file(self, folder: Path, build_in: Build) -> None:
        store = open_store(build_in(folder, dataset="wfdb", labels=f"{NAMED}:patient=subject").place)
        assert store.signal.shape == (24, 12, 1000)
        record, label = store.column("record").astype(str), store.label()
        assert record[0] == "wfdb/ward0/r00"
        numbers = np.array([int(name[-2:]) for name in record])
        expected = [-1 if n >= 22 else label.classes.index("sick" if n % 3 else "well") for n in numbers]
        assert label.values.tolist() == expected
        assert store.column("age")[numbers < 22].tolist() == [40.0 + n for n in numbers if n < 22]
        assert set(store.column("sex")[numbers < 22]) == {"female"}

    def test_without_patients_every_protocol_leaks_and_says_so(self, folder: Path, build_in: Build) -> None:
        store = open_store(build_in(folder, dataset="wfdb", labels=NAMED).place)
        assert store.protocols
        for protocol in store.protocols:
            split = store.split(protocol)
            assert split.leaks == ("patient",)
            assert "is not known" in split.leak_note

    def test_with_patients_none_leaks(self, folder: Path, build_in: Build) -> None:
        """Two records have no line: no label, so that they take no part in any protocol."""
        store = open_store(build_in(folder, dataset="wfdb", labels=f"{NAMED}:patient=subject").place)
        assert len(set(store.column("patient"))) == 11 + 2
        assert store.protocols
        assert all(store.split(protocol).leaks == () for protocol in store.protocols)

    def test_several_labels_a_record(self, folder: Path, build_in: Build) -> None:
        names = [f"r{number:02d}" for number in range(24)]
        rows = [f"{name},{'AF;LVH' if i % 2 else 'AF' if i % 4 else 'LVH'}" for i, name in enumerate(names)]
        (folder / "several.csv").write_text("\n".join(rows))
        label = open_store(build_in(folder, dataset="wfdb", labels="several.csv").place).label()
        assert label.multilabel
        assert label.classes == ("AF", "LVH")
        assert label.values.sum(axis=0).tolist() == [18, 18]

    def test_store_tells_label_files_apart_and_keeps_no_path(
        self, folder: Path, build_in: Build, tmp_path: Path
    ) -> None:
        first = build_in(folder, dataset="wfdb", labels=NAMED)
        moved = tmp_path / "moved.csv"
        moved.write_bytes((folder / "labels.csv").read_bytes())
        again = build_in(folder, dataset="wfdb", labels=f"{moved}:record=name:label=diagnosis")
        assert (again.place, again.state) == (first.place, "complete")
        moved.write_text(moved.read_text().replace("well", "fine"))
        other = build_in(folder, dataset="wfdb", labels=f"{moved}:record=name:label=diagnosis")
        assert other.place != first.place
        assert str(tmp_path) not in (other.place / "zarr.json").read_text()

    @pytest.mark.parametrize("mark", ["\t", ";"], ids=["tab", "semicolon"])
    def test_cells_may_be_apart_by_other_marks(self, folder: Path, build_in: Build, mark: str) -> None:
        text = (folder / "labels.csv").read_text()
        by_commas = open_store(build_in(folder, dataset="wfdb", labels=NAMED).place).label()
        (folder / "labels.csv").write_text(text.replace(",", mark))
        store = open_store(build_in(folder, dataset="wfdb", labels=NAMED).place)
        assert store.label().values.tolist() == by_commas.values.tolist()

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
    def test_file_may_be_as_a_spreadsheet_writes_it(self, folder: Path, build_in: Build, encoding: str) -> None:
        (folder / "sheet.csv").write_bytes('Record,LABEL,x\r\nr00,"né, 1",\r\nr01,b,\r\n,,\r\n,,\r\n'.encode(encoding))
        label = open_store(build_in(folder, dataset="wfdb", labels="sheet.csv").place).label()
        assert label.classes == ("b", "né, 1")
        assert sorted(label.values.tolist()) == [-1] * 22 + [0, 1]

    @pytest.mark.parametrize(
        ("first", "columns"),
        [
            ("# of ward 3, by hand\nrecord\tlabel", ""),
            ("# name\tdiagnosis", ""),
            ("#\n# of ward 3\n# Record\tLabel", ""),
            ("#name\tdiagnosis", ":record=name:label=diagnosis"),
            ("#name\tdiagnosis", ":record=#name:label=diagnosis"),
        ],
    )
    def test_remarks_above_the_records_are_none_of_them(
        self, folder: Path, build_in: Build, first: str, columns: str
    ) -> None:
        (folder / "remarks.csv").write_text(f"{first}\nr00\ta\nr01\tb\n")
        result = build_in(folder, dataset="wfdb", labels=f"remarks.csv{columns}")
        label = open_store(result.place).label()
        assert label.classes == ("a", "b")
        assert sorted(label.values.tolist()) == [-1] * 22 + [0, 1]

    def test_age_that_no_person_has_is_unknown(self, folder: Path, build_in: Build) -> None:
        ages = ["-1", "300", "inf", "6 months", "0", "74.5"]
        lines = [f"r{i:02d},{'ab'[i % 2]},{age}" for i, age in enumerate(ages)]
        (folder / "ages.csv").write_text("\n".join(["record,label,age", *lines]))
        store = open_store(build_in(folder, dataset="wfdb", labels="ages.csv").place)
        by_record = dict(zip(store.column("record").tolist(), store.column("age").tolist(), strict=True))
        found = [by_record[f"wfdb/ward{i % 2}/r{i:02d}"] for i in range(len(ages))]
        np.testing.assert_equal(found, [np.nan] * 4 + [0.0, 74.5])

    def test_quoted_cells_may_stand_behind_a_space(self, folder: Path, build_in: Build) -> None:
        (folder / "spaced.csv").write_text('record, label\nr00, "a, old"\nr01, "b"\n')
        store = open_store(build_in(folder, dataset="wfdb", labels="spaced.csv").place)
        assert store.label().classes == ("a, old", "b")

    def test_line_with_a_records_path_is_of_no_other(self, folder: Path, build_in: Build) -> None:
        write_ptbxl_record(folder / "r00", 100, np.random.default_rng(0))
        (folder / "paths.csv").write_text("r00,a\nward1/r01,b\n")
        store = open_store(build_in(folder, dataset="wfdb", labels="paths.csv").place)
        assert store.column("record")[store.label().values >= 0].tolist() == ["wfdb/r00", "wfdb/ward1/r01"]

    def test_records_that_are_not_here_or_have_no_label_are_said(
        self, folder: Path, build_in: Build, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "few.csv").write_text("r00,a\nr01,b\nr99,b\n")
        print_result(build_in(folder, dataset="wfdb", labels="few.csv"))
        said = " ".join(capsys.readouterr().err.split())
        assert "1 of its 3 records are not here, such as 'r99'" in said
        assert "22 of 24 records have no label in it, such as 'wfdb/ward0/r02'" in said
        assert "No split could be drawn: too few patients have a label." in said

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ("absent.csv", "no such file"),
            ("labels.csv:record=nam:label=diagnosis", "Did you mean 'name'"),
            ("labels.csv:record=name:label=diagnosis:patient=subjekt", "Did you mean 'subject'"),
            ("labels.csv:label", "is not of the form label=NAME"),
            ("labels.csv:lable=diagnosis", "Did you mean 'label'"),
            ("twice.csv", "is there twice"),
            ("ids.csv", r"130 different labels, such as '0' and '1'; a store has 127 .* FILE:label=COLUMN"),
            (
                "same.csv",
                r"'r00' is the name of 2 records, such as 'ward0/r00' and 'ward1/r00'; write each as its path",
            ),
            ("long.csv", r"long.csv: line 1 cannot be read as CSV: field larger than field limit"),
            ("other.csv", r"unknown column of other.csv 'record'. Known: filename, label. .* other.csv:record=NAME"),
            ("one.csv", "two classes or more, found a"),
            ("REFERENCE.csv", r"first line, 'Recording,First_label,', is of no record .*:record=Recording:label=First"),
            ("others.csv", "none of its 2 records .*'x1'.* is one of the 24 here .*'ward0/r00'"),
        ],
    )
    def test_label_file_that_will_not_do_is_refused(
        self, folder: Path, build_in: Build, labels: str, message: str
    ) -> None:
        (folder / "twice.csv").write_text("r00,a\nr01,b\nr00,b\n")
        (folder / "one.csv").write_text("r00,a\nr01,a\n")
        (folder / "other.csv").write_text("filename,label\nr00,a\nr01,b\n")
        (folder / "REFERENCE.csv").write_text("Recording,First_label,\nr00,1,\nr01,2,\n")
        (folder / "ids.csv").write_text("".join(f"r{i:02d},{i}\n" for i in range(130)))
        (folder / "long.csv").write_text("r00," + 200_000 * "a")
        (folder / "same.csv").write_text("r00,a\nr01,b\n")
        if labels == "same.csv":
            write_ptbxl_record(folder / "ward1/r00", 100, np.random.default_rng(0))
        (folder / "others.csv").write_text("x1,a\nx2,b\n")
        with pytest.raises(UserError, match=message):
            build_in(folder, dataset="wfdb", labels=labels)

    def test_beats_are_detected(self, folder: Path, build_in: Build) -> None:
        store = open_store(build_in(folder, dataset="wfdb", labels=NAMED, unit="beat:kachuee187", leads="II").place)
        assert store.n_rows > 24 * 7
        assert store.schemes == ["label"]


class TestAnnotations:
    def test_mitdb_as_a_plain_folder_has_the_same_beats(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100", "102", "114"), seconds=20)
        section = {"unit": "beat:centred186", "leads": "MLII"}
        plain = open_store(build_in(raw, "plain", dataset="wfdb", **section).place)
        own = open_store(build_in(tmp_path / "raw", "own", dataset="mitdb", **section).place)
        rows = ~own.column("lead_substituted")
        np.testing.assert_array_equal(plain.column("sample"), own.column("sample")[rows])
        np.testing.assert_array_equal(plain.signal[:], np.asarray(own.signal[:])[rows])
        np.testing.assert_array_equal(plain.label("aami").values, own.label("aami").values[rows])

    def test_patients_come_from_a_file_and_labels_from_annotations(
        self, tmp_path: Path, build_in: Build, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = [str(100 + i) for i in range(12)]
        raw = write_mitdb(tmp_path / "raw", names, seconds=20, leads=dict.fromkeys(names, ("MLII", "V1")))
        lines = [f"{name},p{i // 2},{40 + i}" for i, name in enumerate(names)]
        (raw / "patients.csv").write_text("\n".join(["record,patient,age", *lines]))
        section = {"dataset": "wfdb", "unit": "beat:centred186", "leads": "MLII"}
        result = build_in(raw, labels="patients.csv:label=none", **section)
        store = open_store(result.place)
        assert store.schemes == ["aami", "aami_bxb"]
        assert len(set(store.column("patient"))) == 6
        assert store.column("age")[0] == 40.0
        assert store.protocols
        assert all(store.split(protocol).leaks == () for protocol in store.protocols)
        print_result(result)
        assert "label file" not in capsys.readouterr().err
        (raw / "patients.csv").write_text("\n".join(["record,patient,age", *lines[:-1]]))
        partly = build_in(raw, "partly", labels="patients.csv:label=none", **section)
        assert open_store(partly.place).split().leaks == ("patient",)
        print_result(partly)
        assert "1 of 12 records have no line in it, such as 'wfdb/111'" in " ".join(capsys.readouterr().err.split())
        with pytest.raises(UserError, match=r"'label'.* label=none where annotations label the records"):
            build_in(raw, labels="patients.csv", **section)

    def test_leads_are_by_default_those_of_most_records(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100", "101", "102"), seconds=20)
        result = build_in(raw, dataset="wfdb")
        assert open_store(result.place).leads == ("MLII", "V1")
        assert [item.reason for item in result.quarantined] == ["lead MLII is missing; the record has V5, V2"]

    def test_leads_are_by_default_those_of_one_record_where_no_two_have_the_same(
        self, tmp_path: Path, build_in: Build
    ) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100", "102"), seconds=20)
        result = build_in(raw, dataset="wfdb")
        assert open_store(result.place).leads == ("MLII", "V1")
        assert len(result.quarantined) == 1

    @pytest.mark.parametrize(
        ("leads", "expected"), [(None, ("ECG",)), ("EEG (C4-A1)", ("EEG (C4-A1)",)), ("all", ("ECG", "EEG (C4-A1)"))]
    )
    def test_brain_waves_are_no_leads_unless_they_are_named(
        self, tmp_path: Path, build_in: Build, leads: str | None, expected: tuple[str, ...]
    ) -> None:
        signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 7000, 300), 360.0, (2, 7200))
        write_mitdb_record(tmp_path, "slp01a", signal_mv, ("ECG", "EEG (C4-A1)"))
        options = {"leads": leads} if leads else {}
        assert open_store(build_in(tmp_path, dataset="wfdb", labels="none", **options).place).leads == expected

    def test_lead_with_a_comma_is_named_in_a_list(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100",), seconds=20, leads={"100": ("ECG, lead II", "V1")})
        with pytest.raises(UserError, match=r"""named by --set 'leads=\["ECG, lead II"\]'"""):
            build_in(raw, dataset="wfdb", leads="ECG, lead II")
        options = override({"dataset": "wfdb"}, ['leads=["ECG, lead II"]'], "prepare")
        assert open_store(build_in(raw, **options).place).leads == ("ECG, lead II",)

    @pytest.mark.parametrize("leads", [None, "all", "mlii,v1"])
    def test_leads_of_other_case_are_the_same(self, tmp_path: Path, build_in: Build, leads: str | None) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100", "101"), seconds=20, leads={"101": ("v1", "MLii")})
        result = build_in(raw, dataset="wfdb", leads=leads)
        assert open_store(result.place).leads == ("MLII", "V1")
        assert not result.quarantined

    def test_a_signal_that_is_no_voltage_is_no_lead(self, tmp_path: Path, build_in: Build) -> None:
        signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 7000, 300), 360.0, (2, 7200))
        for name in ("a", "b"):
            write_mitdb_record(tmp_path, name, signal_mv, ("II", "RESP"), units=["mV", "l"])
            write_beats(tmp_path, name, range(200, 7000, 300), "N" * 23)
        assert open_store(build_in(tmp_path, dataset="wfdb", unit="beat:centred186").place).leads == ("II",)

    def test_a_renamed_header_finds_its_signals_and_lists_them(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100", "101"), seconds=20)
        for old, new in (("100", "here"), ("101", "gone")):
            for suffix in ("hea", "atr"):
                (raw / f"{old}.{suffix}").rename(raw / f"{new}.{suffix}")
        (raw / "101.dat").rename(raw / "gone.dat")
        result = build_in(raw, dataset="wfdb", unit="beat:centred186")
        assert [(item.record, item.reason) for item in result.quarantined] == [
            ("wfdb/gone", "101.dat is missing, which gone.hea names")
        ]
        listed = (result.place / "sources.sha256").read_text().split()[1::2]
        assert listed == ["100.dat", "here.atr", "here.hea"]

    def test_names_need_not_be_ascii(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100",), seconds=20)
        for file in raw.iterdir():
            file.rename(file.with_stem("été"))
        header = (raw / "été.hea").read_text()
        (raw / "été.hea").write_text(header.replace("100", "été").replace("MLII", "Fühler"), encoding="utf-8")
        result = build_in(raw, dataset="wfdb", unit="beat:centred186")
        assert open_store(result.place).leads == ("Fühler", "V1")
        assert (result.place / "sources.sha256").read_text().split()[1::2] == ["été.atr", "été.dat", "été.hea"]

    def test_a_name_may_have_dots(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "raw", ("100",), seconds=20)
        for file in raw.iterdir():
            file.rename(file.with_stem("ward.1"))
        header = (raw / "ward.1.hea").read_text()
        (raw / "ward.1.hea").write_text(header.replace("100.dat", "ward.1.dat").replace("100 2", "ward.1 2"))
        result = build_in(raw, dataset="wfdb", unit="beat:centred186")
        assert open_store(result.place).column("record")[0] == "wfdb/ward.1"
        assert (result.place / "sources.sha256").read_text().split()[1::2] == ["ward.1.atr", "ward.1.dat", "ward.1.hea"]

    def test_links_to_folders_are_followed_once(self, tmp_path: Path, build_in: Build) -> None:
        raw = write_mitdb(tmp_path / "elsewhere", ("100", "101"), seconds=20)
        folder = tmp_path / "records"
        (folder / "deeper").mkdir(parents=True)
        for link, target in (("a", raw), ("b", raw), ("deeper/up", folder)):
            (folder / link).symlink_to(target)
        store = open_store(build_in(folder, dataset="wfdb").place)
        assert store.column("record").tolist() == ["wfdb/a/100", "wfdb/a/101"]

    @pytest.mark.parametrize("unit", ["beat:centred186", "beat:kachuee187"])
    def test_a_beat_that_is_marked_beyond_the_end_is_no_row(self, tmp_path: Path, build_in: Build, unit: str) -> None:
        peaks = list(range(180, 7200, 300))
        signal_mv = make_signal_mv(np.random.default_rng(0), np.array(peaks), 360.0, (2, 7210))
        write_mitdb_record(tmp_path, "a", signal_mv, ("II", "V1"))
        write_beats(tmp_path, "a", [*peaks, 7500, 7800, 8100], "N" * (len(peaks) + 3))
        store = open_store(build_in(tmp_path, dataset="wfdb", unit=unit).place)
        assert store.column("sample").max() < 7210
        assert np.abs(np.asarray(store.signal[:])).max(axis=(1, 2)).min() > 500

    def test_a_record_of_several_segments_is_one(self, tmp_path: Path, build_in: Build) -> None:
        raw = tmp_path / "raw"
        raw.mkdir()
        signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 7000, 300), 360.0, (2, 7200))
        for record in ("a", "b"):
            write_mitdb_record(raw, f"{record}1", signal_mv[:, :3600], ("II", "V1"))
            write_mitdb_record(raw, f"{record}2", signal_mv[:, 3600:], ("II", "V1"))
            (raw / f"{record}.hea").write_text(f"{record}/2 2 360 7200\n{record}1 3600\n{record}2 3600\n")
        (raw / "b2.hea").write_text((raw / "b2.hea").read_text().replace("212 200.0(1024)/mV", "212 0"))
        (raw / "labels.csv").write_text("a,one\nb,two\n")
        result = build_in(raw, dataset="wfdb", labels="labels.csv")
        assert [(item.record, item.reason) for item in result.quarantined] == [
            ("wfdb/b", "lead II has no gain in the header, so that its unit is unknown")
        ]
        store = open_store(result.place)
        assert store.leads == ("II", "V1")
        assert np.abs(store.signal[0] * store.scale_mv - signal_mv).max() <= 0.5 / 200 + 0.5e-3 + 1e-6
        listed = (result.place / "sources.sha256").read_text().split()[1::2]
        assert listed == ["a.hea", "a1.dat", "a1.hea", "a2.dat", "a2.hea"]

    def test_rhythms_alone_are_what_frames_are_split_for(self, tmp_path: Path, build_in: Build) -> None:
        signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 7000, 300), 360.0, (2, 7200))
        for number in range(8):
            write_mitdb_record(tmp_path, f"r{number}", signal_mv, ("II", "V1"))
            notes = ["(N", "(AFIB"]
            wfdb.wrann(f"r{number}", "atr", np.array([5, 3700]), ["+"] * 2, aux_note=notes, write_dir=str(tmp_path))
        store = open_store(build_in(tmp_path, dataset="wfdb", unit="window:10").place)
        assert {store.split(protocol).scheme for protocol in store.protocols} == {"frame_rhythm"}
        assert set(store.label().values) == {3, 4}
        assert set(store.label("heart_rate").values) == {-1}

    def test_folder_without_annotations_or_labels_is_refused(self, folder: Path, build_in: Build) -> None:
        with pytest.raises(MissingDataError, match=r"no annotation file \(\*\.atr\) is in it; name a CSV file"):
            build_in(folder, dataset="wfdb")

    def test_folder_without_labels_is_built_when_that_is_said(self, folder: Path, build_in: Build) -> None:
        store = open_store(build_in(folder, dataset="wfdb", labels="none", unit="beat:kachuee187", leads="II").place)
        assert store.label().classes == ("unlabelled",)
        assert set(store.label().values) == {0}
        assert store.attributes["recipe"]["labels"] == "none"
        assert len(set(store.column("record"))) == 24
        assert store.protocols
        assert store.split().leaks == ("patient",)

    @pytest.mark.parametrize("annotator", ["notes/atr", ".atr"])
    def test_annotator_is_a_suffix_alone(self, folder: Path, build_in: Build, annotator: str) -> None:
        with pytest.raises(UserError, match=f"--annotator {annotator}: write the suffix of the annotation files alone"):
            build_in(folder, dataset="wfdb", annotator=annotator)

    def test_labels_of_another_database_are_refused(self, raw: Path, build_in: Build) -> None:
        with pytest.raises(UserError, match="--labels: mitdb has labels of its own"):
            build_in(raw, dataset="mitdb", labels="x.csv")

    def test_units_are_those_of_the_header(self, tmp_path: Path, build_in: Build) -> None:
        signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(50, 1000, 100), 100.0, (1, 1000))
        place = tmp_path / "units"
        place.mkdir()
        for name, unit, factor in (("a", "mV", 1.0), ("b", "uV", 1000.0)):
            digital = np.rint(signal_mv.T * 1000).astype(np.int64)
            wfdb.wrsamp(
                name, 100, [unit], ["X"], d_signal=digital, fmt=["16"], adc_gain=[1000 / factor], baseline=[0],
                write_dir=str(place),
            )  # fmt: skip
        (place / "labels.csv").write_text("a,one\nb,two\n")
        store = open_store(build_in(place, dataset="wfdb", labels="labels.csv").place)
        np.testing.assert_array_equal(store.signal[0], store.signal[1])


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        ("<age>: 65 <sex>: F <diagnoses> 3", 65.0, "female"),
        ("Age: 74\nSex: Male", 74.0, "male"),
        ("Age: -1", np.nan, ""),
        ("Age: 300", np.nan, ""),
        ("Age: 6 months", np.nan, ""),
        ("Age: 10.5 weeks", np.nan, ""),
        ("Age: 74.5", 74.5, ""),
        ("Age - 074Y", 74.0, ""),
        ("Age:\n12 leads\nSex:\nF waves", np.nan, ""),
    ],
)
def test_age_and_sex_are_those_of_their_own_line(comments: str, age: float, sex: str) -> None:
    person = person_in(comments)
    np.testing.assert_equal(person, {"age": age, "sex": sex})


def test_synthetic_is_written_and_built_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgprep.datasets.synthetic.MINUTES", 0.25)
    home = Workspace(tmp_path)
    result = build(Prepare(dataset="synthetic", workers=0), home)
    store = open_store(result.place)
    assert store.synthetic
    assert store.attributes["card"]["synthetic"]
    assert len(set(store.column("record"))) == 48
    assert str(store.column("record")[0]) == "synthetic/100"
    assert "interpatient" in store.protocols
    assert build(Prepare(dataset="synthetic", workers=0), home).state == "complete"


def test_store_without_a_split_says_so(folder: Path, build_in: Build) -> None:
    (folder / "few.csv").write_text("r00,a\nr02,b\n")
    store = open_store(build_in(folder, dataset="wfdb", labels="few.csv").place)
    with pytest.raises(UserError, match="has no split: too few of its rows have a label"):
        store.split()
