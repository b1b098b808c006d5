from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgtrain import load_run
from ecgtrain.config import RunConfig
from ecgtrain.predictions import read_predictions
from ecgtrain.run import execute
from ecgtrain.run_folder import FINISHED, new_run
from store.errors import MissingDataError, UserError


def finished(store, folder, **options):
    run = new_run(folder, None, "run")
    assert execute(RunConfig(epochs=1, batch_size=200, device="cpu", store=store.location, **options), store, run)
    return run


def predicted(run):
    table, footer = read_predictions(run.path / "predictions" / "test.parquet")
    return table["row"].to_numpy(), np.stack([table[f"p_{name}"] for name in footer["classes"]], axis=1)


def test_a_loaded_run_says_of_a_recording_s_beats_what_its_predictions_say(linked_store, tmp_path):
    run = finished(linked_store, tmp_path, model="resnet1d_wang")
    rows, p = predicted(run)
    record = linked_store.column("record")
    beats = np.flatnonzero(record == record[rows[0]])
    columns = {name: linked_store.column(name)[beats] for name in linked_store.columns}
    loaded = load_run(run.path, "cpu")
    assert loaded.classes == ("N", "S", "V", "F", "Q")
    found = loaded.predict(
        linked_store.signal[:][beats] * linked_store.scale_mv,
        record_mv=(columns["record_mean_mv"][0], columns["record_sd_mv"][0]),
        rr_s=(columns["rr_prev_s"], columns["rr_next_s"]),
    )
    here = np.isin(rows, beats)
    np.testing.assert_allclose(found[np.searchsorted(beats, rows[here])], p[here], atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "resnet18", "inputs": ("gaf:size=32",)},
        {"model": "resnet1d_wang", "crop": {"samples": 100, "stride": 75}},
    ],
    ids=["pictures", "windows"],
)
def test_a_loaded_run_draws_and_cuts_as_it_was_trained(records_store, tmp_path, options):
    run = finished(records_store, tmp_path, **options)
    rows, p = predicted(run)
    signal_mv = records_store.signal[:][np.unique(rows)] * records_store.scale_mv
    mean = np.stack([p[rows == row].mean(axis=0) for row in np.unique(rows)])
    np.testing.assert_allclose(load_run(run.path, "cpu").predict(signal_mv), mean, atol=1e-5)


def test_rows_of_another_shape_are_refused(records_store, tmp_path):
    run = finished(records_store, tmp_path, model="resnet1d_wang")
    with pytest.raises(UserError, match=r"reads \(n, 3, 250\), leads II V1 V5 at 100 Hz"):
        load_run(run.path).predict(np.zeros((2, 1, 250)))


def test_a_run_of_another_version_is_named(tmp_path):
    run = new_run(tmp_path, "old", "")
    run.write_config(RunConfig(model="resnet1d_wang"))
    run.write_json("environment.json", {"versions": {"ecgprep": "0.0.1"}})
    run.write_json("preprocessing.json", {"classes": ["N"], "shape": {}})
    run.set_state(FINISHED)
    with pytest.raises(UserError, match=r"lacks row, multilabel, recipe, padded; old was trained by ecgprep 0\.0\.1"):
        load_run(run.path)
    (run.path / "config.yaml").write_text("model: resnet1d_wang\nlearning_rate: 1\n")
    with pytest.raises(UserError, match=r"unknown key 'learning_rate'.*old was trained by ecgprep 0\.0\.1"):
        load_run(run.path)


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match="ecgtrain runs"):
        load_run(tmp_path)


def test_the_documented_example_trains_a_module_of_one_s_own(beats_store, capsys):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    exec(compile(example, "docs/training.md", "exec"), {"STORE": beats_store.location})
    assert "'f1':" in capsys.readouterr().out
