"""Arrays of other projects, from their files to a store: rows, labels, parts, and that every protocol says it leaks."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgprep.array_files import find_array_files, label_file, named_part, read_signals
from store.errors import MissingDataError, NothingLeftError, RecordError, UserError
from store.read import Store, open_store
from store.vocabulary import TEST, TRAIN, VALIDATION
from tests.ecgprep.conftest import Build


def make_beats(n: int, n_samples: int, seed: int = 0) -> np.ndarray:
    """Return beats in [0, 1] whose last tenth is padding, float32."""
    beats = np.random.default_rng(seed).uniform(0.001, 1.0, (n, n_samples)).round(3)
    beats[:, -(n_samples // 10) :] = 0
    beats[0, -1] = 0.5  # one fills its row
    return beats.astype(np.float32)


def write_table(path: Path, beats: np.ndarray, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([beats, labels]), delimiter=",", fmt="%.18e")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The four public tables, small."""
    folder = tmp_path / "arrays"
    for name, n, classes in (("mitbih_train", 60, 5), ("mitbih_test", 20, 5)):
        write_table(folder / f"{name}.csv", make_beats(n, 187), np.arange(n) % classes)
    for number, name in enumerate(("ptbdb_normal", "ptbdb_abnormal")):
        write_table(folder / f"{name}.csv", make_beats(15, 187, seed=5), np.full(15, number))
    return tmp_path


def built(build_in: Build, source: Path, home: str = "home", **section: object) -> Store:
    return open_store(build_in(source, home, dataset="arrays", **section).place)


def test_arrays_below_a_linked_folder_are_read_once(tables: Path, tmp_path: Path, build_in: Build) -> None:
    disk = tmp_path / "disk"
    (tables / "arrays").rename(disk)
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays/tables").symlink_to(disk)
    (disk / "back").symlink_to(tmp_path / "arrays")
    assert built(build_in, tmp_path, fs=125).n_rows == 80


def test_public_tables_become_beats(tables: Path, build_in: Build) -> None:
    store = built(build_in, tables, fs=125, reps="mtf:size=32")
    assert store.column("record").tolist() == ["arrays/mitbih_test"] * 20 + ["arrays/mitbih_train"] * 60
    np.testing.assert_allclose(store.signal[20:, 0] * store.scale_mv, make_beats(60, 187), atol=0.5e-3)
    assert store.label("aami").values.tolist() == [*np.arange(20) % 5, *np.arange(60) % 5]
    assert store.label("aami").classes == ("N", "S", "V", "F", "Q")
    assert store.column("valid_n").tolist()[20:23] == [187, 169, 169]
    assert (store.fs_hz, store.attributes["unit"]) == (125, "given:beat")
    assert store.representation("mtf").shape == (80, 1, 32, 32)


def test_folder_of_any_name_is_read_where_it_lies(tables: Path, build_in: Build) -> None:
    assert built(build_in, tables / "arrays", fs=125).n_rows == 80


def test_published_parts_are_a_protocol_that_leaks(tables: Path, build_in: Build) -> None:
    store = built(build_in, tables, fs=125)
    split = store.split()
    assert split.protocol == "as-published"
    assert (split.values[:20] == TEST).all()
    assert sorted({int(value) for value in split.values[20:]}) == [TRAIN, VALIDATION]
    assert int((split.values == VALIDATION).sum()) == 10  # a fifth of each class, rounded
    assert store.protocols == ["as-published", "intrapatient"]
    for protocol in store.protocols:
        assert store.split(protocol).leaks == ("patient", "neighbour")
        assert "name no patient" in store.split(protocol).leak_note


def test_tables_of_ptb_are_chosen_by_the_rule(tables: Path, build_in: Build) -> None:
    store = built(build_in, tables, fs=125, label_rule="mi")
    assert set(store.column("record")) == {"arrays/ptbdb_normal", "arrays/ptbdb_abnormal"}
    assert store.label("mi").classes == ("normal", "infarction")
    assert store.label("mi").values.sum() == 15
    assert store.protocols == ["intrapatient"]


