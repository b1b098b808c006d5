"""Recipes: found, read, overridden and validated; each fault names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from ecgprep.config import NOT_IN_HASH, Prepare
from pipelines.recipe import (
    RecipeError,
    find_recipe,
    nearest,
    override,
    read_recipe,
    recipe_hash,
    shipped_names,
    validate,
)


class Optimizer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: float = Field(1e-3, gt=0)
    name: str = "adam"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = 0
    optimizer: Optimizer = Optimizer()


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_file_is_found_by_path_and_read(tmp_path: Path) -> None:
    name = write(tmp_path / "mine.yaml", "prepare: {dataset: mitdb}\nevaluate:\n")
    assert find_recipe(name) == Path(name)
    assert read_recipe(name) == {"prepare": {"dataset": "mitdb"}, "evaluate": None}


def test_empty_file_is_an_empty_recipe(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path / "mine.yaml", "")) == {}


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_recipe_is_read(name: str) -> None:
    section = read_recipe(name).get("prepare")
    if section:
        model = validate(Prepare, section, name)
        assert Prepare.model_validate(model.model_dump()) == model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prepare: [", r"mine\.yaml: not a YAML file"),
        ("- prepare", r"mine\.yaml: a recipe is a mapping with the sections prepare, train, evaluate"),
        ("trian: {}", r"mine\.yaml: unknown section 'trian'\. Did you mean 'train'\?"),
        ("3: {}", r"mine\.yaml: unknown section 3"),
    ],
)
def test_fault_of_a_file_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(write(tmp_path / "mine.yaml", text))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_unknown_recipe_is_an_error(tmp_path: Path) -> None:
    for name in ("no-such-recipe", str(tmp_path), ""):
        with pytest.raises(RecipeError, match="unknown recipe"):
            find_recipe(name)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["seed=7"], {"seed": 7, "optimizer": {"name": "sgd"}}),
        (["optimizer.lr=3e-4"], {"seed": 1, "optimizer": {"name": "sgd", "lr": 3e-4}}),
        (["train.seed=7"], {"seed": 7, "optimizer": {"name": "sgd"}}),
        (["seed=7", "seed=8"], {"seed": 8, "optimizer": {"name": "sgd"}}),
        (["optimizer.name=a=b"], {"seed": 1, "optimizer": {"name": "a=b"}}),
        (["leads=[II, V1]"], {"seed": 1, "optimizer": {"name": "sgd"}, "leads": ["II", "V1"]}),
        (["seed="], {"seed": None, "optimizer": {"name": "sgd"}}),
    ],
)
def test_settings_are_applied_to_a_copy(settings: list[str], expected: dict[str, Any]) -> None:
    section = {"seed": 1, "optimizer": {"name": "sgd"}}
    assert override(section, settings, "train") == expected
    assert section == {"seed": 1, "optimizer": {"name": "sgd"}}


@given(st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_values_are_read_as_they_are_written(value: float | bool) -> None:
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    read = override({}, [f"key={written}"], "train")["key"]
    assert read == value
    assert isinstance(read, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set seed: write it as key=value"),
        ("=3", "--set =3: write it as key=value"),
        ("seed.x=3", "--set seed.x=3: 'seed' holds a value"),
        ("seed=[", "cannot read the value"),
    ],
)
def test_fault_of_a_setting_names_it(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        override({"seed": 1}, [setting], "train")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sede": 1}, "mine.yaml: unknown key 'sede'. Did you mean 'seed'?"),
        ({"optimizer": {"lrr": 1}}, "mine.yaml: unknown key 'optimizer.lrr'. Did you mean 'lr'?"),
        ({"optimizer": {"lr": -1}}, "mine.yaml: optimizer.lr: Input should be greater than 0"),
        ({"seed": "x"}, "mine.yaml: seed: Input should be a valid integer"),
    ],
)
def test_fault_of_a_value_names_file_and_key(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        validate(Section, data, "mine.yaml")
    assert str(caught.value).startswith(message)


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(RecipeError, match=r"seed: .*; optimizer.lr: .*; unknown key 'more'"):
        validate(Section, {"seed": "x", "optimizer": {"lr": 0}, "more": 1}, "mine.yaml")


def test_nearest_says_nothing_where_nothing_is_near() -> None:
    assert nearest("seeed", ["seed", "lr"]) == " Did you mean 'seed'?"
    assert nearest("zzz", ["seed", "lr"]) == ""


def test_hash_leaves_out_what_changes_no_row() -> None:
    base = Prepare(dataset="mitdb")
    same = Prepare(dataset="mitdb", reps="gaf", workers=3, scheduler="tcp://x", strict=True)
    assert recipe_hash(base, NOT_IN_HASH) == recipe_hash(same, NOT_IN_HASH)
    for changed in ({"seed": 1}, {"fs": 125.0}, {"leads": ("V1",)}, {"unit": "beat:c360"}, {"engine": "reference"}):
        other = base.model_copy(update=changed)
        assert recipe_hash(base, NOT_IN_HASH) != recipe_hash(other, NOT_IN_HASH)


def test_every_key_of_prepare_is_described() -> None:
    assert all(field.description for field in Prepare.model_fields.values())
