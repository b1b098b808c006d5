from __future__ import annotations

import errno
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

import ecgtrain.cli
import ecgtrain.loader
import ecgtrain.loop
import ecgtrain.plan
import ecgtrain.run
from ecgtrain.cli import app
from ecgtrain.config import EnsembleConfig, RunConfig
from ecgtrain.loader import loaders
from ecgtrain.models import list_models, model_facts
from ecgtrain.plan import default_runs, expect, repeated, resolve, that_fit
from ecgtrain.preparation import window_starts
from ecgtrain.run_folder import FAILED, FAILURE, FINISHED, RunFolder, earlier_runs, new_run
from pipelines.command_line import run_program
from store.errors import UserError
from store.read import open_store

QUICK = ["--epochs", "1", "--samples-per-class", "12", "--device", "cpu", "--no-baselines"]


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the program as a shell would and return its exit code, output and errors."""
    with pytest.raises(SystemExit) as stop:
        run_program(lambda *_, **options: app(list(arguments) or ["--help"], **options), "ecgtrain")
    printed = capfd.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


@pytest.fixture
def home(workspace, tmp_path):
    """A workspace of this test's own that has the beats store."""
    (tmp_path / "store").symlink_to(workspace / "store")
    return tmp_path


@pytest.mark.parametrize(
    "command", [[], ["run"], ["models"], ["runs"], ["env"]], ids=lambda c: " ".join(c) or "ecgtrain"
)
def test_every_command_has_help(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from ecgtrain.cli import app;"
        "CliRunner().invoke(app, ['run', '--help']);"
        "print([name for name in ('torch', 'zarr', 'pandas', 'matplotlib', 'pyarrow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_run_trains_each_kind_of_input_and_says_what_comes_next(records_store, tmp_path, capfd):
    home = tmp_path
    (home / "store").symlink_to(Path(records_store.location).parent)
    code, out, err = call(capfd, "run", "--home", str(home), *QUICK)
    assert code == 0
    runs = sorted(path.name for path in (home / "runs").iterdir())
    assert runs == [f"{model}-ptbxl-folds-1" for model in ("joint_fusion", "resnet18", "resnet1d_wang")]
    assert [(home / "runs" / run / "state").read_text().strip() for run in runs] == ["finished"] * 3
    assert [line.split(":")[0].strip() for line in out.splitlines()[1:4]] == [
        "resnet1d_wang",
        "resnet18",
        "joint_fusion",
    ]
    assert "1 epochs at most, up to" in out
    assert err.count("epoch 1/1") == 3
    assert "SYNTHETIC" in out
    assert out.splitlines()[-1] == "next: ecgeval report"


def test_a_failed_run_does_not_stop_the_next_and_shows_in_the_exit_code(home, tmp_path, capfd):
    recipe = tmp_path / "two.yaml"
    steep = {"name": "steep", "model": "resnet1d_wang", "optimizer": {"lr": 1e30}, "gradient_clip": None}
    recipe.write_text(yaml.safe_dump({"train": [steep, {"name": "fine", "model": "resnet1d_wang"}]}))
    code, out, err = call(capfd, "run", "--home", str(home), "--recipe", str(recipe), "--batch-size", "12", *QUICK)
    assert code == 1
    assert "the loss is" in err
    assert [(home / "runs" / name / "state").read_text().strip() for name in ("steep", "fine")] == [
        "failed",
        "finished",
    ]
    code, out, _ = call(capfd, "runs", "--home", str(home))
    assert code == 0
    assert "failed" in out
    assert "finished" in out


def test_resume_goes_on_with_a_run(home, capfd):
    once = ["run", "--home", str(home), "--model", "resnet1d_wang", "--name", "mine", *QUICK]
    assert call(capfd, *once)[0] == 0
    config = home / "runs" / "mine" / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 1", "epochs: 2"))
    code, _, err = call(capfd, "run", "--home", str(home), "--resume", "mine")
    assert code == 0
    assert "epoch 2/2" in err
    assert "epoch 1/2" not in err


@pytest.mark.slow
def test_an_interrupted_command_goes_on_when_it_is_given_again(home, capfd, monkeypatch):
    command = ["run", "--home", str(home), "--model", "resnet1d_wang", "--seeds", "3", *QUICK]
    train, trained = ecgtrain.run.train, []

    def interrupted(model, data, *options, **more):
        if len(trained) == 1:
            trained.append("interrupted")
            raise KeyboardInterrupt
        trained.append("whole")
        return train(model, data, *options, **more)

    monkeypatch.setattr(ecgtrain.run, "train", interrupted)
    code, _, err = call(capfd, *command)
    logging.disable(logging.NOTSET)
    assert (code, "the same command goes on from here" in err) == (130, True)
    assert call(capfd, *command)[0] == 0
    assert trained == ["whole", "interrupted", "whole", "whole"]
    runs = home / "runs"
    assert sorted(path.name for path in runs.iterdir()) == [f"resnet1d_wang-interpatient-{n}" for n in (1, 2, 3)]
    assert [yaml.safe_load((path / "config.yaml").read_text())["seed"] for path in sorted(runs.iterdir())] == [0, 1, 2]
    assert call(capfd, *command)[0] == 0  # it was finished: this is a new one
    assert len(list(runs.iterdir())) == 6


def test_all_models_that_fit_are_planned(records_store):
    signals = {run["model"] for run in default_runs(records_store, ["all"], ["signal"])}
    everything = {run["model"] for run in default_runs(records_store, ["all"])}
    assert signals == {name for name in list_models() if model_facts(name).reads == "signal"}
    assert everything == set(list_models())


def test_all_leaves_out_the_models_that_do_not_fit(records_store):
    configs = resolve(default_runs(records_store, ["all"], ["signal"]), {}, [], records_store, "test")
    fitting, reasons = that_fit(configs, records_store)
    assert set(reasons) == {f"inception_time_{size}_context" for size in ("tiny", "base", "large")}
    assert [config.model for config in fitting] == [c.model for c in configs if c.model not in reasons]
    assert all("R peak" in reason for reason in reasons.values())


def test_all_says_what_it_leaves_out_and_trains_the_rest(records_store, tmp_path, capfd, monkeypatch):
    asked = ("run", "--home", str(tmp_path), "--store", records_store.location, "--model", "all", "--input", "signal")
    monkeypatch.setattr(ecgtrain.plan, "list_models", lambda: ["class_prior", "inception_time_tiny_context"])
    code, _, err = call(capfd, *asked, *QUICK)
    assert (code, "left out: inception_time_tiny_context: the regions of a beat" in err) == (0, True)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["class_prior-ptbxl-folds-1"]
    monkeypatch.setattr(ecgtrain.plan, "list_models", lambda: ["inception_time_tiny_context"])
    code, _, err = call(capfd, *asked, *QUICK)
    assert (code, "no model fits records.zarr" in err) == (2, True)


def test_a_run_of_a_library_model_gets_a_folder_of_its_own(records_store, tmp_path, capfd):
    asked = ("run", "--home", str(tmp_path), "--store", records_store.location, "--model", "timm/resnet18")
    code, _, err = call(capfd, *asked, "--input", "gaf:size=16", *QUICK)
    assert (code, [path.name for path in (tmp_path / "runs").iterdir()]) == (0, ["timm-resnet18-ptbxl-folds-1"]), err


@pytest.mark.parametrize("name", ["a/b", "../a", "..", "", " a", "a ", "a\\b", "a\nb"])
def test_a_name_that_is_no_folder_of_the_workspace_is_refused(name, tmp_path):
    with pytest.raises(ValidationError, match="no name of a run"):
        RunConfig(model="class_prior", name=name)
    with pytest.raises(ValidationError, match="no name of a run"):
        EnsembleConfig(ensemble=("one", "other"), name=name)
    with pytest.raises(UserError, match="no name of a run"):
        new_run(tmp_path / "runs", name, "")


def test_pictures_too_small_for_a_model_are_named_before_anything_starts(records_store, tmp_path, capfd):
    asked = ("run", "--home", str(tmp_path), "--store", records_store.location, "--model", "vgg")
    code, _, err = call(capfd, *asked, "--input", "gaf:size=8", *QUICK)
    assert (code, "vgg cannot read a picture of 3×8×8: " in err) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_seeds_repeat_runs_and_names_tell_them_apart(beats_store):
    configs = resolve(
        default_runs(beats_store, ["resnet1d_wang"]), {"name": "mine", "seed": 4}, [], beats_store, "test"
    )
    found = [(config.name, config.seed) for config in repeated(configs, 2)]
    assert found == [("mine-seed4", 4), ("mine-seed5", 5)]
    assert repeated(configs, 1) == configs


def test_a_full_disk_ends_the_command_and_the_next_goes_on(home, capfd, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "last.safetensors")

    asked = ("run", "--home", str(home), "--model", "resnet1d_wang", "--name", "mine", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(ecgtrain.run, "train", full)
        code, _, err = call(capfd, *asked)
    assert code == 4
    assert err.splitlines()[-1] == "ecgtrain: the disk is full (last.safetensors); free space and run it again"
    assert RunFolder(home / "runs" / "mine").state == "running"
    assert call(capfd, *asked)[0] == 0


def gpu_is_full():
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**50), lambda: np.empty(2**58, dtype=np.uint8), gpu_is_full],
    ids=["torch", "numpy", "gpu"],
)
def test_out_of_memory_suggests_a_batch_size_and_the_next_run_goes_on(home, tmp_path, capfd, monkeypatch, allocate):
    def train(model, data, config, *rest, **options):
        if config.name == "large":
            allocate()  # more than a process can address: the allocator itself refuses
        return ecgtrain.loop.train(model, data, config, *rest, **options)

    monkeypatch.setattr(ecgtrain.run, "train", train)
    recipe = tmp_path / "two.yaml"
    runs = [{"name": name, "model": "resnet1d_wang"} for name in ("large", "fine")]
    recipe.write_text(yaml.safe_dump({"train": runs}))
    code, _, err = call(capfd, "run", "--home", str(home), "--recipe", str(recipe), "--batch-size", "64", *QUICK)
    assert code == 4
    assert "try --batch-size 32, or --set accumulation=2" in err
    assert "Traceback" not in err
    assert [(home / "runs" / name / "state").read_text().strip() for name in ("large", "fine")] == [
        "failed",
        "finished",
    ]


