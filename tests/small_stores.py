"""Small stores, written through the plan as a build writes them, for tests to read and damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from store.plan import StorePlan, Values
from store.schema import SCHEMA_VERSION, ArraySpec, representation_spec, signal_spec
from store.shards import write_task
from store.write import Building, publish

N_ROWS, N_SAMPLES = 300, 2048  # 8 kB a row: 128 rows a task, three tasks, the last of them short
LEADS = ("II", "V1")
PICTURE = (8, 6)

Blocks = Mapping[str, np.ndarray]


def make_values(n_rows: int = N_ROWS) -> dict[str, Values]:
    generator = np.random.default_rng(1)
    row = np.arange(n_rows)
    facts: dict[str, Any] = {"scheme": "aami", "score_classes": ["N", "V"], "rule": "by patient", "unit": "patient"}
    whole = {**facts, "leaks": [], "leak_note": "", "kind": "split"}
    return {
        "label/aami": Values(
            generator.integers(-1, 3, n_rows).astype(np.int8),
            {"classes": ["N", "V", "Q"], "multilabel": False, "rule": "symbol"},
        ),
        "label/superclass": Values(
            generator.integers(0, 2, (n_rows, 5)).astype(np.uint8),
            {"classes": ["NORM", "MI", "STTC", "CD", "HYP"], "multilabel": True, "rule": "present"},
        ),
        "column/record": Values(np.array([f"mitdb/{100 + i // 10}" for i in row]), {}),
        "column/patient": Values(np.array([f"mitdb/{100 + i // 10}" for i in row]), {}),
        "column/age": Values(np.full(n_rows, np.nan, np.float32), {}),
        "column/lead_substituted": Values(np.zeros(n_rows, bool), {}),
        "column/rr_prev_s": Values(generator.uniform(0.4, 1.2, n_rows).astype(np.float32), {}),
        "split/interpatient": Values((row // 10 % 3).astype(np.int8), whole),
        "split/random": Values((row % 3).astype(np.int8), {**whole, "leaks": ["patient"], "leak_note": "on purpose"}),
        "split/kfold-5": Values((row // 10 % 5).astype(np.int8), {**whole, "kind": "folds"}),
    }


def make_plan(values: Mapping[str, Values] | None = None, reps: Sequence[str] = (), n_rows: int = N_ROWS) -> StorePlan:
    """Return the plan of a store with `reps` uint8 pictures; a name that ends in 16 gives float16 ones."""
    signal = signal_spec(n_rows, LEADS, N_SAMPLES, {"fs_hz": 360.0})
    pictures: list[ArraySpec] = [
        representation_spec(name, signal, PICTURE, "float16" if name.endswith("16") else "uint8", {"parameters": {}})
        for name in reps
    ]
    attributes = {
        "schema": SCHEMA_VERSION,
        "default_scheme": "aami",
        "default_protocol": "interpatient",
        "synthetic": True,
        "rows_key": "k",
    }
    files = {"quarantine.jsonl": "", "croissant.json": "{}\n"}
    return StorePlan("mitdb-01234567.zarr", (signal, *pictures), dict(values or make_values(n_rows)), attributes, files)


def make_blocks(plan: StorePlan, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows of every filled array."""
    generator = np.random.default_rng(seed)
    blocks = {}
    for spec in plan.filled:
        whole = (
            generator.integers(-900, 900, spec.shape) if spec.dtype == "int16" else generator.random(spec.shape) * 255
        )
        blocks[spec.path] = whole.astype(spec.dtype)
    return blocks


def fill(building: Building, blocks: Blocks, order: Sequence[int] | None = None) -> None:
    """Do the open tasks, in the order of their numbers or in `order`."""
    tasks = building.open_tasks()
    for task in [tasks[i] for i in order] if order is not None else tasks:
        rows = {path: block[task.start : task.stop] for path, block in blocks.items()}
        write_task(building.folder, building.digest, task, rows)


def write_store(folder: Path, plan: StorePlan, blocks: Blocks, order: Sequence[int] | None = None) -> Path:
    """Build and publish a store in a folder; return its place."""
    building = Building(folder / f".building-{plan.name}", plan)
    building.prepare()
    fill(building, blocks, order)
    publish(building, folder / plan.name)
    return folder / plan.name
