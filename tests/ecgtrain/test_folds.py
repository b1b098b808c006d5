from __future__ import annotations

import numpy as np
import pytest

import ecgtrain.run
from ecgtrain.cli import runs
from ecgtrain.config import RunConfig
from ecgtrain.plan import default_runs, resolve
from ecgtrain.predictions import read_predictions
from ecgtrain.progress import Display
from ecgtrain.run import execute
from ecgtrain.run_folder import new_run
from store.errors import UserError

FOLDS = {"model": "resnet1d_wang", "epochs": 1, "batch_size": 200, "protocol": "kfold-3", "folds": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def folds_run(beats_store, tmp_path_factory):
    """A run over folds that was stopped in the second, and gone on with."""

    class Killed(BaseException):
        pass

    class Kill(Display):
        def __init__(self):
            self.started = 0

        def start(self, n_epochs, n_rows):
            self.started += 1
            if self.started == 2:
                raise Killed

    folder = new_run(tmp_path_factory.mktemp("runs"), None, "folds")
    config = RunConfig(**FOLDS, store=beats_store.location)
    with pytest.raises(Killed):
        execute(config, beats_store, folder, Kill())
    finished = (folder.path / "fold-0" / "state").stat().st_mtime_ns
    assert execute(config, beats_store, folder)
    assert (folder.path / "fold-0" / "state").stat().st_mtime_ns == finished
    return folder


def test_each_fold_is_a_run_and_the_parent_has_the_predictions_of_all(folds_run, beats_store):
    table, footer = read_predictions(folds_run.path / "predictions" / "test.parquet")
    folds = beats_store.split("kfold-3").values
    known = beats_store.label("aami").values >= 0
    rows, fold = table["row"].to_numpy(), table["fold"].to_numpy()
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(known))
    np.testing.assert_array_equal(fold, folds[rows])
    np.testing.assert_array_equal(np.lexsort((rows, fold)), np.arange(len(rows)))
    assert (footer["run"], footer["protocol"]) == (folds_run.name, "kfold-3")
    for k in range(3):
        part, own = read_predictions(folds_run.path / f"fold-{k}" / "predictions" / "test.parquet")
        assert part.replace_schema_metadata(None).equals(table.filter(fold == k).replace_schema_metadata(None))
        assert own["run"] == f"fold-{k}"
        assert (folds_run.path / f"fold-{k}" / "state").read_text() == "finished\n"
    assert folds_run.state == "finished"


def test_a_fold_trains_on_the_rest_and_validates_on_the_next(folds_run, beats_store):
    folds = beats_store.split("kfold-3").values
    for k in range(3):
        table, _ = read_predictions(folds_run.path / f"fold-{k}" / "predictions" / "validation.parquet")
        assert set(folds[table["row"].to_numpy()]) == {(k + 1) % 3}


def test_folds_are_listed_below_their_parent(folds_run, tmp_path, capsys):
    (tmp_path / "runs").symlink_to(folds_run.path.parent)
    runs(tmp_path)
    names = [line.partition(" finished")[0].rstrip() for line in capsys.readouterr().out.splitlines()]
    assert names == ["folds-1", "  fold-0", "  fold-1", "  fold-2"]


def test_folds_that_lack_memory_say_so_for_their_parent(beats_store, tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ecgtrain.run, "load", full)
    folder = new_run(tmp_path, None, "folds")
    assert not execute(RunConfig(**FOLDS, store=beats_store.location), beats_store, folder)
    assert folder.lacked_resources
    assert not (folder.path / "fold-1").exists()


def test_thresholds_stay_with_their_folds(folds_run):
    calibration = folds_run.read_json("calibration.json")
    assert calibration["thresholds"] == {}
    assert set(calibration["folds"]) == {"fold-0", "fold-1", "fold-2"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 7}, "has no 'kfold-7' .it has kfold-3.; `ecgprep build`"),
        ({"folds": 3, "protocol": "interpatient"}, "takes the protocol 'kfold-3', not 'interpatient'"),
        ({"folds": 3, "fold": 1}, "leave one of them out"),
        ({"protocol": "kfold-3"}, "train them all with --folds 3, or one with --set fold=0"),
        ({"protocol": "kfold-3", "fold": 3}, "has folds 0 to 2"),
    ],
)
def test_folds_that_cannot_be_trained_are_refused(beats_store, options, said):
    with pytest.raises(UserError, match=said):
        resolve(default_runs(beats_store, ["resnet1d_wang"]), options, [], beats_store, "test")
