"""What is exported reads back in the libraries of those who read it, row for row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import wfdb

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgprep.export import Part, export_store, find_format
from ecgprep.formats.wfdb import write_wfdb
from ecgprep.representations import render_all, stored_rep
from pipelines.workspace import Workspace
from store.balance import mix_rows
from store.errors import DamagedStoreError, ResourceError, UnknownNameError, UserError
from store.read import Store, open_store
from store.vocabulary import SYNTHETIC_MARK, TEST, TRAIN, VALIDATION
from tests.recordings import write_ptbxl_record

SMOTE = "smote-60-k2"
PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


@pytest.fixture(scope="module")
def beats(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    section: dict[str, Any] = {"dataset": "mitdb", "reps": "gaf:size=16,spectrogram:size=16", "workers": 0}
    section |= {"balance": "smote", "samples_per_class": 60, "balance_neighbours": 2}
    prepare = Prepare.model_validate({**section, "balance_protocols": "interpatient,kfold-5"})
    return open_store(build(prepare, Workspace(tmp_path_factory.mktemp("beats")), raw).place)


@pytest.fixture(scope="module")
def records(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    prepare = Prepare.model_validate({"dataset": "ptbxl", "leads": "II,V1,V5", "reps": "gaf:size=16", "workers": 0})
    return open_store(build(prepare, Workspace(tmp_path_factory.mktemp("records")), raw).place)


def known_rows(store: Store, part: int, protocol: str | None = None, fold: int | None = None) -> np.ndarray:
    split = store.split(protocol).of_fold(fold)
    values = store.label(split.scheme).values
    known = (values != 255).all(axis=1) if values.ndim > 1 else values >= 0
    return np.flatnonzero((split.values == part) & known)


def signals_mv(store: Store, rows: np.ndarray) -> np.ndarray:
    return store.signal[:][rows].astype(np.float32) * np.float32(0.001)


def mixed_counts(store: Store) -> np.ndarray:
    balance = store.balance("interpatient", SMOTE)
    first, second = (store.signal[:][parent] for parent in balance.parents.T)
    return mix_rows(first, second, balance.weights)


def joined(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("*.npy"))])


def test_npy_batches_of_records(records: Store, tmp_path: Path) -> None:
    place = export_store(records, tmp_path / "out", find_format("npy"), batch_size=4)
    for name, part in PARTS.items():
        rows = known_rows(records, part)
        np.testing.assert_array_equal(joined(place / name / "signals"), signals_mv(records, rows).transpose(0, 2, 1))
        np.testing.assert_array_equal(joined(place / name / "labels"), records.label().values[rows] == 1)
        images = joined(place / name / "images/gaf")
        assert images.dtype == np.float32
        np.testing.assert_allclose(images, records.representation("gaf")[:][rows] / 255, atol=1e-6)
    first = place / "train/signals/batch_00000.npy"
    assert np.load(first).shape == (4, 1000, 3)
    about = json.loads((place / "export.json").read_text())
    assert (about["digest"], about["protocol"], about["leads"]) == (records.digest, "ptbxl-folds", ["II", "V1", "V5"])


def test_pictures_are_drawn_by_the_engine_of_the_store(raw: Path, tmp_path: Path) -> None:
    section = {"dataset": "ptbxl", "leads": "II", "reps": "cwt:size=16", "engine": "reference", "workers": 0}
    store = open_store(build(Prepare.model_validate(section), Workspace(tmp_path), raw).place)
    place = export_store(store, tmp_path / "out", find_format("npy"))
    rows = known_rows(store, TRAIN)
    rep = stored_rep("cwt", store.representation("cwt").attrs)
    assert rep is not None
    stored = store.representation("cwt")[:][rows]
    assert (render_all([rep], store.signal[:][rows])["cwt"] != stored).any(), "the engines differ"
    np.testing.assert_array_equal(np.rint(joined(place / "train/images/cwt") * 255), stored)


def test_pictures_of_synthetic_rows_are_drawn_from_mixed_signals(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("npy"), balance=SMOTE, batch_size=100)
    counts = mixed_counts(beats)
    n_kept = int(beats.balance("interpatient", SMOTE).keep.sum())
    for name in ("gaf", "spectrogram"):
        rep = stored_rep(name, beats.representation(name).attrs)
        assert rep is not None
        drawn = render_all([rep], counts)[name].astype(np.float32)
        expected = drawn / 255 if rep.value_range else drawn
        np.testing.assert_allclose(joined(place / "train/images" / name)[n_kept:], expected, atol=1e-6)


@pytest.mark.parametrize("balance", [None, SMOTE], ids=["raw", "balanced"])
@pytest.mark.parametrize("to", ["pairs", "pt"])
def test_pairs_and_tensors_of_beats(beats: Store, tmp_path: Path, to: str, balance: str | None) -> None:
    place = export_store(beats, tmp_path / "out", find_format(to), balance=balance, batch_size=50)
    label = beats.label("aami").values
    for name, part in PARTS.items():
        rows = known_rows(beats, part)
        x, y = signals_mv(beats, rows), label[rows]
        if balance and part == TRAIN:
            drawn = beats.balance("interpatient", balance)
            x = np.concatenate([signals_mv(beats, np.flatnonzero(drawn.keep)), mixed_counts(beats) * np.float32(0.001)])
            y = np.concatenate([label[drawn.keep], drawn.classes])
        if to == "pairs":
            np.testing.assert_array_equal(np.load(place / f"X_{name}.npy"), x[:, 0])
            np.testing.assert_array_equal(np.load(place / f"y_{name}.npy"), y)
        else:
            short = {"validation": "val"}.get(name, name)
            held = torch.load(place / f"{short}.pt", weights_only=True)
            np.testing.assert_array_equal(held["samples"].numpy(), x)
            np.testing.assert_array_equal(held["labels"].numpy(), y)
            assert held["labels"].dtype == torch.int64
    assert len(list(place.iterdir())) == (7 if to == "pairs" else 4), "nothing else is left in the folder"


def test_parquet_of_balanced_beats(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("parquet"), balance=SMOTE, batch_size=64)
    table = pq.read_table(place / "train.parquet").to_pandas()
    balance = beats.balance("interpatient", SMOTE)
    kept = np.flatnonzero(balance.keep)
    np.testing.assert_array_equal(table["row"], [*kept, *([-1] * len(balance.parents))])
    np.testing.assert_array_equal(table[["parent_a", "parent_b"]][len(kept) :], balance.parents)
    np.testing.assert_array_equal(np.stack(table["signal_MLII"])[: len(kept)], signals_mv(beats, kept)[:, 0])
    np.testing.assert_array_equal(table["symbol"][: len(kept)], beats.column("symbol")[kept])
    assert table["symbol"][len(kept) :].isna().all()
    classes = [*beats.label("aami").values[kept], *balance.classes]
    np.testing.assert_array_equal(table[[f"y_{name}" for name in "NSVFQ"]].to_numpy().argmax(axis=1), classes)


def test_wfdb_records_read_back(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("wfdb"))
    rows = known_rows(beats, TEST)
    names = (place / "test/RECORDS").read_text().split()
    read = [wfdb.rdrecord(str(place / "test" / name), physical=False) for name in names]
    assert {(record.fs, *record.units, *record.sig_name) for record in read} == {(360.0, "mV", "MLII")}
    counts = np.concatenate([record.d_signal.reshape(-1, 186) for record in read])
    np.testing.assert_array_equal(counts, beats.signal[:][rows][:, 0])
    marks = [wfdb.rdann(str(place / "test" / name), "atr") for name in names]
    assert [s for mark in marks for s in mark.symbol] == beats.column("symbol")[rows].tolist()
    assert all((mark.sample % 186 == 93).all() for mark in marks)
    physical = wfdb.rdrecord(str(place / "test" / names[0])).p_signal[:186, 0]
    np.testing.assert_allclose(physical, signals_mv(beats, rows[:1])[0, 0], atol=1e-6)


def test_wfdb_records_hold_no_padding(raw: Path, tmp_path: Path) -> None:
    """Zeros to the length of the longest row would be a flat line that was never recorded."""
    prepare = Prepare(dataset="mitdb", unit="beat:kachuee187", workers=0)
    padded = open_store(build(prepare, Workspace(tmp_path / "home"), raw).place)
    record, valid_n = padded.column("record"), padded.column("valid_n")
    rows = np.flatnonzero(record == record[0])
    assert len(set(valid_n[rows].tolist())) > 1
    write_wfdb(tmp_path, Part(padded, "train", padded.label(), rows, None, 8), lambda n: None)
    place = str(tmp_path / "train" / record[0].replace("/", "_"))
    expected = np.concatenate([padded.signal[row, 0, : valid_n[row]] for row in rows.tolist()])
    np.testing.assert_array_equal(wfdb.rdrecord(place, physical=False).d_signal[:, 0], expected)
    assert wfdb.rdann(place, "atr").sample.tolist() == [0, *np.cumsum(valid_n[rows])[:-1]]


def test_wfdb_notes_the_class_of_beats_that_start_at_their_peak(beats: Store, tmp_path: Path) -> None:
    """The reader drops a comment at sample 0; a beat of another database has a symbol, and stays there."""
    records = beats.column("record")
    rows = np.flatnonzero(records == records[0])
    unknown = open_store(beats.location)
    unknown.attributes["unit"] = "beat:kachuee187"
    for store, first in ((unknown, 0), (Unannotated(unknown), 1)):
        whole = Part(store, f"part{first}", store.label(), rows, None, 8)
        write_wfdb(tmp_path, whole, lambda n: None)
        mark = wfdb.rdann(str(tmp_path / whole.name / records[0].replace("/", "_")), "atr")
        assert mark.sample.tolist() == [first, *range(186, 186 * len(rows), 186)]


class Unannotated:
    """A store whose beats have no symbols."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.columns = [name for name in store.columns if name != "symbol"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def test_wfdb_of_records_notes_their_classes(records: Store, tmp_path: Path) -> None:
    place = export_store(records, tmp_path / "out", find_format("wfdb"))
    rows = known_rows(records, TEST)
    label = records.label()
    for row, name in zip(rows, (place / "test/RECORDS").read_text().split(), strict=True):
        mark = wfdb.rdann(str(place / "test" / name), "atr")
        expected = "+".join(label.classes[i] for i in np.flatnonzero(label.values[row] == 1))
        assert (mark.symbol, [note.strip("\x00") for note in mark.aux_note]) == (['"'], [expected])