def test_the_future_is_learned_from_the_command_line_without_baselines(home, capfd):
    asked = ("--model", "cpc/resnet1d_wang", "--samples-per-class", "20", "--epochs", "1", "--device", "cpu")
    code, out, err = call(capfd, "run", "--home", str(home), "--name", "future", *asked)
    assert code == 0, err
    assert [path.name for path in (home / "runs").iterdir()] == ["future"]
    assert "no training row has the class" not in err
    assert out.splitlines()[-1] == "next: ecgeval report"


def test_training_rows_of_one_class_are_said_once_before_anything_starts(home, capfd, monkeypatch):
    """As of a folder whose annotator marks every beat with N."""
    learned_label = ecgtrain.loader.learned_label

    def all_alike(*asked):
        label = learned_label(*asked)
        return replace(label, values=np.zeros_like(label.values))

    monkeypatch.setattr(ecgtrain.loader, "learned_label", all_alike)
    code, out, err = call(capfd, "run", "--home", str(home), "--model", "resnet1d_wang,lstm", *QUICK)
    assert (code, out) == (2, "")
    assert err.count("have one aami label, N: there is nothing to learn") == len(err.splitlines()) == 1
    assert not (home / "runs").exists()


def test_a_split_without_rows_is_said_once_for_all_models(home, capfd, monkeypatch):
    known_rows = ecgtrain.loader.known_rows
    monkeypatch.setattr(ecgtrain.loader, "known_rows", lambda split, label, part: known_rows(split, label, part)[:0])
    code, out, err = call(capfd, "run", "--home", str(home), "--model", "resnet1d_wang,lstm", *QUICK)
    assert (code, out) == (2, "")
    assert err.count("has no train") == len(err.splitlines()) == 1
    assert not (home / "runs").exists()