@pytest.mark.parametrize("shape", [(186,), (1, 186), (186, 1)], ids=["flat", "leads first", "time first"])
def test_pairs_of_npy_files(tmp_path: Path, build_in: Build, shape: tuple[int, ...]) -> None:
    folder = tmp_path / "arrays/balanced"
    folder.mkdir(parents=True)
    for part, n in (("train", 40), ("val", 10), ("test", 15)):
        np.save(folder / f"X_{part}.npy", make_beats(n, 186).reshape(n, *shape))
        np.save(folder / f"y_{part}.npy", np.arange(n) % 5)
    store = built(build_in, tmp_path, fs=360)
    assert store.signal.shape == (65, 1, 186)
    counts = [int((store.split().values == part).sum()) for part in (TRAIN, VALIDATION, TEST)]
    assert counts == [40, 10, 15]
    sources = (Path(store.location) / "sources.sha256").read_text()
    assert "balanced/X_train.npy" in sources
    assert "balanced/y_train.npy" in sources


def test_tensors_of_ecgtransform(tmp_path: Path, build_in: Build) -> None:
    folder = tmp_path / "arrays/mit"
    folder.mkdir(parents=True)
    for part, n in (("train", 30), ("val", 10), ("test", 10)):
        samples = torch.from_numpy(make_beats(n, 186)[:, None])
        torch.save({"samples": samples, "labels": torch.arange(n) % 5}, folder / f"{part}.pt")
    store = built(build_in, tmp_path, fs=125)
    assert store.signal.shape == (50, 1, 186)
    assert np.bincount(store.split().values).tolist() == [30, 10, 10]


def test_batches_of_ptbxl_records(tmp_path: Path, build_in: Build) -> None:
    generator = np.random.default_rng(0)
    for part, n_batches in (("train", 3), ("val", 1), ("test", 1)):
        for batch in range(n_batches):
            for kind, rows in (
                ("signals", generator.normal(0, 0.3, (4, 1000, 3)).astype(np.float32)),
                ("images", np.zeros((4, 3, 8, 8), np.float32)),
                ("labels", np.array([[1, *row] for row in generator.integers(0, 2, (4, 4))])),
            ):
                place = tmp_path / "arrays" / part / kind
                place.mkdir(parents=True, exist_ok=True)
                np.save(place / f"batch_{batch:04d}.npy", rows)
    section = {"fs": 100, "leads": "II,V1,V5", "label_rule": "superclass"}
    store = built(build_in, tmp_path, **section)
    assert store.signal.shape == (20, 3, 1000)
    label = store.label("superclass")
    assert label.multilabel
    assert label.values[-4:].tolist() == np.load(tmp_path / "arrays/val/labels/batch_0000.npy").tolist()
    assert np.bincount(store.split().values + 1).tolist() == [0, 12, 4, 4]
    assert store.attributes["unit"] == "given:record"


def test_one_hot_labels_are_class_numbers(tmp_path: Path, build_in: Build) -> None:
    for kind, rows in (("signals", make_beats(10, 186)[:, :, None]), ("labels", np.eye(5)[np.arange(10) % 5])):
        (tmp_path / "arrays/test" / kind).mkdir(parents=True)
        np.save(tmp_path / f"arrays/test/{kind}/batch_00000.npy", rows)
    store = built(build_in, tmp_path, fs=360)
    assert store.label("aami").values.tolist() == [*range(5), *range(5)]


class Payload:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_nothing_is_unpickled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"X_train{suffix}"
    if suffix == ".npy":
        np.save(path, np.array([Payload()], dtype=object), allow_pickle=True)
    else:
        torch.save({"samples": Payload(), "labels": torch.zeros(1)}, path)
    with pytest.raises(RecordError, match="cannot be read"):
        read_signals(path)
    with pytest.raises(SystemExit, match="unpickled"):
        pickle.loads(pickle.dumps(Payload()))  # so the file would have done harm


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mitbih_train.csv", "train"),
        ("X_val.npy", "validation"),
        ("valid/signals/b.npy", "validation"),
        ("test.pt", "test"),
        ("ptbdb_normal.csv", ""),
        ("contest/X_all.npy", ""),
        ("latest/x.pt", ""),
    ],
)
def test_parts_are_words_of_the_path(tmp_path: Path, name: str, part: str) -> None:
    assert named_part(tmp_path / name, tmp_path) == part