def test_wfdb_records_of_any_folder_have_names_of_their_own(tmp_path: Path) -> None:
    paths = ["a/b_1", "a_b/1", "my ward/r", "\u00fc/r"]
    for number, path in enumerate(paths):
        write_ptbxl_record(tmp_path / "raw" / path, 100, np.random.default_rng(number))
    lines = ["record,label,patient", *(f"{path},{'NS'[i % 2]},{i}" for i, path in enumerate(paths))]
    (tmp_path / "raw/labels.csv").write_text("\n".join(lines), encoding="utf-8")
    prepare = Prepare(dataset="wfdb", labels="labels.csv", leads=("II",), workers=0)
    store = open_store(build(prepare, Workspace(tmp_path / "home"), tmp_path / "raw").place)
    whole = Part(store, "train", store.label(), np.arange(4), None, 4)
    write_wfdb(tmp_path / "out", whole, lambda n: None)
    names = (tmp_path / "out/train/RECORDS").read_text().split()
    assert names == ["wfdb_a_b_1", "wfdb_a_b_1_", "wfdb_my_ward_r", "wfdb___r"]
    for row, name in enumerate(names):
        read = wfdb.rdrecord(str(tmp_path / "out/train" / name), physical=False)
        np.testing.assert_array_equal(read.d_signal.T, store.signal[row])


