from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
import zarr
from safetensors import safe_open

import ecgtrain.run
from ecgtrain.calibration import calibrate
from ecgtrain.config import RunConfig
from ecgtrain.distributed import World
from ecgtrain.environment import command
from ecgtrain.predicting import Said
from ecgtrain.predictions import read_predictions
from ecgtrain.progress import Display
from ecgtrain.run import execute
from ecgtrain.run_folder import RunFolder, find_run, list_runs, new_run
from store.errors import MissingDataError, ResourceError, UserError
from store.read import open_store
from store.vocabulary import TEST, VALIDATION

BEATS = {"model": "resnet1d_wang", "epochs": 2, "batch_size": 200, "protocol": "interpatient", "device": "cpu"}
COLUMNS = {
    "row": pa.int64(),
    "window": pa.int16(),
    "fold": pa.int16(),
    "record": pa.string(),
    "patient": pa.string(),
    "database": pa.string(),
    "sample": pa.int64(),
    "fs_hz": pa.float64(),
    "t_s": pa.float64(),
    "symbol": pa.string(),
    "sex": pa.string(),
    "age": pa.float64(),
    "quality": pa.float64(),
}


def columns_of(classes):
    parts = (("y", pa.int8()), ("logit", pa.float32()), ("p", pa.float32()))
    return COLUMNS | {f"{prefix}_{name}": kind for prefix, kind in parts for name in classes}


@pytest.fixture(scope="module")
def beats_run(beats_store, tmp_path_factory):
    folder = new_run(tmp_path_factory.mktemp("runs"), None, "resnet1d_wang-interpatient")
    assert execute(RunConfig(**BEATS, store=beats_store.location, save_features=True), beats_store, folder)
    return folder


@pytest.fixture(scope="module")
def records_run(records_store, tmp_path_factory):
    folder = new_run(tmp_path_factory.mktemp("runs"), "pictures", "")
    config = RunConfig(model="resnet18", inputs=("gaf",), epochs=1, store=records_store.location, device="cpu")
    assert execute(config, records_store, folder)
    return folder


def test_a_run_leaves_what_the_contract_names(beats_run):
    found = {path.relative_to(beats_run.path).as_posix() for path in beats_run.path.rglob("*") if path.is_file()}
    (board,) = (name for name in found if name.startswith("tensorboard/"))
    assert found - {board, ".lock"} == {
        "calibration.json",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "checkpoints/previous-last.safetensors",
        "config.yaml",
        "curves.png",
        "environment.json",
        "features/test.parquet",
        "history.jsonl",
        "predictions/test.parquet",
        "predictions/validation.parquet",
        "preprocessing.json",
        "run.log",
        "state",
        "steps.jsonl",
        "trained_on.json",
    }
    assert beats_run.name == "resnet1d_wang-interpatient-1"
    assert beats_run.state == "finished"


def test_saved_features_are_those_of_the_test_rows(beats_run):
    table, _ = read_predictions(beats_run.path / "predictions" / "test.parquet")
    assert pq.read_table(beats_run.path / "features" / "test.parquet")["row"].equals(table["row"])


def test_features_of_a_model_without_a_last_layer_are_refused_before_it_is_trained(beats_store, tmp_path):
    folder = new_run(tmp_path, "trees", "")
    config = RunConfig(model="boosting", store=beats_store.location, device="cpu", save_features=True)
    assert not execute(config, beats_store, folder)
    assert "has no linear layer" in (folder.path / "run.log").read_text()
    assert not (folder.path / "history.jsonl").exists()


