"""incartdb, svdb and icentia11k from their own layouts to a store; several databases in one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.inspect import print_result
from ecgprep.records import Record
from ecgprep.synth import write_icentia11k, write_incartdb, write_mitdb, write_svdb
from pipelines.workspace import Workspace
from store.errors import MissingDataError, UserError
from store.patients import choose_patients
from store.read import Store, open_store
from store.vocabulary import BEAT_SCHEMES, TEST, TRAIN, UNUSED, VALIDATION

Build = Callable[..., BuildResult]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small synthetic recordings in the layouts of four databases."""
    folder = tmp_path_factory.mktemp("synthetic")
    write_mitdb(folder, n_minutes=0.3, records=["100", "102", "106", "108", "114", "118", "201", "202", "203", "207"])
    write_incartdb(folder, n_minutes=0.4, n_records=14)
    write_svdb(folder, n_minutes=0.4, n_records=5)
    write_icentia11k(folder, n_minutes=1.0, n_records=36)
    return folder


def build_once(folder: Path, factory: pytest.TempPathFactory, **section: object) -> Store:
    prepare = Prepare.model_validate({"workers": 0, **section})
    return open_store(build(prepare, Workspace(factory.mktemp("home")), folder).place)


@pytest.fixture(scope="module")
def incart(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_once(synthetic, tmp_path_factory, dataset="incartdb")


@pytest.fixture(scope="module")
def icentia(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_once(synthetic, tmp_path_factory, dataset="icentia11k")


@pytest.fixture(scope="module")
def crossed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_once(synthetic, tmp_path_factory, dataset="mitdb,incartdb")


class TestIncart:
    def test_lead_ii_is_taken_by_name(self, incart: Store, synthetic: Path) -> None:
        raw = wfdb.rdrecord(str(synthetic / "incartdb/I03"))
        assert raw.sig_name[:2] == ["I", "II"]
        assert (raw.fs, incart.fs_hz, incart.leads) == (257, 360.0, ("II",))
        row = np.flatnonzero(incart.column("record") == "incartdb/I03")[5]
        sample = int(incart.column("sample")[row])
        peak = np.asarray(incart.signal[int(row), 0])[83:104] * incart.scale_mv
        around = raw.p_signal[sample - 8 : sample + 9, 1]
        assert abs(np.ptp(peak) - np.ptp(around)) < 0.15 * np.ptp(around)

    def test_records_of_a_patient_stay_together(self, incart: Store) -> None:
        record, patient = incart.column("record").astype(str), incart.column("patient").astype(str)
        assert len(set(record)) == 14
        assert {patient[record == f"incartdb/I{n:02d}"][0] for n in (1, 2, 3)} == {"incartdb/01"}
        assert len(set(patient)) == 6
        assert set(incart.column("sex")) <= {"male", "female"}
        assert (incart.column("age") > 20).all()

    @pytest.mark.parametrize(
        ("comments", "patient", "age", "sex"),
        [
            (["<age>: 65 <sex>: F <diagnoses> Coronary artery disease", " patient 1", " PVCs"], "01", 65, "female"),
            (["<age>: 51 <sex>: M ", " patient 14", " ventricular couplets"], "14", 51, "male"),
        ],
        ids=["with a diagnosis", "without"],
    )
    def test_headers_as_published(
        self, comments: list[str], patient: str, age: int, sex: str, tmp_path: Path, synthetic: Path
    ) -> None:
        header = (synthetic / "incartdb/I03.hea").read_text().split("#", 1)[0]
        (tmp_path / "I03.hea").write_text(header + "".join(f"#{comment}\n" for comment in comments))
        incart = get_database("incartdb")
        (ref,) = incart.find(tmp_path, incart.resolve(Prepare(dataset="incartdb"))).records
        assert ref.patient == f"incartdb/{patient}"
        read = wfdb.rdheader(str(tmp_path / "I03"))
        record = Record(("II",), 257.0, np.zeros((1, 9)), tuple(read.comments))
        assert incart.person(ref, record) == {"age": age, "sex": sex}

    def test_beats_lie_within_half_a_sample_of_their_annotation(self, incart: Store, synthetic: Path) -> None:
        """At 360 Hz an R wave drawn at a whole sample of 257 Hz has its top within a sample of the window's."""
        rows = np.flatnonzero((incart.column("symbol") == "N") & (incart.column("record") == "incartdb/I01"))
        tops = np.array([np.argmax(np.abs(incart.signal[int(row), 0])) for row in rows])
        assert np.abs(tops - 93).max() <= 3

    def test_header_without_a_patient_is_left_out(self, synthetic: Path, tmp_path: Path, build_in: Build) -> None:
        place = tmp_path / "incartdb"
        place.mkdir()
        for file in (synthetic / "incartdb").glob("I0[12].*"):
            (place / file.name).write_bytes(file.read_bytes())
        header = place / "I01.hea"
        header.write_text(header.read_text().replace("# patient 1", "# no number"))
        (item,) = build_in(tmp_path, dataset="incartdb").quarantined
        assert (item.record, item.reason) == ("incartdb/I01", "the header's comments name no patient")


class TestSvdb:
    def test_leads_of_one_name_go_by_their_place(
        self, synthetic: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        raw = wfdb.rdrecord(str(synthetic / "svdb/800"))
        assert raw.sig_name == ["ECG", "ECG"]
        both = build_once(synthetic, tmp_path_factory, dataset="svdb", leads="all", unit="record", fs=128)
        assert both.leads == ("ECG1", "ECG2")
        assert np.abs(both.signal[0] * both.scale_mv - raw.p_signal.T).max() <= 0.5e-3 + 1e-9

    def test_each_record_is_a_patient(self, synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        store = build_once(synthetic, tmp_path_factory, dataset="svdb")
        assert set(store.column("patient")) == {f"svdb/{n}" for n in range(800, 805)}
        symbols, label = store.column("symbol"), store.label("aami")
        assert [label.classes[v] for v in label.values] == [BEAT_SCHEMES["aami"][symbol] for symbol in symbols]
        assert np.isnan(store.column("age")).all()


class TestIcentia:
    def test_a_row_is_a_frame_of_4096_samples(self, icentia: Store, synthetic: Path) -> None:
        assert icentia.signal.shape == (36 * 3, 1, 4096)
        name = str(icentia.column("record")[4]).removeprefix("icentia11k/")
        assert name == "p00/p00000/p00000_s01"
        raw = wfdb.rdrecord(str(synthetic / "icentia11k-continuous-ecg" / name)).p_signal[4096:8192, 0]
        assert np.abs(icentia.signal[4, 0] * icentia.scale_mv - raw).max() <= 0.5e-3 + 1e-9
        assert icentia.column("sample")[3:6].tolist() == [0, 4096, 8192]

    def test_rhythms_are_those_of_the_middle_third(self, icentia: Store) -> None:
        label, record = icentia.label("frame_rhythm"), icentia.column("record").astype(str)
        names = np.array(label.classes)[label.values]
        for segment, episode in (("s00", "AFIB"), ("s01", "AFL")):
            of = names[np.char.endswith(record, segment)].reshape(-1, 3)
            assert (of[:, 0] == "normal").all()
            assert (of[:, 1] == episode).all()
        assert (names[np.char.endswith(record, "s02")] == "normal").all()

    def test_each_label_of_a_frame_has_its_splits(self, icentia: Store) -> None:
        beats = (
            icentia.split("patient-70-15-15") if "patient-70-15-15" in icentia.protocols else icentia.split("kfold-5")
        )
        for scheme in ("frame_rhythm", "heart_rate"):
            split = icentia.split(f"{beats.protocol}-{scheme}")
            np.testing.assert_array_equal(split.values, beats.values)
            assert (split.scheme, split.score_classes) == (scheme, icentia.label(scheme).classes)

    def test_heart_rate_needs_no_annotated_class(self, icentia: Store, synthetic: Path) -> None:
        label = icentia.label("heart_rate")
        marks = wfdb.rdann(str(synthetic / "icentia11k-continuous-ecg/p00/p00000/p00000_s00"), "atr")
        peaks = marks.sample[np.isin(marks.symbol, list("NSVaQ"))]
        inside = peaks[peaks < 4096]
        rate = 60 * 250 * (len(inside) - 1) / (inside[-1] - inside[0])
        expected = "bradycardia" if rate < 60 else "normal" if rate <= 100 else "tachycardia"
        assert label.classes[label.values[0]] == expected

    def test_a_share_is_the_same_for_download_and_build(self, synthetic: Path, build_in: Build) -> None:
        store = open_store(build_in(synthetic, dataset="icentia11k", patients="40%").place)
        chosen = {f"icentia11k/{n:05d}" for n in choose_patients("40%", 11_000)}
        here = {f"icentia11k/{n:05d}" for n in np.linspace(0, 10_999, 12).round().astype(int)}
        assert set(store.column("patient")) == chosen & here
        database = get_database("icentia11k")
        prepare = Prepare(dataset="icentia11k", patients="40%")
        for patient in sorted(here):
            number = patient.removeprefix("icentia11k/")
            path = f"p{number[:2]}/p{number}/p{number}_s00.dat"
            assert database.wants(path, prepare) == (patient in chosen)
        assert database.wants("RECORDS", prepare)
        assert (store.column("patient_share") < 0.4).all()
        numbers = [int(patient.rpartition("/")[2]) for patient in store.column("patient")]
        assert store.column("patient_number").tolist() == numbers

    def test_a_copy_in_the_folder_of_other_patients_is_no_patient(self, synthetic: Path, tmp_path: Path) -> None:
        database, prepare = get_database("icentia11k"), Prepare(dataset="icentia11k")
        raw = shutil.copytree(synthetic / database.folder, tmp_path / database.folder)
        n_records = len(database.find(raw, prepare).records)
        patient = next(raw.glob("p00/p?????"))
        shutil.copytree(patient, raw / "p99" / patient.name)
        assert len(database.find(raw, prepare).records) == n_records

    def test_records_of_no_patient_are_left_alone_and_said(
        self, synthetic: Path, tmp_path: Path, build_in: Build, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = get_database("icentia11k").folder
        raw = shutil.copytree(synthetic / folder / "p10", tmp_path / folder / "p10").parent
        shutil.copytree(raw / "p10/p10999", raw / "p11/p11000")
        for file in (raw / "p11/p11000").iterdir():
            file.rename(file.with_name(file.name.replace("10999", "11000")))
        n_here = len({file.stem for file in raw.glob("p10/*/*")})
        (raw / "p10/p10999/._p10999_s00.hea").touch()
        result = build_in(tmp_path, dataset="icentia11k")
        assert len(set(open_store(result.place).column("record"))) == n_here
        print_result(result)
        said = " ".join(capsys.readouterr().err.split())
        assert (
            "3 records of other names than p00/p00000/p00000_s00 up to p10999, such as 'p11/p11000/p11000_s00'" in said
        )

    def test_folder_of_another_layout_is_told_which_is_read(self, tmp_path: Path, build_in: Build) -> None:
        folder = tmp_path / get_database("icentia11k").folder
        folder.mkdir()
        (folder / "00000_batched.pkl.gz").touch()
        with pytest.raises(MissingDataError, match=r"Its segments are p00/p00000/p00000_s00\.hea, .* no \.pkl\.gz"):
            build_in(tmp_path, dataset="icentia11k")

    def test_a_range_of_patients(self, synthetic: Path, build_in: Build) -> None:
        store = open_store(build_in(synthetic, dataset="icentia11k", patients="0-2500").place)
        assert set(store.column("patient")) == {"icentia11k/00000", "icentia11k/01000", "icentia11k/02000"}


class TestSeveral:
    def test_rows_stand_one_database_after_the_other(self, crossed: Store) -> None:
        assert crossed.name.startswith("mitdb-incartdb-")
        database = crossed.column("database").astype(str)
        n_mitdb = int((database == "mitdb").sum())
        assert (database[:n_mitdb] == "mitdb").all()
        assert (database[n_mitdb:] == "incartdb").all()
        assert set(crossed.column("fs_raw_hz")[n_mitdb:]) == {257.0}
        follows = crossed.column("next_row") >= 0
        assert (database[follows] == database[crossed.column("next_row")[follows]]).all()

    def test_ii_is_mlii_under_another_name_and_v5_is_not(self, crossed: Store) -> None:
        assert crossed.leads == ("MLII",)
        assert crossed.signal.attrs["lead_sources"] == {"MLII": ["II", "MLII", "V5"]}
        source, substituted = crossed.column("lead_source"), crossed.column("lead_substituted")
        assert set(source[~substituted]) == {"II", "MLII"}
        assert set(source[substituted]) == {"V5"}

    @pytest.mark.parametrize(("a", "b"), [("mitdb", "incartdb"), ("incartdb", "mitdb")])
    def test_one_trains_and_the_other_tests(self, crossed: Store, a: str, b: str) -> None:
        split, database = crossed.split(f"cross-{a}-{b}"), crossed.column("database")
        assert set(database[split.values == TRAIN]) == set(database[split.values == VALIDATION]) == {a}
        assert set(database[split.values == TEST]) == {b}
        substituted = crossed.column("lead_substituted")
        paced = np.isin(crossed.column("record"), ["mitdb/102"])
        assert ((split.values == UNUSED) == (substituted | paced)).all()
        patients = crossed.column("patient")
        assert not set(patients[split.values == TRAIN]) & set(patients[split.values == VALIDATION])
        assert split.leaks == ()

    def test_crossing_is_the_default(self, crossed: Store) -> None:
        assert crossed.split().protocol == "cross-mitdb-incartdb"
        assert crossed.label().scheme == "aami"

    def test_protocols_of_each_are_those_of_its_own_store(
        self, crossed: Store, synthetic: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        alone = build_once(synthetic, tmp_path_factory, dataset="mitdb")
        own = crossed.column("database") == "mitdb"
        for protocol in alone.protocols:
            joined = crossed.split(f"mitdb-{protocol}")
            np.testing.assert_array_equal(joined.values[own], alone.split(protocol).values)
            assert (joined.values[~own] == UNUSED).all()
            assert joined.leaks == alone.split(protocol).leaks

    def test_order_of_the_databases_is_the_order_of_the_rows(
        self, crossed: Store, synthetic: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        turned = build_once(synthetic, tmp_path_factory, dataset="incartdb,mitdb")
        assert turned.leads == ("II",)
        assert str(turned.column("database")[0]) == "incartdb"
        rows = turned.column("database") == "mitdb"
        np.testing.assert_array_equal(
            np.asarray(turned.signal[:])[rows],
            np.asarray(crossed.signal[:])[~(crossed.column("database") == "incartdb")],
        )

    def test_a_lead_of_unknown_place_stands_in_and_is_flagged(self, synthetic: Path, build_in: Build) -> None:
        store = open_store(build_in(synthetic, dataset="incartdb,svdb").place)
        in_svdb = store.column("database") == "svdb"
        np.testing.assert_array_equal(store.column("lead_substituted"), in_svdb)
        assert set(store.column("lead_source")[in_svdb]) == {"ECG1"}

    def test_three_cross_each_other(self, synthetic: Path, build_in: Build) -> None:
        store = open_store(build_in(synthetic, dataset="mitdb,incartdb,svdb").place)
        crossed = [name for name in store.protocols if name.startswith("cross-")]
        assert len(crossed) == 6
        split, database = store.split("cross-svdb-mitdb"), store.column("database")
        assert (split.values[database == "incartdb"] == UNUSED).all()

    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({"dataset": "mitdb,ptbxl"}, "share no label scheme"),
            ({"dataset": "mitdb,arrays"}, "arrays holds rows ready cut, .* build it by itself"),
            ({"dataset": "mitdb,icentia11k"}, "icentia11k has no lead MLII, .* no lead is in all"),
            ({"dataset": "mitdb,incartbd"}, "Did you mean 'incartdb'"),
        ],
        ids=["labels", "rows", "leads", "name"],
    )
    def test_what_does_not_go_together_is_refused(
        self, synthetic: Path, build_in: Build, section: dict[str, str], message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            build_in(synthetic, **section)

    def test_a_folder_that_holds_the_other_databases_is_refused(self, synthetic: Path, build_in: Build) -> None:
        """A folder of one's own is the whole of what --from names, with the other database in it."""
        with pytest.raises(UserError, match="would be in the store twice"):
            build_in(synthetic, dataset="mitdb,wfdb")

    def test_a_folder_of_ones_own_goes_beside_a_database(self, tmp_path: Path) -> None:
        home = Workspace(tmp_path)
        write_mitdb(home.raw, n_minutes=0.3, records=["100", "101"])
        own = write_mitdb(tmp_path / "elsewhere", n_minutes=0.3, records=["103", "105"])
        (home.raw / "wfdb").symlink_to(own)
        store = open_store(build(Prepare(dataset="mitdb,wfdb", workers=0), home).place)
        assert set(store.column("record").astype(str)) == {"mitdb/100", "mitdb/101", "wfdb/103", "wfdb/105"}
