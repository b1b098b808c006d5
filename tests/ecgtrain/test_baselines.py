"""Baselines: runs like any other, fitted at once, made beside every run and once alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ecgtrain import load_run
from ecgtrain.config import RunConfig
from ecgtrain.fitting import BASELINES, baseline_configs, fit
from ecgtrain.loader import loaders
from ecgtrain.models import create_model
from ecgtrain.predictions import read_predictions
from ecgtrain.run import execute
from ecgtrain.run_folder import FINISHED, RunFolder
from store.errors import UserError


@pytest.fixture(params=BASELINES)
def name(request):
    return request.param


def run_of(name, store, folder, **keys):
    config = RunConfig(model=name, epochs=1, context=(), store=store.location, device="cpu", **keys)
    run = RunFolder(folder / f"{name}-1")
    run.path.mkdir(parents=True)
    assert execute(config, store, run)
    return config, run


@pytest.mark.parametrize("kind", ["beats", "records"])
def test_baseline_is_a_run_with_predictions_of_validation_and_test(name, kind, request, tmp_path):
    store = request.getfixturevalue(f"{kind}_store")
    _, run = run_of(name, store, tmp_path, protocol=store.attributes["default_protocol"])
    assert run.state == FINISHED
    for part in ("validation", "test"):
        table, facts = read_predictions(run.path / "predictions" / f"{part}.parquet")
        assert facts["model"] == name
        columns = [table[f"p_{c}"].to_numpy() for c in facts["classes"]]
        assert all(((column >= 0) & (column <= 1)).all() for column in columns)
        if facts["task"] == "single":
            np.testing.assert_allclose(np.sum(columns, axis=0), 1.0, atol=1e-5)
    (entry,) = run.history()
    assert entry["validation_loss"] > 0


def test_prior_is_the_share_of_each_class_in_training(beats_store, records_store):
    for store in (beats_store, records_store):
        data = loaders(store, context=(), device="cpu")
        model = create_model("class_prior", **vars(data.shape))
        fit(model, replace(data, test=None))  # no test row is read
        target = data.train.target
        shares = target.mean(dim=0) if target.ndim == 2 else torch.bincount(target, minlength=5) / len(target)
        logits = model(torch.zeros(1, 1, 10))[0]
        found = logits.sigmoid() if data.label.multilabel else logits.softmax(dim=0)
        torch.testing.assert_close(found, shares.to(found), rtol=1e-3, atol=1e-4)


def test_trees_tell_beats_apart_by_shape_and_timing_and_the_prior_does_not(beats_store):
    data = loaders(beats_store, context=(), device="cpu")
    scores = {name: fit(create_model(name, **vars(data.shape)), data)["validation"]["f1"] for name in BASELINES}
    assert scores["boosting"] > 0.8
    assert scores["random_encoder"] > 0.5
    assert scores["class_prior"] < 0.3


def test_the_head_on_a_random_encoder_is_scikit_learns_logistic_regression(beats_store):
    data = loaders(beats_store, context=(), device="cpu")
    model = create_model("random_encoder", **vars(data.shape))
    fit(model, data)
    batch = next(data.train.in_order())
    batches = list(data.train.in_order())
    numbers = np.concatenate([model.describe(**one.inputs) for one in batches])
    mean, sd = numbers.mean(axis=0), numbers.std(axis=0)
    sd = np.where(sd > 0, sd, 1)
    line = LogisticRegression(max_iter=300, tol=1e-3).fit((numbers - mean) / sd, data.train.target.numpy())
    expected = line.predict_proba((model.describe(**batch.inputs) - mean) / sd)
    found = model(**batch.inputs).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_two_classes_are_told_apart_too():
    generator = np.random.default_rng(0)
    model = create_model("random_encoder", n_leads=1, n_samples=100, n_classes=2)
    numbers = generator.standard_normal((60, 256)).astype(np.float32)
    truth = (numbers[:, 3] > 0).astype(int)
    model.fit(numbers, np.eye(2, dtype=np.float32)[truth])
    found = model.head(torch.from_numpy(numbers)).argmax(dim=1).numpy()
    assert (found == truth).all()


def test_baselines_are_planned_once_for_each_set_of_rows(beats_store, tmp_path):
    keys = {"store": beats_store.location, "device": "cpu"}
    runs = [
        RunConfig(model="resnet1d_wang", protocol="interpatient", **keys),
        RunConfig(model="resnet18", inputs=("cwt",), protocol="interpatient", **keys),
        RunConfig(model="resnet1d_wang", protocol="intrapatient", **keys),
    ]
    runs += [run.model_copy(update={"seed": 7}) for run in runs]
    planned = baseline_configs(runs, beats_store, tmp_path)
    assert [(one.model, one.protocol) for one in planned] == [
        (name, protocol) for protocol in ("interpatient", "intrapatient") for name in BASELINES
    ]
    (prior, *_) = planned
    folder = RunFolder(tmp_path / "class_prior-interpatient-1")
    folder.path.mkdir()
    assert execute(prior, beats_store, folder)
    again = baseline_configs(runs, beats_store, tmp_path)
    assert len(again) == len(planned) - 1
    assert prior not in again
    with pytest.raises(UserError, match="class_prior is a baseline and keeps no weights"):
        load_run(folder.path)
    file = folder.path / "config.yaml"
    file.write_text(f"{file.read_text()}key_of_another_version: 1\n")
    assert prior in baseline_configs(runs, beats_store, tmp_path), "a run that is not understood stands in for none"
