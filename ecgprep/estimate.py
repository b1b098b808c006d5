"""How large a store will be and how long it takes, from a sample of its rows that is made but not kept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.balance import BalanceTask
from ecgprep.build import cut_rows, draw_pictures, make_fills
from ecgprep.config import Prepare
from ecgprep.execute import default_workers
from ecgprep.neighbours import Pairs, pair_with_neighbours
from ecgprep.progress import Progress
from ecgprep.representations import Representation
from ecgprep.rows import Index
from store.codecs import chunk_compressor
from store.plan import StorePlan, Task
from store.schema import ZSTD_LEVEL, ArraySpec

SAMPLED_PAIRS = 1_000_000  # of a balance's synthetic rows
SAMPLES = 24  # places in the store, evenly spread
LEAST_ROWS = 8  # of a place, where a row is a chunk
ARRAY_BYTES = 1_700  # of an array's metadata, its copy in the group's and its manifest lines, without its attributes
BALANCE_BYTES = 11_000  # the same of a balance's five nodes, with their attributes and their part of croissant.json


@dataclass(frozen=True)
class Estimate:
    """What a build will take.

    Parameters
    ----------
    n_bytes : mapping
        Compressed bytes by array; all labels, columns and splits are one, all balances another, and all metadata and
        lists of files.
    seconds : float
        Time of the first pass, and of cutting, drawing and compressing with the workers that are asked for.
    """

    n_bytes: Mapping[str, int]
    seconds: float


def estimate(
    plan: StorePlan,
    indexes: Sequence[Index],
    prepare: Prepare,
    reps: tuple[Representation, ...],
    balances: Sequence[BalanceTask],
    indexing_s: float,
    progress: Progress = lambda what, done, total: None,
) -> Estimate:
    """Return what a build will take.

    Parameters
    ----------
    plan : StorePlan
        The plan.
    indexes : sequence of Index
        The first pass over each database.
    prepare : Prepare
        The resolved recipe.
    reps : tuple of Representation
        The pictures.
    balances : sequence of BalanceTask
        The balances.
    indexing_s : float
        Time that the first pass took, which a build makes too.
    progress : callable
        Told how much of the sample is done.
    """
    samples = _samples(plan)
    sizes: dict[str, list[float]] = {spec.path: [] for spec in plan.filled}
    reading_s, drawing_s = [], []
    for done, fill in enumerate(make_fills(plan, samples, "", "", indexes, prepare, reps), start=1):
        start = time.perf_counter()
        signal = cut_rows(fill)
        reading_s.append((time.perf_counter() - start) / len(fill.pieces))
        start = time.perf_counter()
        blocks = {"signal": signal} | {f"rep/{name}": planes for name, planes in draw_pictures(fill, signal).items()}
        for spec in plan.filled:
            sizes[spec.path].append(_compressed(blocks[spec.path], spec) / len(signal))
        drawing_s.append((time.perf_counter() - start) / len(signal))
        progress("measuring a sample", done, len(samples))
    n_bytes = {path: round(float(np.mean(each)) * plan.n_rows) for path, each in sizes.items()}
    n_bytes["labels, columns, splits"] = sum(_values_bytes(item.values) for item in plan.values.values())
    if balances:
        n_bytes["balances"] = sum(_balance_bytes(task) for task in balances)
    n_bytes["metadata, lists"] = _metadata_bytes(plan, len(balances))
    n_records = sum(len(index.records) for index in indexes)
    one_s = float(np.mean(reading_s)) * n_records + float(np.mean(drawing_s)) * plan.n_rows
    workers = default_workers() if prepare.workers is None else max(prepare.workers, 1)
    return Estimate(n_bytes, indexing_s + one_s / workers)


def _samples(plan: StorePlan) -> list[Task]:
    """Return runs of rows, as long as the smallest chunk or `LEAST_ROWS`, evenly spread over the store."""
    n = min(max(min(spec.chunks[0] for spec in plan.filled), LEAST_ROWS), plan.n_rows)
    places = np.unique(np.linspace(0, plan.n_rows - n, min(SAMPLES, ceil(plan.n_rows / n))).astype(int))
    return [Task(number, int(start), int(start) + n) for number, start in enumerate(places)]


def _compressed(block: NDArray[Any], spec: ArraySpec) -> int:
    """Return the bytes of a block of rows that are cut and compressed as an array's chunks are."""
    rows = spec.chunks[0]
    return sum(_zstd_bytes(block[first : first + rows].tobytes(), spec.level) for first in range(0, len(block), rows))


def _zstd_bytes(data: bytes, level: int = ZSTD_LEVEL) -> int:
    return len(chunk_compressor(level).encode(data))


def _metadata_bytes(plan: StorePlan, n_balances: int) -> int:
    """Return the bytes of all that is no array: attributes stand in an array's own metadata and in the group's."""
    attributes = _json_bytes(plan.attributes) + 2 * sum(_json_bytes(spec.attributes) for spec in plan.specs)
    lists = sum(len(text.encode()) for text in plan.files.values())
    return ARRAY_BYTES * len(plan.specs) + attributes + lists + BALANCE_BYTES * n_balances


def _json_bytes(attributes: Mapping[str, Any]) -> int:
    return len(json.dumps(attributes, indent=2, default=str))


def _values_bytes(values: NDArray[Any]) -> int:
    if values.dtype.kind in "UOT":
        texts = [str(text).encode() for text in values.ravel()]
        return _zstd_bytes(b"".join(len(text).to_bytes(4, "little") + text for text in texts))
    return _zstd_bytes(np.ascontiguousarray(values).tobytes())


def _balance_bytes(task: BalanceTask) -> int:
    """Return the bytes of a balance, of which a sample of the pairs is drawn."""
    generator = np.random.default_rng(0)
    rows = np.flatnonzero(task.label >= 0)
    n_new = task.n_new() if task.method != "under" else {}
    keep = np.zeros(len(task.label), bool)
    keep[generator.choice(rows, min(sum(task.wanted.values()), len(rows)), replace=False)] = True
    share = min(1.0, SAMPLED_PAIRS / max(sum(n_new.values()), 1))
    pairs = Pairs.joined([_draw_blindly(task, number, ceil(n * share), generator) for number, n in n_new.items()])
    arrays = (pairs.parents, pairs.weights.astype(np.float32), pairs.classes.astype(np.int8))
    return round(sum(_values_bytes(array) for array in arrays) / share) + _values_bytes(keep)


def _draw_blindly(task: BalanceTask, number: int, n: int, generator: np.random.Generator) -> Pairs:
    """Return pairs of a class in the order of the task's method, with any rows as neighbours.

    Their size depends on how often a row and a pair come again, not on which rows are near.
    """
    members = np.flatnonzero(task.label == number)
    near = generator.integers(len(members), size=(len(members), task.prepare.balance_neighbours))
    if task.method == "smote":
        return pair_with_neighbours(members, near, number, n, task.prepare.seed)
    first, weights = generator.integers(len(members), size=n), np.zeros(n)
    second = first  # a copy has one parent, twice, and no weight
    if task.method == "adasyn":  # row by row
        first, weights = np.sort(first), generator.random(n)
        second = near[first, generator.integers(near.shape[1], size=n)]
    return Pairs(members[np.stack([first, second], axis=1)], weights, np.full(n, number))