def test_files_of_signals_and_their_labels(tmp_path: Path) -> None:
    names = ["a.csv", "X_a.npy", "y_a.npy", "b/signals/1.npy", "b/labels/1.npy", "b/images/1.npy", "c.pt", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_array_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["X_a.npy", "a.csv", "b/signals/1.npy", "c.pt"]
    labels = [label_file(path).relative_to(tmp_path).as_posix() for path in found]
    assert labels == ["y_a.npy", "a.csv", "b/labels/1.npy", "c.pt"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "do not say their sampling rate"),
        ({"fs": 125, "unit": "record"}, "leave --unit out"),
        ({"fs": 125, "noise": "ma@6"}, "arrays are cut and scaled already"),
        ({"fs": 125, "label_rule": "rhythm4"}, "unknown label rule"),
    ],
)
def test_request_is_refused_before_files(tables: Path, build_in: Build, section: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_in(tables, dataset="arrays", **section)


def test_rate_of_an_export_is_known(tmp_path: Path, build_in: Build) -> None:
    for name, fs_hz in (("a", 250.0), ("b", 250.0), ("c", 360.0)):
        folder = tmp_path / "arrays" / name
        folder.mkdir(parents=True)
        np.save(folder / "X_train.npy", make_beats(10, 186))
        np.save(folder / "y_train.npy", np.arange(10) % 5)
        if name == "c":
            assert built(build_in, tmp_path, "one").fs_hz == 250
        (folder / "export.json").write_text(json.dumps({"classes": list("NSVFQ"), "fs_hz": fs_hz}))
    with pytest.raises(UserError, match="do not say their sampling rate"):
        build_in(tmp_path, "two", dataset="arrays")


def test_recordings_are_not_ready_cut(raw: Path, build_in: Build) -> None:
    with pytest.raises(UserError, match="mitdb holds recordings; write record"):
        build_in(raw, dataset="mitdb", unit="given:beat")


@pytest.mark.parametrize(
    ("labels", "section", "message"),
    [
        (np.arange(10), {}, "has 10 classes, aami has 5"),
        (np.arange(9) % 5, {}, "10 rows and 9 labels"),
        (np.full(10, 0.5), {}, "holds a label 0.5, which is no class number"),
        (np.full(10, -1), {}, "holds a label -1, which is no class number"),
        (np.full(10, np.inf), {}, "holds a label inf, which is no class number"),
        (np.full(10, "N"), {}, "not class numbers"),
        (np.full((10, 5), 255), {"label_rule": "superclass"}, "has a label 255; each class of superclass is 0 or 1"),
        (np.ones((10, 5)), {}, "try --label-rule superclass"),
        (np.arange(10) % 5, {"label_rule": "superclass"}, "try --label-rule aami or mi"),
        (np.arange(10) % 5, {"leads": "II,V1"}, "holds 1 leads, --leads names 2"),
        (None, {}, "y_train.npy is missing"),
    ],
)
def test_pair_that_does_not_fit_says_why(
    tmp_path: Path, build_in: Build, labels: np.ndarray | None, section: dict, message: str
) -> None:
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/X_train.npy", make_beats(10, 186))
    if labels is not None:
        np.save(tmp_path / "arrays/y_train.npy", labels)
    with pytest.raises(NothingLeftError, match=message):
        build_in(tmp_path, dataset="arrays", fs=125, **section)


@pytest.mark.parametrize("held", [[1.0], np.zeros((1, 187))], ids=["lists", "ndarrays"])
def test_dict_of_other_things_than_tensors_says_so(tmp_path: Path, held: object) -> None:
    torch.save({"samples": held, "labels": torch.zeros(1)}, tmp_path / "train.pt")
    with pytest.raises(RecordError, match=r"train\.pt .*tensors"):
        read_signals(tmp_path / "train.pt")


def test_tensors_that_were_trained_on_are_read(tmp_path: Path) -> None:
    samples = torch.ones(2, 1, 9, requires_grad=True)
    torch.save({"samples": samples, "labels": torch.zeros(2)}, tmp_path / "train.pt")
    assert (read_signals(tmp_path / "train.pt") == 1).all()


def test_hidden_files_and_folders_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "._X_train.npy").touch()
    (tmp_path / "X_old.npy").mkdir()
    assert find_array_files(tmp_path) == []


def test_files_that_would_be_one_record_are_refused(tables: Path, build_in: Build) -> None:
    torch.save({"samples": torch.ones(2, 1, 9), "labels": torch.zeros(2)}, tables / "arrays/mitbih_train.pt")
    with pytest.raises(UserError, match="mitbih_train is two files that differ in the suffix alone"):
        build_in(tables, dataset="arrays", fs=125)


def test_reason_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store names no folder of its maker's."""

    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(np, "load", refuse)
    np.save(tmp_path / "X_train.npy", np.ones((1, 9)))
    with pytest.raises(RecordError) as caught:
        read_signals(tmp_path / "X_train.npy")
    assert str(tmp_path) not in caught.value.reason


