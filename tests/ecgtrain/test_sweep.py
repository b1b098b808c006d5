"""Sweeps: what a grid means, what is chosen, what stays unseen, and going on after a stop."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ecgtrain.cli import app
from ecgtrain.config import RunConfig
from ecgtrain.predictions import read_predictions
from ecgtrain.run import execute
from ecgtrain.run_folder import FAILED, FAILURE, FINISHED, RunFolder, list_runs
from ecgtrain.sweep import Point, SweepError, check_points, grid_points, outcome_lines, sweep, sweep_folder
from pipelines.recipe import RecipeError
from store.errors import ResourceError, UserError

SMALL = {
    "model": "resnet1d_wang", "protocol": "interpatient", "epochs": 1, "batch_size": 32, "samples_per_class": 16,
    "device": "cpu", "context": [],
}  # fmt: skip


def points(store, *rates):
    return [
        Point((f"optimizer.lr={rate:g}",), RunConfig(**SMALL, store=store.location, optimizer={"lr": rate}))
        for rate in rates
    ]


def test_a_grid_has_every_combination_in_order():
    assert grid_points(["optimizer.lr=1e-3, 3e-4", "batch_size=32,64"]) == [
        ("optimizer.lr=1e-3", "batch_size=32"),
        ("optimizer.lr=1e-3", "batch_size=64"),
        ("optimizer.lr=3e-4", "batch_size=32"),
        ("optimizer.lr=3e-4", "batch_size=64"),
    ]


@pytest.mark.parametrize(
    "grids",
    [["batch_size"], ["batch_size="], ["=3"], ["batch_size=3,3"], ["batch_size=3", "batch_size=4"]],
    ids=["no values", "empty", "no key", "value twice", "key twice"],
)
def test_no_grid_is_refused(grids):
    with pytest.raises(RecipeError, match="--grid"):
        grid_points(grids)


@pytest.mark.parametrize("change", [{"seed": 1}, {"protocol": "other"}, {"early_stopping": {"monitor": "f1:S"}}])
def test_points_that_are_judged_otherwise_are_refused(change):
    made = [Point((), RunConfig(**{**SMALL, **one})) for one in ({}, change)]
    with pytest.raises(UserError, match="is no axis"):
        check_points(made)


def test_a_sweep_of_several_processes_is_refused(workspace, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    result = CliRunner().invoke(app, ["sweep", "--grid", "batch_size=32,64", "--home", str(workspace)])
    assert isinstance(result.exception, RecipeError)
    assert "without torchrun" in str(result.exception)


def test_folds_are_not_swept():
    with pytest.raises(UserError, match="--folds"):
        check_points([Point((), RunConfig(**{**SMALL, "protocol": "kfold-3", "folds": 3}))])


@pytest.fixture(scope="module")
def swept(beats_store, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    grid = points(beats_store, 1e-9, 1e-3)
    folder = sweep_folder(runs, grid, None)
    return folder, sweep(grid, beats_store, folder)


def test_the_best_point_on_validation_is_chosen_and_alone_predicts_the_test(swept):
    folder, outcomes = swept
    scores = {outcome.folder.name: outcome.best["validation"]["f1"] for outcome in outcomes}
    assert scores[outcomes[0].folder.name] == max(scores.values())
    assert [(one.folder.path / "predictions" / "test.parquet").exists() for one in outcomes] == [False, False]
    chosen = RunFolder(folder.path)
    assert chosen.state == FINISHED
    assert chosen.config().optimizer == outcomes[0].point.config.optimizer
    assert chosen.config().predict_test
    assert chosen.history() == outcomes[0].folder.history()
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert footer["run"] == folder.name
    assert [run.name for run in list_runs(folder.path.parent)] == [folder.name]


def test_the_table_has_the_best_first(swept):
    _, outcomes = swept
    head, first, second = outcome_lines(outcomes)
    assert "macro_f1" in head
    assert first.split()[0] == outcomes[0].folder.name
    assert float(first.split()[3]) >= float(second.split()[3])


@pytest.mark.parametrize(("exit_code", "raised"), [(4, ResourceError), (2, SweepError)])
def test_a_sweep_without_a_finished_point_says_whether_memory_gave_out(beats_store, tmp_path, exit_code, raised):
    def fails(config, store, run):
        run.path.mkdir(exist_ok=True)
        run.write_json(FAILURE, {"exit_code": exit_code})
        run.set_state(FAILED)
        return False

    grid = points(beats_store, 1e-3, 2e-3)
    with pytest.raises(raised, match="every point failed"):
        sweep(grid, beats_store, sweep_folder(tmp_path, grid, None), fails)


def test_an_interrupted_sweep_goes_on_and_a_failed_point_is_last(beats_store, tmp_path):
    grid, trained = points(beats_store, 1e-3, 2e-3), []
    folder = sweep_folder(tmp_path, grid, "named")

    def stopped(config, store, run):
        if trained:
            raise KeyboardInterrupt
        trained.append(run.name)
        return execute(config, store, run)

    with pytest.raises(KeyboardInterrupt):
        sweep(grid, beats_store, folder, stopped)
    assert sweep_folder(tmp_path, grid, "named") == folder

    def fails_on_points(config, store, run):
        if not config.predict_test:
            run.path.mkdir(exist_ok=True)
            run.set_state(FAILED)
            return False
        return execute(config, store, run)

    outcomes = sweep(grid, beats_store, folder, fails_on_points)
    assert [outcome.folder.name for outcome in outcomes] == ["point-0", "point-1"]
    assert "failed" in outcome_lines(outcomes)[-1]
    assert folder.state == FINISHED
    with pytest.raises(UserError, match="exists"):
        sweep_folder(tmp_path, grid, "named")


def test_a_sweep_without_a_finished_point_says_so(beats_store, tmp_path):
    grid = points(beats_store, 1e-3)
    with pytest.raises(SweepError, match="every point failed"):
        sweep(grid, beats_store, sweep_folder(tmp_path, grid, None), lambda *_: False)


def test_the_command_trains_a_grid_and_prints_its_table(workspace, tmp_path):
    (tmp_path / "store").symlink_to(workspace / "store")
    settings = [f"{key}={value}" for key, value in SMALL.items() if key not in ("model", "batch_size", "context")]
    options = [part for setting in settings for part in ("--set", setting)]
    line = ["sweep", "--grid", "batch_size=16,32", "--model", "resnet1d_wang", "--home", str(tmp_path), *options]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    assert "chosen on validation: batch_size=" in result.output
    unknown = CliRunner().invoke(app, [*line[:2], "batchsize=16,32", *line[3:]])
    assert "batch_size" in str(unknown.exception)
