"""Ensembles: averages by hand, choices that the test rows cannot change, and refusals that name what is wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from ecgeval.config import Evaluate
from ecgeval.evaluation import evaluate
from ecgeval.runs import read_run
from ecgtrain import load_run
from ecgtrain.cli import app
from ecgtrain.config import EnsembleConfig, RunConfig
from ecgtrain.ensemble import join, read_members, write_ensemble
from ecgtrain.joining import Task, fused, member_weights, train_fusion
from ecgtrain.predictions import FOOTER_KEY, read_predictions, write_table
from ecgtrain.recipe_ensembles import recipe_ensembles
from ecgtrain.reopened import reopen
from ecgtrain.run import execute
from ecgtrain.run_folder import FINISHED, MEMBERS, RUNNING, RunFolder, new_run
from pipelines.recipe import RecipeError, validate
from store.errors import MissingDataError, UserError

CLASSES = ["N", "V"]
FOOTER = {
    "schema": 1, "task": "single", "classes": CLASSES, "score_classes": CLASSES, "scheme": "aami",
    "protocol": "interpatient", "leaks": [], "leak_note": "", "model": "made", "input": "signal", "leads": ["II"],
    "context": [], "balance": "none", "seed": 0, "parameters": 10, "card": {},
    "store": {"name": "s.zarr", "digest": "d", "rows_digest": "r", "synthetic": True},
}  # fmt: skip
TRUTH = [0, 0, 1, 1]


def made_run(runs, name, validation, test, temperature=None, truth=TRUTH, **footer):
    """Write a finished run that says these probabilities of V, as logits at this temperature."""
    folder = new_run(runs, name, "")
    for part, p_v in (("validation", validation), ("test", test)):
        p = np.stack([1 - np.array(p_v), p_v], axis=1)
        logits = np.log(p) * (temperature or 1.0)
        said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        y = np.eye(2, dtype=np.int8)[truth]
        n = len(p)
        columns = {"row": np.arange(n) + 100 * (part == "test"), "window": np.zeros(n, np.int16)}
        columns |= {"fold": np.full(n, -1, np.int16), "record": ["r0", "r0", "r1", "r1"], "patient": list("aabb")}
        for c, label in enumerate(CLASSES):
            columns |= {f"y_{label}": y[:, c], f"logit_{label}": np.float32(logits[:, c])}
            columns[f"p_{label}"] = np.float32(said[:, c])
        table = pa.table(columns).replace_schema_metadata({FOOTER_KEY: json.dumps({**FOOTER, "run": name, **footer})})
        write_table(folder.path / "predictions" / f"{part}.parquet", table)
    folder.write_json("calibration.json", {"fitted_on": "validation", "temperature": temperature, "thresholds": {}})
    (folder.path / "config.yaml").write_text("model: made\n")
    folder.set_state(FINISHED)
    return folder


def ensemble(runs, folders, by="average", **options):
    config = EnsembleConfig(ensemble=[one.name for one in folders], by=by, **options)
    folder = new_run(runs, None, f"ensemble_{by}")
    write_ensemble(config, read_members(folders), folder, "cpu")
    return folder


def p_of(folder, part="test"):
    table, footer = read_predictions(folder.path / "predictions" / f"{part}.parquet")
    return table[f"p_{footer['classes'][1]}"].to_numpy()


GOOD, FAIR, BAD = [0.1, 0.2, 0.9, 0.8], [0.3, 0.6, 0.6, 0.7], [0.9, 0.8, 0.2, 0.3]


@pytest.fixture
def three(tmp_path):
    return [made_run(tmp_path, name, p, p) for name, p in (("good", GOOD), ("fair", FAIR), ("bad", BAD))]


@pytest.mark.parametrize(
    ("by", "options", "weights"),
    [
        ("average", {}, [1 / 3, 1 / 3, 1 / 3]),
        ("top-k", {"k": 2}, [0.5, 0.5, 0]),
        ("fixed", {"weights": (2, 1, 1)}, [0.5, 0.25, 0.25]),
        ("weighted", {}, [1 / (1 + 11 / 15), 11 / 15 / (1 + 11 / 15), 0]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_probabilities_are_mixed_by_weights_that_a_hand_can_work_out(tmp_path, three, by, options, weights):
    """F1 on validation: good 1 and 1; fair N 2/3 and V 4/5, mean 11/15; bad 0 and 0."""
    folder = ensemble(tmp_path, three, by, **options)
    np.testing.assert_allclose(p_of(folder), np.array(weights) @ [GOOD, FAIR, BAD], atol=1e-6)
    assert [one["weight"] for one in folder.read_json(MEMBERS)["members"]] == pytest.approx(weights)


def test_two_runs_are_fixed_at_six_to_four(tmp_path, three):
    folder = ensemble(tmp_path, three[:2], "fixed")
    np.testing.assert_allclose(p_of(folder), 0.6 * np.array(GOOD) + 0.4 * np.array(FAIR), atol=1e-6)


def test_members_are_calibrated_before_they_are_mixed(tmp_path):
    """A member whose logits are three times too large counts with what it says at its temperature of 3."""
    loud = made_run(tmp_path, "loud", GOOD, GOOD, temperature=3.0)
    fair = made_run(tmp_path, "fair", FAIR, FAIR)
    assert p_of(loud)[0] < 0.01
    np.testing.assert_allclose(p_of(ensemble(tmp_path, [loud, fair])), (np.array(GOOD) + FAIR) / 2, atol=1e-6)


@pytest.mark.parametrize("by", ["top-k", "weighted", "learnable", "attention"])
def test_what_is_said_of_the_test_rows_changes_no_choice(tmp_path, by):
    chosen = []
    for i, test in enumerate((GOOD, BAD)):
        place = tmp_path / str(i)
        folders = [made_run(place, "one", FAIR, test), made_run(place, "two", GOOD, FAIR)]
        config = EnsembleConfig(ensemble=["one", "two"], by=by, k=1, steps=5)
        chosen.append(join(config, read_members(folders)).network.state_dict())
    for name, value in chosen[0].items():
        np.testing.assert_array_equal(value, chosen[1][name])


def test_top_k_of_more_than_there_are_is_the_average():
    config = EnsembleConfig(ensemble=("a", "b"), by="top-k", k=5)
    assert member_weights(config, [0.3, 0.9]) == [0.5, 0.5]


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("by", ["learnable", "attention"])
def test_a_trained_fusion_learns_which_member_to_trust(by, multilabel):
    """The second member is noise; validation rows are judged by networks that did not see their patients."""
    import torch

    generator = np.random.default_rng(0)
    truth = np.eye(3, dtype=np.int8)[generator.integers(0, 3, 300)]
    right, noise = 3.0 * truth + generator.normal(0, 0.5, truth.shape), 5 * generator.normal(size=truth.shape)
    inputs = [torch.from_numpy(one.astype(np.float32)) for one in (right, noise)]
    config = EnsembleConfig(ensemble=("a", "b"), by=by, steps=100)
    patients = np.repeat(np.arange(30), 10)
    network, unseen = train_fusion(config, Task(3, multilabel), inputs, truth, patients)
    assert (unseen.argmax(axis=1) == truth.argmax(axis=1)).mean() > 0.95
    again, _ = train_fusion(config, Task(3, multilabel), inputs, truth, patients)
    np.testing.assert_array_equal(fused(network, inputs), fused(again, inputs))
    with pytest.raises(UserError, match="one patient"):
        train_fusion(config, Task(3, multilabel), inputs, truth, np.zeros(300, np.int64))


def test_labels_that_cannot_be_learned_are_no_better_on_unseen_patients():
    """Labels drawn at random: networks that saw the rows would know them, those that did not cannot."""
    import torch

    generator = np.random.default_rng(1)
    truth = np.eye(2, dtype=np.int8)[generator.integers(0, 2, 60)]
    inputs = [torch.from_numpy(generator.normal(size=(60, 40)).astype(np.float32)) for _ in range(2)]
    config = EnsembleConfig(ensemble=("a", "b"), by="feature", steps=100)
    network, unseen = train_fusion(config, Task(2, False), inputs, truth, np.arange(60))
    right = truth.argmax(axis=1)
    assert (fused(network, inputs).argmax(axis=1) == right).mean() > 0.95
    assert (unseen.argmax(axis=1) == right).mean() < 0.75


def test_pairwise_disagreement_is_the_share_of_rows_decided_differently(tmp_path, three):
    about = ensemble(tmp_path, three).read_json(MEMBERS)
    assert about["disagreement"]["test"] == [[0, 0.25, 1], [0.25, 0, 0.75], [1, 0.75, 0]]


def test_an_unfinished_member_is_named(tmp_path, three):
    three[1].set_state(RUNNING)
    with pytest.raises(MissingDataError, match=r"'fair' is running; finish it with `ecgtrain run --resume fair`"):
        read_members(three)


@pytest.mark.parametrize(
    ("footer", "truth", "words"),
    [
        (
            {"protocol": "intrapatient", "leaks": ["patient"]},
            TRUTH,
            r"protocol \(interpatient and intrapatient\), leaks",
        ),
        ({"store": {**FOOTER["store"], "rows_digest": "x"}}, TRUTH, "rows of the store"),
        ({}, [0, 1, 1, 1], "validation rows or their labels"),
    ],
    ids=["protocol", "store", "labels"],
)
def test_runs_on_other_rows_are_refused_with_what_differs(tmp_path, three, footer, truth, words):
    other = made_run(tmp_path, "other", FAIR, FAIR, truth=truth, **footer)
    with pytest.raises(UserError, match=f"good and other cannot answer together: they differ in {words}"):
        read_members([three[0], other])


def test_duplicates_and_ensembles_of_ensembles_are_refused(tmp_path, three):
    with pytest.raises(UserError, match="good is named twice"):
        read_members([three[0], RunFolder(tmp_path / "." / "good")])
    with pytest.raises(RecipeError, match="a run is named twice"):
        validate(EnsembleConfig, {"ensemble": ["good", "good"]}, "ecgtrain ensemble")
    with pytest.raises(UserError, match="name its members instead: good, fair, bad"):
        read_members([three[0], ensemble(tmp_path, three)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (1, 2)}, "by=fixed alone"),
        ({"by": "fixed", "ensemble": ("a", "b", "c")}, "a weight for each run"),
        ({"by": "fixed", "weights": (1, 2, 3)}, "3 weights for 2 runs"),
        ({"ensemble": ("a",)}, "at least 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        validate(EnsembleConfig, {"ensemble": ("a", "b"), **options}, "here")


@pytest.fixture(scope="module")
def trained(beats_store, tmp_path_factory):
    """Two finished runs on signals and on pictures drawn from them."""
    runs = tmp_path_factory.mktemp("runs")
    folders = []
    for model, inputs in (("resnet1d_wang", ("signal",)), ("resnet18", ("gaf:size=16",))):
        config = RunConfig(
            model=model, inputs=inputs, epochs=1, batch_size=200, device="cpu", store=beats_store.location,
            protocol="interpatient", context=(),
        )  # fmt: skip
        folders.append(new_run(runs, model, ""))
        assert execute(config, beats_store, folders[-1])
    return folders


@pytest.mark.parametrize("by", ["weighted", "learnable", "attention", "feature"])
def test_an_ensemble_is_a_run_like_any_other(beats_store, trained, by):
    runs = trained[0].path.parent
    folder = ensemble(runs, trained, by, steps=20)
    run = read_run(folder.path)
    assert run.header.members == ("resnet1d_wang", "resnet18")
    assert run.header.modalities == ("signal", "gaf:size=16")
    assert np.isfinite(evaluate(run, Evaluate(bootstrap=20)).of("f1").value)
    table, footer = read_predictions(folder.path / "predictions" / "test.parquet")
    rows = table["row"].to_numpy()
    said = np.stack([table[f"p_{name}"].to_numpy() for name in footer["classes"]], axis=1)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)
    record = beats_store.column("record")
    beats = np.flatnonzero(record == record[rows[0]])
    columns = {name: beats_store.column(name)[beats] for name in beats_store.columns}
    found = load_run(folder.path, "cpu").predict(
        beats_store.signal[:][beats] * beats_store.scale_mv,
        record_mv=(columns["record_mean_mv"][0], columns["record_sd_mv"][0]),
        rr_s=(columns["rr_prev_s"], columns["rr_next_s"]),
    )
    here = np.isin(rows, beats)
    np.testing.assert_allclose(found[np.searchsorted(beats, rows[here])], said[here], atol=1e-4)
    with pytest.raises(UserError, match="is an ensemble; name one of its members: resnet1d_wang, resnet18"):
        reopen(folder)


FEW = {"epochs": 1, "batch_size": 20, "samples_per_class": 4, "context": []}
RECIPE = {
    "train": [
        {"name": "shape", "model": "resnet1d_wang", **FEW},
        {"model": "gru", **FEW},
        {"ensemble": ["shape", "gru"], "by": "weighted", "name": "both"},
    ]
}


def test_a_recipe_s_ensemble_is_joined_when_its_runs_are_finished(workspace, tmp_path):
    (tmp_path / "store").symlink_to(workspace / "store")
    recipe = tmp_path / "own.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    options = ["--seeds", "2", "--device", "cpu", "--no-baselines", "--home", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        app(["run", "--recipe", str(recipe), *options], standalone_mode=False)
    assert stop.value.code == 0
    for i in (1, 2):
        folder = RunFolder(tmp_path / "runs" / f"both-{i}")
        assert (folder.state, folder.members) == (FINISHED, [f"shape-seed{i - 1}", f"gru-interpatient-{i}"])
    result = CliRunner().invoke(app, ["runs", "--home", str(tmp_path)])
    assert "both-1" in result.output


def test_a_recipe_of_named_runs_goes_on_after_its_trainings_and_is_made_once(workspace, tmp_path, capfd):
    (tmp_path / "store").symlink_to(workspace / "store")
    runs = [{**run, "name": f"run-{i}"} for i, run in enumerate(RECIPE["train"][:2])]
    recipe = tmp_path / "own.yaml"
    recipe.write_text(yaml.safe_dump({"train": [*runs, {"ensemble": ["run-0", "run-1"], "name": "both"}]}))

    def call(*options):
        asked = ["run", "--recipe", str(recipe), "--device", "cpu", "--no-baselines", "--home", str(tmp_path), *options]
        with pytest.raises(SystemExit) as stop:
            app(asked, standalone_mode=False)
        return stop.value.code, capfd.readouterr()

    assert call()[0] == 0
    shutil.rmtree(tmp_path / "runs" / "both")  # as if the command had been stopped before it joined
    code, said = call()
    assert code == 0
    assert "run-0 is finished already\nrun-1 is finished already" in said.out
    assert "both finished" in said.err
    code, said = call()
    assert (code, "both is finished already" in said.err) == (0, True)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["both", "run-0", "run-1"]
    with pytest.raises(UserError, match="run 'run-0' exists; give another --name"):
        call("--set", "optimizer.lr=1e-5")
    trained_on = RunFolder(tmp_path / "runs" / "run-1")
    environment = trained_on.read_json("environment.json")
    environment["store"]["rows_digest"] = "of other rows"
    trained_on.write_json("environment.json", environment)
    with pytest.raises(UserError, match="run-1 was started on other rows"):
        call()


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"ensemble": ["shape", "gur"]}, r"'gur' is no run of the recipe; give each run a name. Did you mean 'gru'\?"),
        ({"ensemble": ["shape", "gru"], "bye": "average"}, "unknown key 'bye'. Did you mean 'by'"),
    ],
    ids=["no such run", "no such key"],
)
def test_a_recipe_s_ensemble_is_checked_before_anything_trains(ensemble, message):
    with pytest.raises(RecipeError, match=message):
        recipe_ensembles({"train": [*RECIPE["train"][:2], ensemble]}, "own", None)


def test_an_ensemble_of_runs_that_are_not_all_trained_is_left_out():
    assert recipe_ensembles(RECIPE, "own", ["gru"]) == []
    assert [one.name for one in recipe_ensembles(RECIPE, "own", ["gru", "resnet1d_wang"])] == ["both"]
    twice = {"train": [{"model": "gru"}, {"model": "gru"}, {"ensemble": ["gru", "shape"]}]}
    with pytest.raises(RecipeError, match="'gru' is the name of 2 runs"):
        recipe_ensembles(twice, "own", None)