def test_table_with_other_columns_is_left_out(tables: Path, build_in: Build) -> None:
    np.savetxt(tables / "arrays/notes.csv", np.zeros((3, 4)), delimiter=",")
    (left_out,) = build_in(tables, dataset="arrays", fs=125).quarantined
    assert (left_out.record, left_out.reason) == (
        "arrays/notes",
        "notes.csv has 4 columns, not 187 samples and a label",
    )


NUMBERED = ",".join(map(str, range(188)))


@pytest.mark.parametrize("header", [NUMBERED, NUMBERED.replace("187", "label"), NUMBERED.replace(",", ",c")])
def test_line_with_the_names_of_the_columns_is_no_beat(tables: Path, build_in: Build, header: str) -> None:
    plain = built(build_in, tables, fs=125)
    path = tables / "arrays/mitbih_train.csv"
    path.write_text(f"{header}\n{path.read_text()}")
    named = built(build_in, tables, "named", fs=125)
    assert named.column("record").tolist() == plain.column("record").tolist()
    np.testing.assert_array_equal(named.signal[:], plain.signal[:])


@pytest.mark.parametrize("first_label", ["nan", ""])
def test_damaged_first_line_is_no_header(tables: Path, build_in: Build, first_label: str) -> None:
    path = tables / "arrays/mitbih_train.csv"
    first, _, others = path.read_text().partition("\n")
    path.write_text(f"{first.rpartition(',')[0]},{first_label}\n{others}")
    (left_out,) = build_in(tables, dataset="arrays", fs=125).quarantined
    assert left_out.reason == "mitbih_train.csv holds a label nan, which is no class number"


def test_labels_may_be_true_and_false(tmp_path: Path, build_in: Build) -> None:
    has = np.random.default_rng(0).integers(0, 2, (10, 5)).astype(bool)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/X_train.npy", make_beats(10, 186))
    np.save(tmp_path / "arrays/y_train.npy", has)
    store = built(build_in, tmp_path, fs=100, label_rule="superclass")
    np.testing.assert_array_equal(store.label("superclass").values, has)


@pytest.mark.parametrize(
    ("factor", "row", "message"),
    [
        (1, 3, "lead II of row 3 has no values"),
        (1000, None, "which no ECG does .*, or the unit of an array not mV"),
    ],
)
def test_rows_that_will_not_do_are_named(
    tmp_path: Path, build_in: Build, factor: int, row: int | None, message: str
) -> None:
    beats = make_beats(10, 186) * factor
    if row is not None:
        beats[row] = np.nan
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/X_train.npy", beats)
    np.save(tmp_path / "arrays/y_train.npy", np.arange(10) % 5)
    with pytest.raises(NothingLeftError, match=message):
        build_in(tmp_path, dataset="arrays", fs=125)


def test_folder_without_arrays_says_what_files_are_read(tmp_path: Path, build_in: Build) -> None:
    np.save(tmp_path / "x_train.npy", make_beats(10, 186))
    with pytest.raises(MissingDataError, match=r"by --from DIR: \*\.csv of 188 columns, X_\*\.npy with y_\*\.npy"):
        build_in(tmp_path, dataset="arrays", fs=125)


def test_nothing_passes_from_one_row_into_the_next(tmp_path: Path, build_in: Build) -> None:
    """Rows may be of different parts: neither a filled edge nor a filter takes anything from the row beside."""
    beats = np.random.default_rng(0).uniform(0, 1, (12, 1, 186)).astype(np.float32)
    beats[0, 0, -3:] = np.nan
    beats[1, 0, :2] = np.nan
    alone = beats.copy()
    alone[2::2] += 5.0
    stored = []
    for name, rows in (("together", beats), ("alone", alone)):
        folder = tmp_path / name / "arrays"
        folder.mkdir(parents=True)
        np.save(folder / "X_train.npy", rows)
        np.save(folder / "y_train.npy", np.arange(12) % 5)
        given = {"fs": 360, "leads": "MLII"}
        plain = built(build_in, tmp_path / name, home=f"{name}-plain", **given)
        np.testing.assert_allclose(plain.signal[0, 0, -3:] * plain.scale_mv, beats[0, 0, -4], atol=0.5e-3)
        np.testing.assert_allclose(plain.signal[1, 0, :2] * plain.scale_mv, beats[1, 0, 2], atol=0.5e-3)
        stored.append(built(build_in, tmp_path / name, home=name, filters="bandpass", **given).signal[:])
    np.testing.assert_array_equal(stored[0][:2], stored[1][:2])
    np.testing.assert_array_equal(stored[0][3::2], stored[1][3::2])
    assert np.abs(stored[0]).max() < 2_000
