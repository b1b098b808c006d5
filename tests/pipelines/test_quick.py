"""Recipes made small: what is changed, and each from end to end on synthetic recordings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml

import ecgeval.cli
import ecgprep.cli
import ecgtrain.cli
from ecgprep.synth import write_cinc2017, write_icentia11k, write_mitdb, write_ptbdb, write_ptbxl
from ecgtrain.config import RunConfig
from pipelines.quick import Size, shrink
from pipelines.recipe import read_recipe, shipped_names, validate
from pipelines.run import quick_commands, run_all


@pytest.mark.parametrize("name", shipped_names())
def test_small_recipe_trains_the_same_models_on_few_rows(name):
    recipe = read_recipe(name)
    small = shrink(recipe)
    assert [run.get("model") for run in small["train"]] == [run.get("model") for run in recipe["train"]]
    for run in small["train"]:
        if "ensemble" in run:
            continue
        config = validate(RunConfig, run, name)
        assert (config.epochs, config.samples_per_class) == (2, 24)
    assert small["prepare"]["dataset"] == recipe["prepare"]["dataset"]


def test_pictures_become_small_and_the_rest_of_a_representation_stays():
    recipe = {
        "prepare": {"dataset": "mitdb", "reps": "gaf,cwt:size=224:wavelet=cmor1.5-1.0", "patients": "1%"},
        "train": [
            {"model": "resnet18", "inputs": ["cwt:size=224"]},
            {"model": "vgg", "inputs": ["gaf", "spectrogram"]},
        ],
    }
    small = shrink(recipe)
    assert small["prepare"] == {"dataset": "mitdb", "reps": "gaf:size=64,cwt:wavelet=cmor1.5-1.0:size=64"}
    assert [run["inputs"] for run in small["train"]] == [["cwt:size=64"], ["gaf", "spectrogram:size=64"]]


def test_recordings_are_synthesised_where_no_folder_is_named_and_only_once(tmp_path):
    first, build, train, report = quick_commands("c-nsht", None, tmp_path)
    made = tmp_path / "synthetic" / "mitdb"
    assert first[:3] == ["ecgprep", "synth", str(made)]
    recipe = str(tmp_path / "c-nsht-quick.yaml")
    assert build[:4] == ["ecgprep", "build", "--recipe", recipe]
    assert str(made) in build
    assert (train[3], report[3]) == (recipe, recipe)
    made.mkdir(parents=True)
    assert len(quick_commands("c-nsht", None, tmp_path)) == 3
    assert len(quick_commands("c-nsht", tmp_path / "raw", tmp_path)) == 3


def test_a_small_recipe_runs_from_synthetic_recordings_to_its_report(tmp_path):
    recipe = tmp_path / "baseline.yaml"
    recipe.write_text(yaml.safe_dump({"prepare": {"dataset": "mitdb"}, "train": [{"model": "class_prior"}]}))
    assert run_all(quick_commands(str(recipe), None, tmp_path)) == 0
    assert len(list(tmp_path.glob("runs/class_prior*/predictions/test.parquet"))) == 1
    assert len(list(tmp_path.glob("reports/*/report.html"))) == 1


SMALLEST = Size(epochs=1, batch_size=5, samples_per_class=1, picture_side=32, bootstrap=5)  # a step or two a run
ALEXNET_SIDE = 64  # it reads no smaller pictures
SMALLER_MODELS = {  # same code, fewer weights
    "timm/vit_base_patch16_224": "timm/vit_tiny_patch16_224",
    "timm/resnet50": "timm/resnet26",
}
PROGRAMS = {"ecgprep": ecgprep.cli.app, "ecgtrain": ecgtrain.cli.app, "ecgeval": ecgeval.cli.app}


@pytest.fixture
def _one_thread():
    """Compute in one thread: with batches this small, several wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of synthetic recordings of all databases that recipes name, as few as their protocols need."""
    folder = tmp_path_factory.mktemp("recordings")
    write_mitdb(folder, n_minutes=0.25, records=["106", "208", "205", "221"])  # train, train, validation, test
    write_ptbxl(folder, n_records=40)
    write_ptbdb(folder, n_records=32, n_minutes=0.25)
    write_cinc2017(folder, n_records=20)
    write_icentia11k(folder, n_records=30, n_minutes=0.5)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("name", shipped_names())
def test_every_recipe_runs_from_recordings_to_its_report(name, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("ecgtrain.plan.TIMED_STEPS", 1)
    recipe = read_recipe(name)
    for run in recipe["train"]:
        if "model" in run:
            run["model"] = SMALLER_MODELS.get(run["model"], run["model"])
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    size = replace(SMALLEST, picture_side=ALEXNET_SIDE) if name == "b-ptbxl" else SMALLEST
    build, train, report = quick_commands(str(tmp_path / f"{name}.yaml"), recordings, tmp_path, size)
    for program, *arguments in (build, [*train, "--no-baselines"], report):
        assert exit_code(PROGRAMS[program], arguments) == 0
    finished = [path for path in tmp_path.glob("runs/*/state") if path.read_text().strip() == "finished"]
    assert len(finished) == len(recipe["train"])
    assert all((path.parent / "predictions" / "test.parquet").is_file() for path in finished)
    assert len(list(tmp_path.glob("reports/*/report.html"))) == 1


def exit_code(program, arguments):
    """Run a program within this process, which has loaded its libraries already, and return how it ends."""
    try:
        return program(arguments, standalone_mode=False) or 0
    except SystemExit as stop:
        return stop.code or 0
