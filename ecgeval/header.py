"""The footer of a predictions file: what it says of its run. The fields are described in docs/predictions.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ecgeval.errors import RunFileError, RunNotFoundError, validation_faults

SCHEMA = 1
FOOTER_KEY = b"ecg"


class StoreIdentity(BaseModel):
    """Which feature store a run was trained on."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    rows_digest: str
    synthetic: bool = False

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name or set(name) & set("/\\\0") or name.strip(".") == "":
            raise ValueError(f"{name!r} is no name of a store, a folder without its path")
        return name


class Pretraining(BaseModel):
    """What a fine-tuned run started from; a fraction of 0 is a random start."""

    model_config = ConfigDict(frozen=True)

    fraction: float = Field(ge=0, le=1)
    objective: str = ""
    run: str = ""


class Header(BaseModel):
    """What the footer of a predictions file says about its run."""

    model_config = ConfigDict(frozen=True)

    version: int = Field(alias="schema")
    task: Literal["single", "multi"]
    classes: tuple[str, ...] = Field(min_length=1)
    score_classes: tuple[str, ...] = Field(min_length=1)
    scheme: str
    protocol: str
    leaks: tuple[str, ...] = ()
    leak_note: str = ""
    run: str
    model: str
    input: str = ""
    leads: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    pretraining: Pretraining | None = None
    seed: int | None = None
    parameters: int | None = None
    store: StoreIdentity
    recipe_hash: str = ""
    versions: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_classes(self) -> Header:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is listed twice")
        if faulty := [name for name in self.classes if not name.strip() or not name.isprintable()]:
            raise ValueError(f"a class is called {faulty[0]!r}; a name needs letters, and no control characters")
        unknown = [name for name in self.score_classes if name not in self.classes]
        if unknown:
            raise ValueError(f"score_classes holds {', '.join(unknown)}, which is not among the classes")
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of input that the run sees, such as ``("signal", "gaf")``."""
        return tuple(self.input.split("+"))

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Mask of shape (n_classes,): the classes that the macro means are taken over."""
        return np.array([name in self.score_classes for name in self.classes])


def read_header(path: Path) -> Header:
    """Return the footer of a predictions file without reading its rows.

    Raises
    ------
    RunNotFoundError
        If there is no such file.
    RunFileError
        If it is not a Parquet file, or its footer does not keep the contract.
    """
    if not path.is_file():
        raise RunNotFoundError(f"{path}: no such file; finish the run with `ecgtrain run --resume {run_of(path)}`")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: not a readable Parquet file ({error}); {remedy(path)}") from error
    if FOOTER_KEY not in metadata:
        raise RunFileError(f"{path}: its footer has no key 'ecg', so it is no predictions file; {remedy(path)}")
    return parse_header(metadata[FOOTER_KEY], str(path))


def parse_header(text: bytes, source: str) -> Header:
    """Return the header that a footer's JSON holds.

    Parameters
    ----------
    text : bytes
        The JSON.
    source : str
        The file, for messages.

    Raises
    ------
    RunFileError
        If it is not JSON, is of another schema, or a field is missing or wrong.
    """
    try:
        data = json.loads(text)
        version = data["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFileError(
            f"{source}: the footer's key 'ecg' is no JSON object with a 'schema'; docs/predictions.md describes it"
        ) from error
    if version != SCHEMA:
        raise RunFileError(f"{source}: schema {version}, but this ecgeval reads schema {SCHEMA}; update ecgprep")
    try:
        return Header.model_validate(data)
    except ValidationError as error:
        raise RunFileError(f"{source}: footer: {validation_faults(error)}; docs/predictions.md describes it") from error


def run_of(path: Path) -> str:
    """Return the name of the run that a predictions file belongs to."""
    return path.parent.parent.name


def remedy(path: Path) -> str:
    """Return what to do about a predictions file that cannot be used."""
    return f"write it again with `ecgtrain run --resume {run_of(path)}`, or name the other runs to report"
