from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from torch import nn

from ecgtrain.benchmark import benchmark, count_macs
from ecgtrain.config import RunConfig
from ecgtrain.explain import GRAD_CAM, INTEGRATED_GRADIENTS, attribute, choose_rows
from ecgtrain.export import export_onnx
from ecgtrain.heads import find_head
from ecgtrain.loader import Batch
from ecgtrain.predictions import read_predictions
from ecgtrain.reopened import export_run, reopen, save_benchmark, save_explanations, save_features
from ecgtrain.run import execute
from ecgtrain.run_folder import new_run
from store.errors import UnknownNameError, UserError

CPU = torch.device("cpu")
SETTINGS = {"epochs": 1, "batch_size": 200, "device": "cpu"}


@pytest.fixture(scope="module")
def beats_run(beats_store, tmp_path_factory):
    folder = new_run(tmp_path_factory.mktemp("runs"), "beats", "")
    config = RunConfig(model="resnet1d_wang", protocol="interpatient", store=beats_store.location, **SETTINGS)
    assert execute(config.model_copy(update={"epochs": 3}), beats_store, folder)
    return reopen(folder, "cpu")


@pytest.fixture(scope="module")
def pictures_run(records_store, tmp_path_factory):
    folder = new_run(tmp_path_factory.mktemp("runs"), "pictures", "")
    config = RunConfig(model="resnet18", inputs=("gaf",), store=records_store.location, **SETTINGS)
    assert execute(config, records_store, folder)
    return reopen(folder, "cpu")


@pytest.fixture(scope="module")
def windows_run(records_store, tmp_path_factory):
    folder = new_run(tmp_path_factory.mktemp("runs"), "windows", "")
    crop = {"samples": 128, "stride": 64}
    config = RunConfig(model="resnet1d_wang", store=records_store.location, crop=crop, **SETTINGS)
    assert execute(config, records_store, folder)
    return reopen(folder, "cpu")


def test_the_head_on_saved_features_gives_the_predicted_logits(beats_run):
    table = pq.read_table(save_features(beats_run))
    features = np.stack([table[name].to_numpy() for name in table.column_names if name != "row"], axis=1)
    predicted, _ = read_predictions(beats_run.folder.path / "predictions" / "test.parquet")
    np.testing.assert_array_equal(table["row"], predicted["row"])
    _, head = find_head(beats_run.trained.model, 5)
    logits = head(torch.from_numpy(features)).detach().numpy()
    expected = np.stack([predicted[f"logit_{name}"].to_numpy() for name in beats_run.trained.classes], axis=1)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_network_without_a_head_is_named():
    with pytest.raises(UserError, match=r"Conv1d has no linear layer with 5 outputs"):
        find_head(nn.Conv1d(1, 5, 3), 5)


def test_macs_are_those_of_a_hand_count():
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(40, 5, bias=False))

    class Signal(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model

        def forward(self, signal):
            return self.layers(signal)

    assert count_macs(Signal(), {"signal": torch.zeros(1, 2, 10)}) == 4 * 2 * 3 * 10 + 40 * 5
    assert count_macs(nn.GRU(3, 4), {"input": torch.zeros(1, 2, 3)}) is None
    measured = benchmark(Signal(), {"signal": (2, 10)}, CPU, batches=(1, 8), repeats=3)
    assert [one["batch"] for one in measured["batches"]] == [1, 8]
    for one in measured["batches"]:
        assert one["min_ms"] <= one["mean_ms"] <= one["max_ms"]


def test_the_benchmark_of_a_run_is_written(beats_run, monkeypatch):
    monkeypatch.setattr("ecgtrain.benchmark.MOST_S", 0.01)
    measured = save_benchmark(beats_run)
    assert beats_run.folder.read_json("benchmark.json") == json.loads(json.dumps(measured))
    assert measured["size_bytes"] > 4 * measured["parameters"] * 0.9


def test_chosen_rows_are_right_wrong_or_between():
    truth = np.eye(2)[[0, 0, 0, 1]]
    probability = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.3, 0.7]], np.float32)
    chosen = choose_rows(np.array([10, 11, 12, 13]), truth, probability, multilabel=False, each=1)
    assert [(one.row, one.explained, one.kind) for one in chosen] == [
        (10, 0, "right"),
        (11, 0, "borderline"),
        (13, 1, "right"),
        (12, 1, "wrong"),
        (13, 1, "borderline"),
    ]


def some_rows(run, n=24):
    loader = run.data.test
    raw = loader.reader.take(loader.rows[:n])
    return Batch(loader.rows[:n], loader.preparation.inputs(raw), loader.target[:n])


@pytest.mark.parametrize("method", [INTEGRATED_GRADIENTS, GRAD_CAM])
@pytest.mark.parametrize("run", ["beats_run", "pictures_run"])
def test_maps_fall_apart_with_random_weights(method, run, request):
    """A map that random weights draw as well says nothing of the network (Adebayo et al., 2018)."""
    run = request.getfixturevalue(run)
    batch = some_rows(run)
    classes = [0] * len(batch.rows)
    trained = attribute(run.trained.model, batch, classes, method)
    model = run.trained.model
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.parameters():
                weights.copy_(torch.randn(weights.shape, generator=generator) * weights.std().nan_to_num(1.0))
        randomised = attribute(model, batch, classes, method)
    finally:
        model.load_state_dict(kept)
    (name,) = {"signal", "picture"} & trained.keys()
    again = attribute(model, batch, classes, method)[name]
    assert likeness(trained[name], again) > 0.999
    assert likeness(trained[name], randomised[name]) < 0.6


