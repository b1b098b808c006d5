"""Every recipe that comes with the package fits the schemas of the programs that read it."""

from __future__ import annotations

import pytest

from ecgeval.config import Evaluate
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.plan import resolve_reps
from ecgtrain.config import RunConfig
from ecgtrain.models import model_facts
from ecgtrain.recipe_ensembles import recipe_ensembles
from pipelines.recipe import read_recipe, shipped_names, validate
from pipelines.run import commands


@pytest.mark.parametrize("name", shipped_names())
def test_recipe_fits_the_schemas(name):
    recipe = read_recipe(name)
    prepare = validate(Prepare, recipe["prepare"], name)
    resolve_reps(get_database(prepare.dataset).resolve(prepare), n_samples=1000)
    recipe_ensembles(recipe, name, None)
    for run in (entry for entry in recipe["train"] if "ensemble" not in entry):
        model_facts(validate(RunConfig, run, name).model)
    validate(Evaluate, recipe["evaluate"], name)


def test_commands_name_the_recipe_and_the_folders(tmp_path):
    build, train, report = commands("b-ptbxl", tmp_path / "raw", tmp_path)
    assert build == [
        *("ecgprep", "build", "--recipe", "b-ptbxl", "--from", str(tmp_path / "raw"), "--home", str(tmp_path)),
    ]
    assert train == ["ecgtrain", "run", "--recipe", "b-ptbxl", "--home", str(tmp_path)]
    assert report == ["ecgeval", "report", "--recipe", "b-ptbxl", "--home", str(tmp_path)]
