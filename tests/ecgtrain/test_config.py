from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import ecgtrain
from ecgtrain.config import RunConfig
from ecgtrain.models import list_models, model_facts
from pipelines.recipe import RecipeError, validate


def fields(schema: type[BaseModel]) -> Iterator[tuple[str, str | None]]:
    for name, field in schema.model_fields.items():
        yield name, field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation)


def test_every_field_is_described():
    assert all(description for _, description in fields(RunConfig))


def test_every_field_is_read():
    code = "".join(
        path.read_text() for path in Path(ecgtrain.__file__).parent.rglob("*.py") if path.name != "config.py"
    )
    assert [name for name, _ in fields(RunConfig) if f".{name}" not in code] == []


def test_a_configuration_survives_being_written():
    config = RunConfig(model="resnet18", inputs=("gaf", "mtf"), channels=("II",), gradient_clip=None)
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_none_is_no_value_where_a_key_may_have_none_and_a_name_elsewhere():
    given = {"gradient_clip": "none", "checkpoint": {"every_s": "none"}, "balance": "none", "class_weights": "none"}
    config = validate(RunConfig, {"model": "resnet18", **given}, "here")
    assert (config.gradient_clip, config.checkpoint.every_s) == (None, None)
    assert (config.balance, config.class_weights) == ("none", "none")
    with pytest.raises(RecipeError, match="epochs"):
        validate(RunConfig, {"model": "resnet18", "epochs": "none"}, "here")


def test_copies_that_would_equal_their_rows_are_refused_before_training():
    with pytest.raises(RecipeError, match="test_time_copies=2 needs an augmentation that changes a row"):
        validate(RunConfig, {"model": "resnet18", "test_time_copies": 2, "augmentation": {"mixup": 0.2}}, "here")


@pytest.mark.parametrize("name", list_models())
def test_settings_of_models_are_keys_of_a_run(name):
    validate(RunConfig, {"model": name, **model_facts(name).settings}, name)


def test_an_unknown_key_is_met_with_the_nearest():
    with pytest.raises(RecipeError, match="here: unknown key 'batchsize'"):
        validate(RunConfig, {"model": "resnet18", "batchsize": 3}, "here")


@pytest.mark.parametrize("name", ecgtrain.__all__)
def test_public_names_are_there(name):
    assert getattr(ecgtrain, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ecgtrain.trian