def test_the_command_line_is_kept(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/ecgtrain", "run", "--set", "name=a b"])
    assert command() == "ecgtrain run --set 'name=a b'"
    monkeypatch.setattr("sys.argv", ["/lib/ecgtrain/__main__.py", "run"])
    assert command() == "ecgtrain run"


def test_the_history_has_a_line_an_epoch(beats_run):
    lines = (beats_run.path / "history.jsonl").read_text().splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines):
        entry = json.loads(line)
        assert list(entry) == [
            *("epoch", "train_loss", "validation_loss", "watched", "learning_rate", "seconds"),
            *("validation", "per_class"),
        ]
        assert entry["epoch"] == number
        assert set(entry["validation"]) == {"f1", "auroc"}
        assert set(entry["per_class"]) == {"N", "S", "V", "F", "Q"}


def test_the_configuration_is_read_back_as_it_was(beats_run, beats_store):
    assert beats_run.config() == RunConfig(**BEATS, store=beats_store.location, save_features=True)
    assert yaml.safe_load((beats_run.path / "config.yaml").read_text())["optimizer"] == {
        "name": "adam",
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
    }


@pytest.mark.parametrize(("name", "part"), [("validation", VALIDATION), ("test", TEST)])
def test_predictions_hold_the_rows_of_their_part_with_what_the_store_knows(beats_run, beats_store, name, part):
    table, footer = read_predictions(beats_run.path / "predictions" / f"{name}.parquet")
    label = beats_store.label("aami")
    rows = np.flatnonzero((beats_store.split("interpatient").values == part) & (label.values >= 0))
    assert {field.name: field.type for field in table.schema} == columns_of(label.classes)
    assert table.column_names == list(columns_of(label.classes))
    np.testing.assert_array_equal(table["row"], rows)
    for column in ("record", "patient", "database", "symbol"):
        assert table[column].to_pylist() == beats_store.column(column)[rows].tolist()
    sample = beats_store.column("sample")[rows]
    np.testing.assert_array_equal(table["sample"], sample)
    np.testing.assert_allclose(table["t_s"], sample / 360.0)
    assert table["sex"].null_count == table["age"].null_count == table["quality"].null_count == len(rows)
    assert set(table["window"].to_pylist()) == {0}
    assert set(table["fold"].to_pylist()) == {-1}
    truth = np.stack([table[f"y_{c}"] for c in label.classes], axis=1)
    np.testing.assert_array_equal(truth, label.values[rows][:, None] == np.arange(5))
    logits, p = (np.stack([table[f"{prefix}_{c}"] for c in label.classes], axis=1) for prefix in ("logit", "p"))
    np.testing.assert_allclose(p, torch.from_numpy(logits).softmax(dim=1), rtol=1e-5)
    assert footer["run"] == beats_run.name


def test_the_footer_says_what_a_report_needs(beats_run, beats_store):
    _, footer = read_predictions(beats_run.path / "predictions" / "test.parquet")
    assert footer.pop("versions")["torch"] == torch.__version__.partition("+")[0]
    assert len(footer.pop("recipe_hash")) == 64
    assert footer == {
        "schema": 1,
        "task": "single",
        "classes": ["N", "S", "V", "F", "Q"],
        "score_classes": ["N", "S", "V", "F"],
        "scheme": "aami",
        "protocol": "interpatient",
        "leaks": [],
        "leak_note": "",
        "run": "resnet1d_wang-interpatient-1",
        "model": "resnet1d_wang",
        "input": "signal",
        "leads": ["MLII"],
        "context": ["rr", "typical"],
        "balance": "none",
        "test_time_copies": 0,
        "seed": 0,
        "pretraining": {"fraction": 0.0},
        "parameters": 470_085,
        "store": {
            "name": "beats.zarr",
            "digest": beats_store.digest,
            "rows_digest": beats_store.rows_digest,
            "synthetic": True,
        },
        "card": {"title": "made for tests"},
    }


