"""Recipes made small: what is changed, and one from end to end on synthetic recordings."""

from __future__ import annotations

import pytest

from ecgtrain.config import RunConfig
from pipelines.quick import shrink
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
        "train": [{"model": "resnet18", "inputs": ["cwt:size=224"]}, {"model": "vgg", "inputs": ["gaf"]}],
    }
    small = shrink(recipe)
    assert small["prepare"] == {"dataset": "mitdb", "reps": "gaf:size=64,cwt:wavelet=cmor1.5-1.0:size=64"}
    assert [run["inputs"] for run in small["train"]] == [["cwt:size=64"], ["gaf"]]


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
    assert run_all(quick_commands("c-nsht", None, tmp_path)) == 0
    assert len(list(tmp_path.glob("runs/*/predictions/test.parquet"))) == 4
    assert len(list(tmp_path.glob("reports/*/report.html"))) == 1
