"""Recipes: one YAML file with a section for each program.

A recipe has the sections ``prepare`` (ecgprep), ``train`` (ecgtrain) and ``evaluate`` (ecgeval). Each program
owns the typed schema of its section; what is here finds, reads, overrides and validates them, and turns every
fault into one line that names the file, the key and the nearest known one.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

SECTIONS = ("prepare", "train", "evaluate")
SHIPPED = Path(__file__).parent

Schema = TypeVar("Schema", bound=BaseModel)


class RecipeError(ValueError):
    """A recipe, or an option that overrides one, is wrong; the message says what, where and what to do."""

    exit_code = 2


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def shipped_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given by its shipped name or by its path.

    Raises
    ------
    RecipeError
        If there is neither.
    """
    for path in (Path(name), SHIPPED / f"{name}.yaml"):
        if path.is_file():
            return path
    raise RecipeError(
        f"unknown recipe {name!r}.{nearest(name, shipped_names())} Shipped: {', '.join(shipped_names())}."
    )


def read_recipe(name: str) -> dict[str, Any]:
    """Return a recipe's sections as plain data.

    Raises
    ------
    RecipeError
        If the file is not YAML, not a mapping, or has a section of another name.
    """
    path = find_recipe(name)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with the sections {', '.join(SECTIONS)}")
    for section in data:
        if section not in SECTIONS:
            raise RecipeError(f"{path}: unknown section {section!r}.{nearest(section, SECTIONS)}")
    return data


def override(section: Mapping[str, Any], settings: Sequence[str], program_section: str) -> dict[str, Any]:
    """Return a copy of `section` with ``a.b=c`` settings applied; values are read as YAML.

    Parameters
    ----------
    section : mapping
        The section's plain data.
    settings : sequence of str
        Such as ``["optimizer.lr=3e-4"]``; a leading ``<program_section>.`` may be left out.
    program_section : str
        The section's own name.

    Raises
    ------
    RecipeError
        If a setting has no ``=``, or goes through a value that is not a mapping.
    """
    result: dict[str, Any] = copy.deepcopy(dict(section))
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise RecipeError(f"--set {setting}: write it as key=value, such as --set seed=1")
        parts = key.strip().removeprefix(f"{program_section}.").split(".")
        place = result
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {setting}: {part!r} holds a value, not a group of keys")
        place[parts[-1]] = _parse_value(text)
    return result


def _parse_value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"cannot read the value {text!r}: {' '.join(str(error).split())}") from error
    if isinstance(value, str) and value == text.strip():  # YAML 1.1 reads 3e-4 as text; quotes mean it
        try:
            return float(value)
        except ValueError:
            return value
    return value


def validate(schema: type[Schema], data: Mapping[str, Any], source: str) -> Schema:
    """Return `data` as an instance of `schema`.

    Parameters
    ----------
    schema : pydantic model class
        The section's schema.
    data : mapping
        The section's plain data.
    source : str
        What the data came from, for the message.

    Raises
    ------
    RecipeError
        With every fault in one line.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        faults = [_describe(fault, schema) for fault in error.errors()]
        raise RecipeError(f"{source}: " + "; ".join(faults)) from error


def _describe(fault: Any, schema: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _keys_beside(fault["loc"], schema)
        return f"unknown key {path!r}.{nearest(str(fault['loc'][-1]), known)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _keys_beside(loc: Sequence[Any], schema: type[BaseModel]) -> list[str]:
    """Return the keys that a schema knows where the unknown key stands."""
    place: type[BaseModel] = schema
    for part in loc[:-1]:
        field = place.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            place = inner
    return list(place.model_fields)


def recipe_hash(section: BaseModel, exclude: set[str] | None = None) -> str:
    """Return the SHA-256 (hexadecimal) of a resolved section without the keys in `exclude`."""
    data = section.model_dump(mode="json", exclude=exclude)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