def test_several_labels_a_row_have_sigmoids_thresholds_and_unknowns_that_are_null(records_run, records_store):
    table, footer = read_predictions(records_run.path / "predictions" / "test.parquet")
    assert footer["task"] == "multi"
    assert footer["input"] == "gaf"
    np.testing.assert_allclose(table["p_MI"], 1 / (1 + np.exp(-table["logit_MI"].to_numpy())), rtol=1e-5)
    rows = table["row"].to_numpy()
    np.testing.assert_array_equal(table["y_HYP"], records_store.label().values[rows, 4])
    sex, age = records_store.column("sex")[rows], records_store.column("age")[rows]
    assert table["sex"].to_pylist() == [value or None for value in sex]
    assert table["age"].to_pylist() == [None if np.isnan(value) else value for value in age]
    assert table["symbol"].null_count == len(rows)
    calibration = records_run.read_json("calibration.json")
    assert set(calibration["thresholds"]) == {"NORM", "MI", "STTC", "CD", "HYP"}
    assert all(0 < threshold < 1 for threshold in calibration["thresholds"].values())
    assert calibration["fitted_on"] == "validation"
    assert 0.05 <= calibration["temperature"] <= 20


def test_thresholds_and_temperature_are_fitted_on_validation(records_run):
    table, footer = read_predictions(records_run.path / "predictions" / "validation.parquet")
    truth, logits, probability = (
        np.stack([table[f"{prefix}_{name}"].to_numpy() for name in footer["classes"]], axis=1)
        for prefix in ("y", "logit", "p")
    )
    said = Said(logits[:, None], probability[:, None])
    assert records_run.read_json("calibration.json") == calibrate(said, truth, footer["classes"], multilabel=True)


def test_one_label_a_row_needs_no_thresholds(beats_run):
    assert beats_run.read_json("calibration.json")["thresholds"] == {}


def test_a_declared_leak_is_said_at_the_start_and_in_the_predictions(beats_store, tmp_path, capsys):
    folder = new_run(tmp_path, "leaky", "")
    config = RunConfig(**BEATS | {"protocol": "intrapatient", "epochs": 1}, store=beats_store.location)
    assert execute(config, beats_store, folder)
    assert "leaks on purpose (patient): beats of one patient on both sides" in capsys.readouterr().err
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert footer["leaks"] == ["patient"]


def test_a_failed_run_says_why_in_its_log(beats_store, tmp_path):
    folder = new_run(tmp_path, "steep", "")
    steep = {"optimizer": {"lr": 1e30}, "gradient_clip": None, "store": beats_store.location}
    assert not execute(RunConfig(**BEATS | steep), beats_store, folder)
    assert folder.state == "failed"
    assert "the loss is" in (folder.path / "run.log").read_text()


@pytest.mark.parametrize(
    ("error", "told"), [(ResourceError("memory"), True), (OSError("read"), True), (UserError("name"), False)]
)
def test_what_one_of_several_processes_meets_alone_stops_them_all(beats_store, tmp_path, monkeypatch, error, told):
    def fail(*_):
        raise error

    folder = new_run(tmp_path, "run", "")
    monkeypatch.setattr(ecgtrain.run, "_execute", fail)
    for rank in (0, 1):
        monkeypatch.setattr(ecgtrain.run, "this_world", partial(World, rank, 2))
        with pytest.raises(type(error)) if told else nullcontext():
            assert not execute(RunConfig(**BEATS), beats_store, folder)
    assert folder.state == "failed"
    assert (folder.path / "run.log").read_text().count("run failed") == 1


def test_a_process_that_is_gone_is_said_in_one_line():
    with (
        pytest.raises(ResourceError, match="another process of this training has stopped"),
        ecgtrain.run.resources_named(RunConfig(**BEATS)),
    ):
        raise RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:9620. This is typically caused by …")


