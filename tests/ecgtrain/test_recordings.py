"""A recording of one's own says what the store's rows of the same recording say, whatever file it comes in."""

from __future__ import annotations

import json

import edfio
import numpy as np
import pyarrow.parquet as pq
import pytest
import wfdb

from ecgeval.recording.predicted import read_recording
from ecgeval.recording.report import analyse, report_recording
from ecgprep.build import build
from ecgprep.config import Prepare
from ecgtrain import load_run
from ecgtrain.config import RunConfig
from ecgtrain.predictions import read_predictions
from ecgtrain.recordings import FileFacts, predict_all
from ecgtrain.run import execute
from ecgtrain.run_folder import new_run
from pipelines.workspace import Workspace
from store.errors import UserError
from store.read import open_store
from tests.recordings import write_mitdb, write_ptbxl

SETTINGS = {"epochs": 1, "batch_size": 64, "device": "cpu"}


def train_on(raw, home, model, **section):
    store = open_store(build(Prepare(workers=0, **section), Workspace(home), raw).place)
    folder = new_run(home / "runs", "run", "")
    assert execute(RunConfig(model=model, store=store.location, **SETTINGS), store, folder)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder)
    write_ptbxl(folder, 24)
    return folder


@pytest.fixture(scope="module", params=["beat:centred186", "beat:kachuee186"])
def beats_run(request, raw, tmp_path_factory):
    section = {"dataset": "mitdb", "unit": request.param, "filters": "bandpass"}
    return train_on(raw, tmp_path_factory.mktemp("home"), "resnet1d_wang", **section)


def predict(run, paths, to, **facts):
    return list(predict_all(load_run(run.path, "cpu"), run.path, paths, to, FileFacts(**facts)))


def said_of(run, record):
    """Return times and probabilities of a test record's rows in the run's predictions."""
    table, footer = read_predictions(run.path / "predictions" / "test.parquet")
    here = table.filter(np.array(table["record"].to_pylist()) == record)
    return here["t_s"].to_numpy(), np.stack([here[f"p_{name}"].to_numpy() for name in footer["classes"]], axis=1)


def beats_of(folder, classes):
    table = pq.read_table(folder / "beats.parquet")
    return table["t_s"].to_numpy(), np.stack([table[f"p_{name}"].to_numpy() for name in classes], axis=1)


def test_a_store_s_own_record_is_predicted_as_in_the_store(beats_run, raw, tmp_path):
    (folder,) = predict(beats_run, [raw / "mitdb" / "100.hea"], tmp_path, annotator="atr")
    t_s, expected = said_of(beats_run, "mitdb/100")
    found_t_s, found = beats_of(folder, load_run(beats_run.path).classes)
    places = np.searchsorted(found_t_s, t_s - 1e-6)
    assert len(t_s) > 10
    np.testing.assert_allclose(found_t_s[places], t_s)
    np.testing.assert_allclose(found[places], expected, atol=1e-5)
    assert (folder / "reference.parquet").is_file()


def test_a_whole_record_is_predicted_as_in_the_store(raw, tmp_path):
    run = train_on(raw, tmp_path, "resnet1d_wang", dataset="ptbxl", leads=("II", "V5"))
    table, footer = read_predictions(run.path / "predictions" / "test.parquet")
    name = table["record"][0].as_py().removeprefix("ptbxl/")
    (folder,) = predict(run, [raw / "ptb-xl" / f"{name}.hea"], tmp_path)
    _, found = beats_of(folder, footer["classes"])
    np.testing.assert_allclose(found[0], [table[f"p_{c}"][0].as_py() for c in footer["classes"]], atol=1e-5)
    thresholds = json.loads((run.path / "calibration.json").read_text())["thresholds"]
    above = [c for c, p in zip(footer["classes"], found[0], strict=True) if p >= thresholds[c]]
    assert pq.read_table(folder / "beats.parquet")["label"].to_pylist() == ["+".join(above)]


def test_three_formats_agree_and_make_a_report(beats_run, raw, tmp_path):
    record = wfdb.rdrecord(str(raw / "mitdb" / "100"))
    lead_mv = record.p_signal[:, record.sig_name.index("MLII")]
    signal = edfio.EdfSignal(lead_mv * 1000, 360, label="EKG II", physical_dimension="uV", physical_range=(-6e3, 6e3))
    edfio.Edf([signal]).write(tmp_path / "as_edf.edf")
    np.savetxt(tmp_path / "as_csv.csv", lead_mv, header="MLII", comments="", fmt="%.6f")
    paths = [raw / "mitdb" / "100", tmp_path / "as_edf.edf", tmp_path / "as_csv.csv"]
    folders = predict(beats_run, paths, tmp_path, fs_hz=360.0)
    recordings = [read_recording(folder) for folder in folders]
    for other in recordings[1:]:
        np.testing.assert_allclose(other.beats.t_s, recordings[0].beats.t_s, atol=0.01)
        np.testing.assert_allclose(other.signal_mv, recordings[0].signal_mv, atol=2e-3)
    page = report_recording(recordings[1], analyse(recordings[1]), tmp_path / "report")
    assert "as_edf" in page.read_text(encoding="utf-8")


def test_a_bad_recording_is_said_and_the_others_go_on(beats_run, raw, tmp_path):
    (tmp_path / "v1.csv").write_text("V1\n" + "0.1\n0.2\n" * 400)
    (tmp_path / "flat.csv").write_text("MLII\n" + "0.1\n" * 4000)
    found = predict(beats_run, [tmp_path / "v1.csv", tmp_path / "flat.csv"], tmp_path, fs_hz=360.0)
    assert [line.partition(": ")[2] for line in found] == [
        "leads: lead MLII is missing; the record has V1",
        "quality: lead MLII is flat (SD below 1 µV)",
    ]
    found = predict(beats_run, [raw / "mitdb" / "102", raw / "mitdb" / "100"], tmp_path)
    assert "lead MLII is missing" in found[0]
    assert found[1] == tmp_path / "100"
    with pytest.raises(UserError, match="two recordings are called '100'"):
        predict(beats_run, [raw / "mitdb" / "100"] * 2, tmp_path)


def test_a_run_without_its_store_s_recipe_is_refused(beats_store, raw, tmp_path):
    folder = new_run(tmp_path, "old", "")
    assert execute(RunConfig(model="resnet1d_wang", store=beats_store.location, **SETTINGS), beats_store, folder)
    with pytest.raises(UserError, match="does not hold the recipe of its store"):
        predict(folder, [raw / "mitdb" / "100"], tmp_path)
