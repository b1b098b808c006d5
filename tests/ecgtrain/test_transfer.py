"""Runs that start from weights: what is taken over, what stays frozen, what is refused, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ecgeval.config import Evaluate
from ecgeval.report import score
from ecgeval.runs import read_run
from ecgeval.tables import comparison
from ecgtrain.checkpoint import below, read_checkpoint
from ecgtrain.config import DataConfig, RunConfig, TransferConfig
from ecgtrain.export import export_weights
from ecgtrain.items import chosen_split
from ecgtrain.loop import BEST, train_mode
from ecgtrain.models import create_model
from ecgtrain.models.timm_networks import load_pretrained
from ecgtrain.predictions import read_predictions
from ecgtrain.run import execute
from ecgtrain.run_folder import new_run
from ecgtrain.transfer import Source, freeze, locate, read_source, start_from
from pipelines.recipe import RecipeError, validate
from store.errors import EcgError, MissingDataError, UnknownNameError, UserError
from store.plan import Values

from .conftest import BEATS_OF_RECORD, N_RECORDS, make_beats_store

MODEL, CLASSES = "resnet1d_wang", ("N", "S", "V", "F", "Q")
SMALL = {
    "model": MODEL, "epochs": 1, "batch_size": 32, "samples_per_class": 16, "device": "cpu", "average_decay": 0.0,
    "features": "none", "context": [],
}  # fmt: skip


def make(n_classes=5, name=MODEL, seed=0):
    torch.manual_seed(seed)
    return create_model(name, n_leads=1, n_samples=186, n_classes=n_classes, fs_hz=360.0)


def head_names(model):
    return {name for name, value in model.state_dict().items() if value.shape[:1] == (5,)}


def source_of(model, path, classes=CLASSES):
    return Source(path, model.state_dict(), classes)


def run(store, runs, name=None, **changes):
    folder = new_run(runs, name, "run")
    ok = execute(RunConfig(**{**SMALL, "store": store.location, **changes}), store, folder)
    return folder, ok


def weights_of(folder):
    return below("model.", read_checkpoint(folder.checkpoints / BEST).tensors)


@pytest.fixture(scope="module")
def pretrained(beats_store, tmp_path_factory):
    folder, ok = run(beats_store, tmp_path_factory.mktemp("runs"), "before", protocol="interpatient")
    assert ok
    return folder


def test_weights_and_head_are_taken_over_where_the_classes_are_the_same(tmp_path):
    ours, theirs = make(seed=1), make(seed=2)
    fit = start_from(ours, source_of(theirs, tmp_path), TransferConfig(), CLASSES)
    assert set(fit.matched) == set(ours.state_dict())
    assert fit.missing == fit.unexpected == fit.other_shape == fit.fresh == ()
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())


@pytest.mark.parametrize(
    ("config", "classes"),
    [(TransferConfig(head="fresh"), CLASSES), (TransferConfig(), ("a", "b", "c", "d", "e"))],
    ids=["asked", "other classes"],
)
def test_the_head_stays_as_it_was_drawn(tmp_path, config, classes):
    ours, drawn, theirs = make(seed=1), make(seed=1), make(seed=2)
    fit = start_from(ours, source_of(theirs, tmp_path), config, classes)
    assert set(fit.fresh) == head_names(ours)
    for name, value in ours.state_dict().items():
        kept = drawn if name in fit.fresh else theirs
        assert torch.equal(value, kept.state_dict()[name])


def test_names_that_do_not_fit_are_told_apart(tmp_path):
    ours = make(seed=1)
    names = list(ours.state_dict())
    theirs = {name: value for name, value in make(seed=2).state_dict().items() if name != names[1]}
    theirs |= {names[0]: torch.zeros(3), "more": torch.zeros(2)}
    fit = start_from(ours, Source(tmp_path, theirs, CLASSES), TransferConfig(), CLASSES)
    assert (fit.missing, fit.other_shape, fit.unexpected) == ((names[1],), (names[0],), ("more",))


def test_weights_of_another_model_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none of its weights fits .*start from a run of the same model"):
        start_from(make(), source_of(make(name="gru"), tmp_path), TransferConfig(), CLASSES)


@pytest.mark.parametrize("form", ["run", "checkpoint", "export", "export without head", "state dict", "nested"])
def test_every_form_of_weights_gives_the_same(pretrained, tmp_path, form):
    expected, path = weights_of(pretrained), tmp_path / "weights.safetensors"
    if form == "run":
        path = pretrained.path
    elif form == "checkpoint":
        path = pretrained.checkpoints / BEST
    elif form.startswith("export"):
        model = make()
        model.load_state_dict(expected)
        export_weights(model, path, {"classes": CLASSES}, head="without" not in form, n_classes=5)
    else:
        path = tmp_path / "weights.pt"
        parallel = {f"module.{name}": value for name, value in expected.items()}
        torch.save(expected if form == "state dict" else {"epoch": 3, "state_dict": parallel}, path)
    found = read_source(path)
    left_out = head_names(make()) if form == "export without head" else set()
    assert set(found.weights) == set(expected) - left_out
    assert all(torch.equal(value, expected[name]) for name, value in found.weights.items())
    assert found.classes == (None if path.suffix == ".pt" else CLASSES) or form == "checkpoint"


@dataclass
class NoTensor:
    value: int = 1


@pytest.mark.parametrize("form", ["text", "cut", "code", "numbers", "absent", "unfinished run"])
def test_what_holds_no_weights_is_refused_in_one_line(tmp_path, form):
    path = tmp_path / ("weights.safetensors" if form == "cut" else "weights.pt")
    if form == "text":
        path.write_text("no weights")
    elif form == "cut":
        save_file({"a": torch.zeros(9)}, path)
        path.write_bytes(path.read_bytes()[:-8])
    elif form == "code":
        torch.save(NoTensor(), path)
    elif form == "numbers":
        torch.save({"a": 1}, path)
    elif form == "unfinished run":
        path.mkdir()
    with pytest.raises(EcgError) as stop:
        read_source(path)
    assert str(path) in str(stop.value)
    assert "\n" not in str(stop.value)
    assert "weights_only" not in str(stop.value)


def test_frozen_layers_keep_weights_and_statistics(tmp_path):
    model = make()
    layers = sorted({name.rpartition(".")[0] for name, _ in model.named_parameters()} - head_names(model))
    frozen = freeze(model, ("all_but_head",), 5)
    assert set(dict(model.named_parameters())) - set(frozen) == head_names(model)
    assert layers
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_mode(model)
    optimizer = torch.optim.Adam((one for one in model.parameters() if one.requires_grad), lr=0.1, weight_decay=0.1)
    model(signal=torch.randn(8, 1, 186)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == head_names(model)


def test_layers_are_frozen_by_the_start_of_their_names():
    model = make()
    prefix = next(iter(dict(model.named_parameters()))).split(".")[0]
    assert set(freeze(model, (prefix,), 5)) == {n for n, _ in model.named_parameters() if n.startswith(f"{prefix}.")}
    with pytest.raises(UnknownNameError, match=r"transfer\.freeze"):
        freeze(model, (prefix[:-1],), 5)
    with pytest.raises(UserError, match="freezes every layer"):
        freeze(model, ("all_but_head", *(name for name in head_names(model))), 5)


def test_a_run_starts_from_another_trains_the_head_alone_and_says_so(pretrained, beats_store, tmp_path):
    changes = {"protocol": "interpatient", "init_from": str(pretrained.path), "seed": 4, "patients": None}
    folder, ok = run(beats_store, tmp_path, transfer={"head": "fresh", "freeze": "all_but_head"}, **changes)
    assert ok
    before, after = weights_of(pretrained), weights_of(folder)
    head = head_names(make())
    assert all(torch.equal(after[name], before[name]) for name in set(before) - head)
    assert not any(torch.equal(after[name], before[name]) for name in head)
    noted = folder.read_json("transfer.json")
    assert set(noted["fresh"]) == head
    assert set(noted["matched"]) == set(before) - head
    assert "matched" in (folder.path / "run.log").read_text()
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert footer["pretraining"] == {"fraction": 1.0, "objective": "aami", "run": "before"}
    assert footer["leaks"] == []


def test_patients_of_the_test_who_were_trained_on_before_are_a_leak(pretrained, beats_store, tmp_path):
    folder, ok = run(beats_store, tmp_path, protocol="kfold-3", fold=1, init_from=str(pretrained.path))
    assert ok
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert footer["leaks"] == ["patient"]
    assert "were trained on by before" in footer["leak_note"]
    assert "leaks on purpose" in (folder.path / "run.log").read_text()


def test_a_wrong_start_fails_the_run_in_one_line(beats_store, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    folder, ok = run(beats_store, tmp_path, protocol="interpatient", init_from=str(tmp_path / "other.pt"))
    assert not ok
    assert "none of its weights fits" in (folder.path / "run.log").read_text().splitlines()[-1]


def test_a_start_is_found_by_name_with_the_nearest_where_there_is_none(pretrained):
    runs = pretrained.path.parent
    assert locate("before", runs) == str(pretrained.path.resolve())
    assert locate("random", runs) is None
    with pytest.raises(MissingDataError, match="before"):
        locate("befor", runs)


def test_a_transfer_without_weights_to_start_from_is_refused():
    with pytest.raises(RecipeError, match="init_from"):
        validate(RunConfig, {"model": MODEL, "transfer": {"head": "fresh"}}, "here")


def test_shares_of_the_patients_reach_the_curve_of_the_report(records_store, tmp_path):
    small = {"protocol": "ptbxl-folds", "samples_per_class": None}
    starts = {0.0: None}
    for share in (50, 100):
        folder, ok = run(records_store, tmp_path, f"pre-{share}", patients=f"{share}%", **small)
        assert ok
        starts[share / 100] = str(folder.path)
    tuned = [
        run(records_store, tmp_path, f"tuned-{i}", init_from=start, seed=1, **small)[0]
        for i, start in enumerate(starts.values())
    ]
    block = score([read_run(folder.path) for folder in tuned], Evaluate(bootstrap=10))[0]
    table = comparison.pretraining_fractions(block)
    assert [row[1] for row in table.rows] == list(starts)
    assert len(json.loads((tmp_path / "pre-50" / "trained_on.json").read_text())["patients"]) < len(
        json.loads((tmp_path / "pre-100" / "trained_on.json").read_text())["patients"]
    )


def test_a_run_learns_the_labels_that_are_asked_for(pretrained, tmp_path):
    n = N_RECORDS * BEATS_OF_RECORD
    halves = Values(
        (np.arange(n) % 2).astype(np.int8), {"classes": ["even", "odd"], "rule": "made", "multilabel": False}
    )
    store = make_beats_store(tmp_path / "store" / "two.zarr", {"label/halves": halves})
    folder, ok = run(store, tmp_path, protocol="interpatient", scheme="halves", init_from=str(pretrained.path))
    assert ok
    _, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    assert (footer["scheme"], footer["classes"], footer["score_classes"]) == (
        "halves",
        ["even", "odd"],
        ["even", "odd"],
    )
    assert len(folder.read_json("transfer.json")["fresh"]) == 2
    with pytest.raises(UnknownNameError, match="halves"):
        chosen_split(store, DataConfig(protocol="interpatient", scheme="halve"), None)
    with pytest.raises(UserError, match="made for the labels aami"):
        chosen_split(store, DataConfig(protocol="interpatient", scheme="halves", balance="smote"), None)


def network_of_timm(n_channels):
    return create_model("timm/resnet10t", n_leads=1, n_samples=100, n_classes=3, picture=(n_channels, 32, 32))


def test_an_image_model_starts_from_a_file_with_its_first_layer_widened(tmp_path):
    source, model = network_of_timm(3).encoder.backbone, network_of_timm(6)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    load_pretrained(model, str(tmp_path / "weights.pth"))
    found, expected = model.encoder.backbone.state_dict(), source.state_dict()
    first = next(iter(expected))
    assert [name for name in expected if name != first and not torch.equal(found[name], expected[name])] == []
    torch.testing.assert_close(found[first], expected[first].repeat(1, 2, 1, 1) * 3 / 6)


def test_weights_of_another_image_model_or_that_are_not_there_are_refused(tmp_path):
    model = network_of_timm(3)
    torch.save(
        {name: weight[:1] for name, weight in model.encoder.backbone.state_dict().items() if weight.ndim},
        tmp_path / "other.pth",
    )
    with pytest.raises(UserError, match="does not fit resnet10t"):
        load_pretrained(model, str(tmp_path / "other.pth"))
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=r"holds nothing for 14 of its 14 layers, such as conv1\.0\.weight"):
        load_pretrained(model, str(tmp_path / "foreign.pth"))
    with pytest.raises(MissingDataError, match=r"no file 'absent\.pth'"):
        load_pretrained(model, "absent.pth")
    with pytest.raises(UserError, match="by timm: timm/"):
        load_pretrained(create_model("gru", n_leads=1, n_samples=100, n_classes=3), "imagenet")


def test_weights_that_cannot_be_had_are_said_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"resnet10t are neither cached nor to be had .*--set pretrained=FILE"):
        load_pretrained(network_of_timm(3), "imagenet")