def test_a_resumed_run_ends_with_the_same_predictions(beats_run, beats_store, tmp_path):
    class Killed(BaseException):
        pass

    class Kill(Display):
        def watch(self, batches, n_batches, name):
            if name == "epoch 2":
                raise Killed
            return batches

    folder = new_run(tmp_path, "again", "")
    with pytest.raises(Killed):
        execute(RunConfig(**BEATS, store=beats_store.location), beats_store, folder, Kill())
    assert folder.state == "running"
    assert execute(folder.config(), beats_store, folder)
    for part in ("validation", "test"):
        ours, _ = read_predictions(folder.path / "predictions" / f"{part}.parquet")
        theirs, _ = read_predictions(beats_run.path / "predictions" / f"{part}.parquet")
        assert ours.equals(theirs)


def test_tensorboard_has_a_point_a_step_and_an_epoch(beats_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(beats_run.path / "tensorboard")).Reload()
    losses = [event.value for event in board.Scalars("loss/step")]
    np.testing.assert_allclose(losses, [entry["loss"] for entry in beats_run.steps()], rtol=1e-6)
    scores = [event.value for event in board.Scalars("validation/macro_f1")]
    np.testing.assert_allclose(scores, [entry["validation"]["f1"] for entry in beats_run.history()], rtol=1e-6)


def test_a_class_that_training_lacks_is_named(beats_store, tmp_path, capsys):
    place = Path(shutil.copytree(beats_store.location, tmp_path / "beats.zarr"))
    label = zarr.open_group(place, mode="r+")["label/aami"]
    label[:] = np.where(label[:] == 3, 0, label[:])
    folder = new_run(tmp_path / "runs", "lacking", "")
    store = open_store(place)
    assert execute(RunConfig(**BEATS | {"epochs": 1}, store=store.location), store, folder)
    assert "no training row has the class F" in capsys.readouterr().err


def test_checkpoints_hold_tensors_and_json_alone(beats_run):
    with safe_open(beats_run.checkpoints / "last.safetensors", framework="pt") as file:
        state = json.loads(file.metadata()["ecg"])
        assert any(name.startswith("optimizer.") for name in file.keys())  # noqa: SIM118
    assert len(state["progress"]["history"]) == 2
    assert not list(beats_run.path.rglob("*.pt"))


def test_runs_are_numbered_and_a_given_name_is_not_taken_twice(tmp_path):
    assert [new_run(tmp_path, None, "model-split").name for _ in range(2)] == ["model-split-1", "model-split-2"]
    new_run(tmp_path, "mine", "")
    with pytest.raises(UserError, match="--resume mine"):
        new_run(tmp_path, "mine", "")


def test_a_run_is_found_by_name_or_path(beats_run, tmp_path):
    shutil.copytree(beats_run.path, tmp_path / beats_run.name)
    assert find_run(tmp_path, beats_run.name) == RunFolder(tmp_path / beats_run.name)
    assert find_run(tmp_path / "elsewhere", str(beats_run.path)) == beats_run
    assert list_runs(tmp_path) == [RunFolder(tmp_path / beats_run.name)]
    with pytest.raises(MissingDataError, match="resnet1d_wang-interpatient-1"):
        find_run(tmp_path, "resnet1d-interpatient-1")


def test_an_interrupted_run_says_how_to_go_on(beats_store, tmp_path):
    class Interrupt(Display):
        def watch(self, batches, n_batches, name):
            raise KeyboardInterrupt

    folder = new_run(tmp_path, "mine", "")
    with pytest.raises(KeyboardInterrupt):
        execute(RunConfig(**BEATS, store=beats_store.location), beats_store, folder, Interrupt())
    assert "ecgtrain run --resume mine" in (folder.path / "run.log").read_text()


def test_neighbouring_beats_are_read_where_they_are_linked_and_named_in_the_footer(linked_store, tmp_path):
    folder = new_run(tmp_path, "linked", "")
    config = RunConfig(**BEATS | {"epochs": 1}, store=linked_store.location)
    assert execute(config, linked_store, folder)
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert footer["context"] == ["rr", "neighbours", "typical"]
    assert footer["parameters"] == 469_189 + 3 * 7 * 128  # three more channels of the stem