def test_run_over_folds(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("pairs"), protocol="kfold-5", fold=2)
    np.testing.assert_array_equal(
        np.load(place / "X_test.npy"), signals_mv(beats, known_rows(beats, TEST, "kfold-5", 2))[:, 0]
    )
    with pytest.raises(UserError, match="folds 0 to 4; name one"):
        export_store(beats, tmp_path / "other", find_format("pairs"), protocol="kfold-5")


def test_nothing_is_overwritten_unless_told_and_nothing_is_left_half_done(beats: Store, tmp_path: Path) -> None:
    place = tmp_path / "out"

    def stop(folder: Path, part: Any, advance: Any) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_store(beats, place, stop)
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    (tmp_path / ".exporting-out").mkdir()
    (tmp_path / ".exporting-out/half").touch()  # of one that was killed
    export_store(beats, place, find_format("pairs"))
    assert not (place / "half").exists()
    with pytest.raises(UserError, match=r"is there already.*--replace"):
        export_store(beats, place, find_format("pt"))
    export_store(beats, place, find_format("pt"), replace=True)
    assert sorted(path.name for path in place.iterdir()) == ["export.json", "test.pt", "train.pt", "val.pt"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=r"no export made it"):
        export_store(beats, tmp_path / "mine", find_format("pt"), replace=True)