def test_a_run_that_another_process_trains_is_left_alone(home, capfd):
    folder, store = new_run(home / "runs", "mine", ""), open_store(home / "store" / "beats.zarr")
    (config,) = resolve(default_runs(store, ["resnet1d_wang"]), {"epochs": 1}, [], store, "test")
    folder.write_config(config)
    folder.write_json("environment.json", ecgtrain.run.environment(config, store))
    with folder.alone():
        assert folder.in_use
        code, _, err = call(capfd, "run", "--home", str(home), "--resume", "mine")
        assert earlier_runs(home / "runs", [config]) == [None]
    assert (code, "trained by another process" in err) == (2, True)
    assert len(err.splitlines()) == 1
    assert (folder.state, (folder.path / "run.log").exists()) == ("", False)
    assert earlier_runs(home / "runs", [config]) == [folder]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "resnet1d_wong"], "Did you mean 'resnet1d_wang'?"),
        (["--protocol", "interpatent"], "Did you mean 'interpatient'?"),
        (["--input", "signl"], "Did you mean 'signal'?"),
        (["--channels", "MLI"], "Did you mean 'MLII'?"),
        (["--set", "optimiser.lr=1e-4"], "Did you mean 'optimizer'?"),
        (["--set", "optimizer.weight_deacy=0"], "Did you mean 'weight_decay'?"),
        (["--set", "train.resnet18.epoch=3"], "resnet18: unknown key 'epoch'. Did you mean 'epochs'?"),
        (["--set", "epochs"], "write it as key=value"),
        (["--epochs", "0"], "epochs: Input should be greater than or equal to 1"),
        (["--device", "gpu"], "device: Input should be 'auto', 'cpu', 'cuda' or 'mps'"),
        (["--protocol", "kfold-3"], "train them all with --folds 3"),
        (["--name", "mine"], "--name is for one run, and 3 are planned"),
        (["--model", "resnet18", "--input", "signal"], "resnet18 reads pictures"),
        (["--model", "resnet18", "--input", "signal"], "or take a model for signal, such as"),
        (["--balance", "smote"], "ecgprep build --balance smote"),
        (["--folds", "9"], "`ecgprep build` writes"),
        (["--samples-per-class", "0"], "samples_per_class: Input should be greater"),
        (["--set", "schedule.patience=7"], "can never act"),
        (["--model", "resnet1d_wang", "--set", "loss.name=bce"], "loss.name=bce is for several labels a row"),
        (["--set", "schedule.name=cosin"], "'cosine'"),
        (["--model", "joint_fusion", "--input", "cwt"], "joint_fusion reads signals"),
        (["--store", "beat"], "Did you mean 'beats'?"),
        (["--recipe", "no-such-recipe"], "unknown recipe"),
        (["--resume", "mine"], "no run 'mine'"),
        (["--resume", "mine", "--epochs", "3"], "give no other option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_met_in_one_line_before_anything_starts(home, capfd, options, said):
    code, _, err = call(capfd, "run", "--home", str(home), *options)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (home / "runs").exists()


def test_weights_that_do_not_fit_are_refused_before_anything_starts(home, tmp_path, capfd):
    file, model = tmp_path / "lstm.pt", ("--model", "resnet1d_wang")
    torch.save({"lstm.weight": torch.zeros(3)}, file)
    code, _, err = call(capfd, "run", "--home", str(home), *model, "--init-from", str(file))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "resnet1d_wang: " in err
    assert "none of its weights fits" in err
    torch.save(torch.nn.Linear(2, 2), file)
    code, _, err = call(capfd, "run", "--home", str(home), *model, "--init-from", str(file))
    assert (code, "holds more than tensors" in err) == (2, True)
    assert not (home / "runs").exists()


@pytest.mark.parametrize(("codes", "expected"), [([2], 2), ([2, 2], 2), ([1, 2], 1), ([2, 4], 4), ([0, 2], 2)])
def test_a_command_ends_as_its_failed_runs_do(tmp_path, codes, expected):
    folders = [new_run(tmp_path, None, "run") for _ in codes]
    for folder, code in zip(folders, codes, strict=True):
        folder.write_json(FAILURE, {"exit_code": code})
        folder.set_state(FAILED if code else FINISHED)
    assert ecgtrain.cli._end([(folder, not folder.exit_code) for folder in folders]) == expected


def test_an_undeclared_leak_is_refused(home, capfd):
    code, _, err = call(capfd, "run", "--home", str(home), "--protocol", "undeclared")
    assert code == 1
    assert "patients on two sides" in err
    assert not (home / "runs").exists()


def test_without_a_store_the_build_command_is_named(tmp_path, capfd):
    code, _, err = call(capfd, "run", "--home", str(tmp_path))
    assert code == 2
    assert "ecgprep build" in err


def test_baselines_stand_beside_a_run_and_are_fitted_once(home, capfd):
    for number in (1, 2):
        code, _, _ = call(
            capfd, "run", "--home", str(home), "--model", "resnet1d_wang", "--epochs", "1", "--device", "cpu"
        )
        assert code == 0
        runs = {path.name for path in (home / "runs").iterdir()}
        baselines = {f"{name}-interpatient-1" for name in ("boosting", "class_prior", "random_encoder")}
        assert runs == baselines | {f"resnet1d_wang-interpatient-{i}" for i in range(1, number + 1)}


def test_models_lists_every_model_with_its_paper(capfd):
    code, out, _ = call(capfd, "models")
    assert code == 0
    assert "resnet1d_wang" in out
    assert "0.47 M" in out
    assert "1512.03385" in out


def test_env_names_versions_and_codec(capfd):
    code, out, _ = call(capfd, "env")
    assert code == 0
    assert "torch" in out
    assert "Zarrs" in out


def test_the_plan_follows_what_the_store_holds(beats_store, records_store):
    assert default_runs(records_store) == [
        {"model": "resnet1d_wang", "inputs": ["signal"]},
        {"model": "resnet18", "inputs": ["gaf"]},
        {"model": "joint_fusion", "inputs": ["signal", "gaf"]},
    ]
    assert [run["inputs"] for run in default_runs(beats_store)] == [["signal"], ["cwt"], ["signal", "cwt"]]
    assert default_runs(records_store, inputs=["cwt"]) == [{"model": "resnet18", "inputs": ["cwt"]}]
    assert default_runs(records_store, models=["bigru_attention"]) == [
        {"model": "bigru_attention", "inputs": ["signal"]}
    ]


def test_settings_reach_all_runs_or_the_named_one_and_models_have_their_own_defaults(beats_store):
    settings = ["optimizer.lr=3e-4", "train.resnet18.seed=5"]
    wang, resnet, _ = resolve(default_runs(beats_store), {"batch_size": 8}, settings, beats_store, "test")
    assert (wang.optimizer.lr, resnet.optimizer.lr) == (3e-4, 3e-4)
    assert (wang.seed, resnet.seed) == (0, 5)
    assert (wang.epochs, resnet.epochs) == (50, 15)
    assert wang.batch_size == 8
    assert wang.protocol == "interpatient"


def test_the_plan_states_rows_parameters_and_time(beats_store):
    config = RunConfig(model="resnet1d_wang", epochs=3, protocol="interpatient", device="cpu")
    planned = expect(config, beats_store)
    assert planned.parameters == 470_085
    assert planned.n_train == len(set(range(beats_store.n_rows)) & set(_training_rows(beats_store)))
    assert planned.seconds > 0


def test_the_expected_time_counts_training_rows_and_all_windows_of_validation(records_store, monkeypatch):
    monkeypatch.setattr(ecgtrain.plan, "time_step", lambda *_, **__: (1, 0.5))
    config = RunConfig(model="gru", epochs=3, crop={"samples": 100, "stride": 75}, device="cpu")
    data = loaders(records_store)
    assert len(window_starts(250, config.crop)) == 3
    assert expect(config, records_store).seconds == 3 * 0.5 * (len(data.train.rows) + len(data.validation.rows))


def _training_rows(store):
    return loaders(store).train.rows.tolist()


def test_a_run_of_a_recipe_with_inputs_that_its_model_does_not_read_is_refused(records_store):
    with pytest.raises(UserError, match="resnet1d_wang reads the signal alone, not signal and gaf"):
        resolve([{"model": "resnet1d_wang", "inputs": ["signal", "gaf"]}], {}, [], records_store, "test")


def test_many_training_rows_take_larger_steps(beats_store, monkeypatch):
    runs = [{"model": "resnet1d_wang"}]
    assert resolve(runs, {}, [], beats_store, "test")[0].batch_size == 32
    monkeypatch.setattr("ecgtrain.plan.MANY_ROWS", 100)
    assert resolve(runs, {}, [], beats_store, "test")[0].batch_size == 128
    assert resolve(runs, {"batch_size": 64}, [], beats_store, "test")[0].batch_size == 64


def test_class_weights_of_a_model_are_for_one_label_a_row(beats_store, records_store):
    runs = [{"model": "ecgtransform"}]
    assert resolve(runs, {}, [], beats_store, "test")[0].class_weights == "context"
    assert resolve(runs, {}, [], records_store, "test")[0].class_weights == "auto"
