"""The plan of a store: its arrays, and the tasks that fill them, each with shards of its own.

A task owns a range of rows that covers whole shards of every array, so that no two tasks ever write one file. The
ranges depend on the size of a row alone, never on the number of workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.schema import ArraySpec, values_spec

TEXTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Task:
    """A range of rows that one call fills."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Values:
    """A label, column, split or part of a balance, with what a reader needs to understand it."""

    values: NDArray[Any]
    attributes: Mapping[str, Any]
    dimensions: tuple[str, ...] = ("row", "class")


@dataclass(frozen=True)
class StorePlan:
    """Everything that is known of a store before its shards are filled.

    Parameters
    ----------
    name : str
        Name of the store's folder.
    filled : tuple of ArraySpec
        The arrays that tasks fill: the signals and the representations, with shards of equal rows. None where values
        alone are added to a store.
    values : mapping
        Labels, columns, splits and balances by path, written whole when the store is created.
    attributes : mapping
        Attributes of the store.
    files : mapping
        Text files beside the arrays, by name.
    """

    name: str
    filled: tuple[ArraySpec, ...]
    values: Mapping[str, Values]
    attributes: Mapping[str, Any]
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        rows = {(spec.shape[0], spec.shards and spec.shards[0]) for spec in self.filled}
        if len(rows) > 1:
            raise ValueError(f"arrays of one plan need equal rows and equal shards, found {sorted(map(str, rows))}")
        for spec in self.filled:
            if spec.shards is None or spec.shards[0] % spec.chunks[0]:
                raise ValueError(f"{spec.path}: shards of {spec.shards} do not hold whole chunks of {spec.chunks}")

    @property
    def n_rows(self) -> int:
        """Number of rows that tasks fill."""
        return self.filled[0].shape[0] if self.filled else 0

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """Every array of the store."""
        whole = tuple(
            values_spec(path, item.values, item.attributes, item.dimensions) for path, item in self.values.items()
        )
        return self.filled + whole

    def tasks(self) -> list[Task]:
        """Return the tasks, in the order of their rows."""
        if not self.filled:
            return []
        shards = self.filled[0].shards
        assert shards is not None
        starts = range(0, self.n_rows, shards[0])
        return [Task(i, start, min(start + shards[0], self.n_rows)) for i, start in enumerate(starts)]

    @property
    def digest(self) -> str:
        """SHA-256 of the plan: equal plans are filled with equal bytes."""
        state = hashlib.sha256()
        facts = [self.name, _plain(self.attributes), dict(self.files)]
        facts += [
            [spec.path, spec.shape, spec.dtype, spec.chunks, spec.level, _plain(spec.attributes)] for spec in self.specs
        ]
        state.update(json.dumps(facts, sort_keys=True).encode())
        for path in sorted(self.values):
            values = self.values[path].values
            if values.dtype.kind in "UOT":
                _update_by_text(state, values)
            else:
                state.update(np.ascontiguousarray(values).data)
        return state.hexdigest()


def _update_by_text(state: hashlib._Hash, values: NDArray[Any]) -> None:
    """Hash a text column as JSON, piece by piece: as Python's strings a whole one takes many times its size."""
    state.update(b"[")
    for start in range(0, len(values), TEXTS_AT_ONCE):
        piece = json.dumps(values[start : start + TEXTS_AT_ONCE].tolist())[1:-1]
        state.update((", " * bool(start) + piece).encode())
    state.update(b"]")


def _plain(mapping: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(mapping)))