def likeness(one, other):
    """Return the mean correlation of the maps of a row."""
    pairs = zip(one.flatten(1).numpy(), other.flatten(1).numpy(), strict=True)
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs if a.std() > 0 and b.std() > 0] or [0.0])


def test_integrated_gradients_add_up_to_the_change_of_the_logit(beats_run):
    batch, model = some_rows(beats_run, 6), beats_run.trained.model
    found = attribute(model, batch, [1] * 6, INTEGRATED_GRADIENTS)
    with torch.inference_mode():
        rise = model(**batch.inputs)[:, 1] - model(**{k: torch.zeros_like(v) for k, v in batch.inputs.items()})[:, 1]
    total = sum(values.flatten(1).sum(dim=1) for values in found.values())
    torch.testing.assert_close(total, rise, rtol=0.05, atol=0.05)


def test_explanations_are_written_as_the_report_reads_them(pictures_run):
    file = save_explanations(pictures_run, GRAD_CAM)
    with np.load(file, allow_pickle=False) as found:
        n = len(found["row"])
        assert found["signal_mv"].shape == found["attribution"].shape == (n, 3, pictures_run.data.test.n_samples)
        assert set(found["kind"]) <= {"right", "wrong", "borderline"}
        signal = pictures_run.store.signal[int(found["row"][0])] * pictures_run.store.scale_mv
        np.testing.assert_allclose(found["signal_mv"][0], signal, atol=1e-6)


def test_what_is_explained_of_a_row_read_in_windows_is_their_mean(windows_run):
    run, loader = windows_run, windows_run.data.test
    with np.load(save_explanations(run, INTEGRATED_GRADIENTS), allow_pickle=False) as file:
        found = dict(file)
    rows = found["row"]
    classes = [run.trained.classes.index(name) for name in found["explained"]]
    rise, probability = 0.0, 0.0
    with torch.inference_mode():
        for batch in loader.windows_of(rows):
            logits = run.trained.model(**batch.inputs)
            silent = run.trained.model(**{name: torch.zeros_like(value) for name, value in batch.inputs.items()})
            own = np.arange(len(rows)), classes
            rise = rise + (logits - silent).numpy()[own] / len(loader.windows)
            probability = probability + torch.sigmoid(logits).numpy()[own] / len(loader.windows)
    assert len(loader.windows) > 1
    np.testing.assert_allclose(found["attribution"].sum(axis=(1, 2)), rise, rtol=0.05, atol=0.05)
    np.testing.assert_allclose(found["probability"], probability, atol=1e-4)
    assert found["attribution"].shape == found["signal_mv"].shape


def test_a_network_of_windows_is_exported_as_it_reads_them(windows_run, tmp_path):
    file, _ = export_run(windows_run, "onnx", head=True, folder=tmp_path)
    (signal,) = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).get_inputs()
    assert (signal.name, signal.shape[1:]) == ("signal", [3, 128])


def test_an_unknown_method_is_named(beats_run):
    with pytest.raises(UnknownNameError, match="grad_cam"):
        attribute(beats_run.trained.model, some_rows(beats_run, 2), [0, 0], "gradcam")


def test_exported_weights_leave_out_the_head(beats_run, tmp_path):
    file, card = export_run(beats_run, "weights", head=False, folder=tmp_path)
    with safe_open(file, "pt") as found:
        names = set(found.keys())
        facts = json.loads(found.metadata()["ecg"])
    head, _ = find_head(beats_run.trained.model, 5)
    assert beats_run.trained.model.state_dict().keys() - names == {f"{head}.weight", f"{head}.bias"}
    assert facts["model"] == "resnet1d_wang"
    text = card.read_text()
    assert "interpatient" in text
    assert beats_run.store.digest in text
    assert "no medical device" in text


@pytest.mark.parametrize("run", ["beats_run", "pictures_run"])
def test_onnx_gives_the_same_logits_at_any_batch(run, request, tmp_path):
    run = request.getfixturevalue(run)
    file, _ = export_run(run, "onnx", head=True, folder=tmp_path)
    batch = some_rows(run, 7)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in batch.inputs.items()})
    with torch.inference_mode():
        expected = run.trained.model(**batch.inputs).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_network_that_cannot_be_exported_is_refused_by_name(tmp_path):
    class Sorted(nn.Module):
        def forward(self, signal):
            return signal[:, 0] if signal.sum() > 0 else signal[:, 1]

    with pytest.raises(UserError, match="my_model cannot be exported to ONNX"):
        export_onnx(Sorted(), tmp_path / "model.onnx", {"signal": torch.rand(3, 2, 5)}, {"model": "my_model"})
    assert not list(tmp_path.iterdir())