def test_replaced_export_is_never_half_removed(beats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = export_store(beats, tmp_path / "out", find_format("pairs"))

    def stop(folder: Path, **_: Any) -> None:
        if (folder / "export.json").exists() and folder.name != ".exporting-out":
            (folder / "X_train.npy").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            export_store(beats, place, find_format("pt"), replace=True)
    assert not place.exists()
    export_store(beats, place, find_format("pt"), replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.lock", "out"]


def test_of_two_exports_to_one_folder_the_second_is_refused(beats: Store, tmp_path: Path) -> None:
    def write(folder: Path, part: Part, advance: Any) -> None:
        (folder / part.name).touch()
        with pytest.raises(ResourceError, match=r"another export to .*out is under way"):
            export_store(beats, tmp_path / "out", find_format("pairs"))

    place = export_store(beats, tmp_path / "out", write)
    assert sorted(path.name for path in place.iterdir()) == ["export.json", "test", "train", "validation"]


def test_link_to_a_folder_is_followed(beats: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    for layout in ("pairs", "pt"):
        export_store(beats, tmp_path / "link", find_format(layout), replace=True)
        assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/train.pt").exists()


def test_folder_that_one_stands_in_is_replaced(beats: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(export_store(beats, tmp_path / "out", find_format("pairs")))
    export_store(beats, Path(), find_format("pt"), replace=True)
    assert (tmp_path / "out/train.pt").exists()


def test_signals_that_go_away_meanwhile_are_not_exported(beats: Store, tmp_path: Path) -> None:
    """Zarr would read them as fill value."""
    shutil.copytree(beats.location, tmp_path / "store.zarr")
    store = open_store(tmp_path / "store.zarr")

    def write(folder: Path, part: Part, advance: Any) -> None:
        assert store.signal.shape
        shutil.rmtree(tmp_path / "store.zarr/signal")
        find_format("pairs")(folder, part, advance)

    with pytest.raises(DamagedStoreError, match="have gone"):
        export_store(store, tmp_path / "out", write)
    assert not (tmp_path / "out").exists()


def test_place_that_is_no_folder_is_refused(beats: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: cannot be made"):
        export_store(beats, tmp_path / "file/out", find_format("pairs"))
    with pytest.raises(UserError, match=r"not to a URL"):
        export_store(beats, Path("s3://bucket/out"), find_format("pairs"))


def test_exports_of_synthetic_recordings_say_so_when_they_are_read_back(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw / "mitdb", tmp_path / "mitdb")
    (tmp_path / "mitdb" / SYNTHETIC_MARK).touch()
    workspace = Workspace(tmp_path / "home")
    drawn = open_store(build(Prepare(dataset="mitdb", workers=0), workspace, tmp_path).place)
    place = export_store(drawn, tmp_path / "out", find_format("pairs"))
    again = open_store(build(Prepare(dataset="arrays", fs=360, workers=0), workspace, place).place)
    assert (drawn.synthetic, again.synthetic) == (True, True)
    parts = export_store(drawn, tmp_path / "parts", find_format("wfdb"))
    assert all((parts / part / SYNTHETIC_MARK).exists() for part in PARTS)


def test_export_is_read_back_with_its_own_classes_and_rate_alone(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("pairs"))
    again = Prepare(dataset="arrays", fs=360, workers=0)
    for other, message in (
        ({"label_rule": "mi"}, "N, S, V, F, Q, not .* --label-rule aami"),
        ({"fs": 125}, "--fs 360"),
    ):
        with pytest.raises(UserError, match=rf"export\.json: .*{message}"):
            build(again.model_copy(update=other), Workspace(tmp_path / "home"), place)
    about = json.loads((place / "export.json").read_text())
    (place / "export.json").write_text(json.dumps({**about, "classes": ["N", "A", "O", "~"]}))
    with pytest.raises(UserError, match="the classes are N, A, O, ~, not those of aami; arrays knows those of aami"):
        build(again, Workspace(tmp_path / "home"), place)
    (place / "export.json").write_text("of another program")
    build(again, Workspace(tmp_path / "home"), place)


def test_wrong_names(beats: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'parquet'"):
        find_format("parket")
    with pytest.raises(UserError, match="synthetic rows are in none"):
        export_store(beats, tmp_path / "out", find_format("wfdb"), balance=SMOTE)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnknownNameError, match="ecgprep build --balance adasyn"):
        export_store(beats, tmp_path / "out", find_format("pt"), balance="adasyn")


def test_progress_counts_rows(beats: Store, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    export_store(beats, tmp_path / "out", find_format("pairs"), progress=lambda *step: told.append(step))
    n_rows = sum(len(known_rows(beats, part)) for part in PARTS.values())
    assert told[-1] == ("exporting", n_rows, n_rows)


def test_synthetic_rows_that_are_read_back_train_alone(beats: Store, tmp_path: Path) -> None:
    place = export_store(beats, tmp_path / "out", find_format("pairs"), balance=SMOTE)
    (tmp_path / "cut").mkdir()
    for name in ("export.json", "X_train.npy", "y_train.npy", "X_test.npy", "y_test.npy"):
        shutil.copy(place / name, tmp_path / "cut")
    protocols = {}
    for folder in (place, tmp_path / "cut"):
        built = build(Prepare(dataset="arrays", fs=360, workers=0), Workspace(tmp_path / folder.name / "home"), folder)
        again = open_store(built.place)
        protocols[folder.name] = {name: again.split(name).values for name in again.protocols}
    assert list(protocols["out"]) == ["as-published"]
    assert np.bincount(protocols["out"]["as-published"]).tolist() == [
        len(np.load(place / f"y_{part}.npy")) for part in PARTS
    ]
    assert protocols["cut"] == {}  # training rows would have to validate
