"""The predictions file: what a run says of each row, and what is needed to judge it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ecgtrain.config import NEIGHBOURS, PREVIOUS, SIGNAL, TYPICAL, RunConfig
from ecgtrain.environment import versions
from ecgtrain.loader import Loaders
from ecgtrain.predicting import Said
from ecgtrain.samplers import Rows
from pipelines.recipe import recipe_hash
from store.files import sync_file, sync_folder
from store.read import Store

PREDICTIONS_SCHEMA = 1
FOOTER_KEY = b"ecg"
NO_FOLD = -1
NOT_IN_HASH = {"name", "store", "device", "placement", "pictures", "checkpoint", "predict_test", "save_features"}


def predictions_table(
    store: Store,
    rows: Rows,
    classes: tuple[str, ...],
    truth: NDArray[np.int8],
    said: Said,
    footer: Mapping[str, Any],
    fold: int | None = None,
) -> pa.Table:
    """Return the predictions for some rows as a table: one line a window of a row.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    rows : ndarray of int64, shape (n,)
        Their numbers, ascending.
    classes : tuple of str
        Names of the classes.
    truth : ndarray of int8, shape (n, n_classes)
        What is true.
    said : Said
        What the model says.
    footer : mapping
        What the file says of the run, under the key ``ecg``.
    fold : int, optional
        The fold that was tested.
    """
    n_windows = said.probability.shape[1]
    rows, truth = np.repeat(rows, n_windows), np.repeat(truth, n_windows, axis=0)
    window = np.arange(n_windows) + (n_windows > 1)  # windows count from 1; 0 is the whole row
    column = _Columns(store, rows)
    fs_hz = column.number("fs_raw_hz")  # of `sample`: both are in the recording's own samples
    sample = column.number("sample")
    fields: dict[str, pa.Array] = {
        "row": pa.array(rows, pa.int64()),
        "window": pa.array(np.tile(window, len(rows) // n_windows), pa.int16()),
        "fold": pa.array(np.full(len(rows), NO_FOLD if fold is None else fold), pa.int16()),
        "record": column.text("record"),
        "patient": column.text("patient"),
        "database": column.text("database"),
        "sample": pa.array(sample, pa.int64(), from_pandas=True),
        "fs_hz": pa.array(fs_hz, pa.float64(), from_pandas=True),
        "t_s": pa.array(sample / fs_hz, pa.float64(), from_pandas=True),
        "symbol": column.text("symbol"),
        "sex": column.text("sex"),
        "age": pa.array(column.number("age"), pa.float64(), from_pandas=True),
        "quality": pa.array(column.number("quality"), pa.float64(), from_pandas=True),
    }
    probability = said.probability.reshape(len(rows), -1)
    logits = np.full_like(probability, np.nan) if said.logits is None else said.logits.reshape(len(rows), -1)
    for prefix, values, kind in (
        ("y", truth, pa.int8()),
        ("logit", logits, pa.float32()),
        ("p", probability, pa.float32()),
    ):
        fields |= {f"{prefix}_{name}": pa.array(values[:, c], kind, from_pandas=True) for c, name in enumerate(classes)}
    return pa.table(fields).replace_schema_metadata({FOOTER_KEY: json.dumps(footer)})


def predictions_footer(
    config: RunConfig,
    store: Store,
    run: str,
    data: Loaders,
    parameters: int,
    pretraining: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a predictions file says of its run, whose model has so many parameters and started so."""
    return {
        "schema": PREDICTIONS_SCHEMA,
        "task": "multi" if data.label.multilabel else "single",
        "classes": list(data.label.classes),
        "score_classes": list(data.split.score_classes),
        "scheme": data.label.scheme,
        "protocol": data.split.protocol,
        "leaks": list(data.split.leaks),
        "leak_note": data.split.leak_note,
        "run": run,
        "model": config.model,
        "input": "+".join(config.inputs),
        "leads": list(data.leads),
        "context": context_of(data.preprocessing),
        "balance": config.balance,
        "test_time_copies": config.test_time_copies,
        "seed": config.seed,
        "pretraining": pretraining,
        "parameters": parameters,
        "store": {
            "name": store.name,
            "digest": store.digest,
            "rows_digest": store.rows_digest,
            "synthetic": store.synthetic,
        },
        "recipe_hash": recipe_hash(config, exclude=NOT_IN_HASH),
        "versions": versions(),
        "card": store.attributes.get("card", {}),
    }


def context_of(preprocessing: Mapping[str, Any]) -> list[str]:
    """Return what stands beside a row's own signal: RR intervals, neighbouring beats, the record's typical beat."""
    beside = preprocessing.get(SIGNAL, {})
    names = (NEIGHBOURS, PREVIOUS, TYPICAL)
    return [*(["rr"] if "features" in preprocessing else []), *(name for name in names if beside.get(name))]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, aside, compression="zstd", write_page_checksum=True)
    sync_file(aside)
    aside.replace(path)
    sync_folder(path.parent)


def read_predictions(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table of a predictions file and what it says of its run."""
    table = pq.read_table(path)
    return table, json.loads(table.schema.metadata[FOOTER_KEY])


class _Columns:
    """Columns of some rows as Parquet knows them; null where the store has none or does not know."""

    def __init__(self, store: Store, rows: Rows) -> None:
        self.store = store
        self.rows = rows

    def number(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64, NaN where unknown."""
        if name not in self.store.columns:
            return np.full(len(self.rows), np.nan)
        return self.store.column(name)[self.rows].astype(np.float64)

    def text(self, name: str) -> pa.Array:
        """Return a column as text, null where unknown."""
        if name not in self.store.columns:
            return pa.nulls(len(self.rows), pa.string())
        values = self.store.column(name)[self.rows]
        return pa.array([_text(value) for value in values.tolist()], pa.string())


def _text(value: Any) -> str | None:
    unknown = value is None or value == "" or value != value
    return None if unknown else str(value)
