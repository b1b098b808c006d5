"""The predictions file of a run: reading and checking it. The format is described in docs/predictions.md."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ecgeval.errors import RunFileError
from ecgeval.header import Header, read_header, remedy

SUM_TOLERANCE = 1e-3  # of float32 or float16 softmax outputs
KEYS = ("fold", "row", "window")
MOST_NAMED = 5  # columns in a message
TEXT_ONCE = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Predictions:
    """Labels and probabilities of one split of one run.

    Parameters
    ----------
    header : Header
        The file's footer.
    row : ndarray of int64, shape (n,)
        Row of the store.
    window : ndarray of int16, shape (n,)
        Window of the row; 0 is the whole row.
    fold : ndarray of int16, shape (n,)
        Fold, −1 where the protocol has none.
    record, patient : ndarray of int32, shape (n,)
        Positions in `records` and `patients`.
    records, patients : tuple of str
        Names. Where the patient is unknown the record stands in.
    y : ndarray of bool, shape (n, n_classes)
        Labels, one-hot or multi-hot.
    p : ndarray of float64, shape (n, n_classes)
        Probabilities.
    about : dict of str to ndarray, each of shape (n,)
        Further columns that were asked for, such as ``sex``: numbers, NaN where unknown, or text, empty where unknown.
    """

    header: Header
    row: NDArray[np.int64]
    window: NDArray[np.int16]
    fold: NDArray[np.int16]
    record: NDArray[np.int32]
    patient: NDArray[np.int32]
    records: tuple[str, ...]
    patients: tuple[str, ...]
    y: NDArray[np.bool_]
    p: NDArray[np.float64]
    about: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[Any]) -> Predictions:
        """Return some rows, by number or by a mask, in that order."""
        arrays = {name: getattr(self, name)[index] for name in (*KEYS, "record", "patient", "y", "p")}
        return replace(self, **arrays, about={name: values[index] for name, values in self.about.items()})

    def digest(self) -> str:
        """Return the SHA-256 of rows, folds, records, patients and labels; equal for runs that can be ranked."""
        names = "\n".join((*self.records, "", *self.patients)).encode()
        arrays = (self.row, self.fold, self.y, self.record.astype(np.int64), self.patient.astype(np.int64))
        parts = (*(array.tobytes() for array in arrays), names)
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def read_predictions(path: Path, about: Sequence[str] = ()) -> Predictions:
    """Read and check a predictions file.

    Parameters
    ----------
    path : Path
        The Parquet file.
    about : sequence of str
        Further columns to read, such as ``sex``; one that the file does not have is left out.

    Returns
    -------
    Predictions
        Ordered by fold, row and window.

    Raises
    ------
    RunNotFoundError
        If there is no such file.
    RunFileError
        If it is damaged, lacks a column, holds a row twice, or has impossible labels or probabilities.
    """
    header = read_header(path)
    names = [*KEYS, "record", "patient", *(f"{prefix}_{label}" for prefix in "yp" for label in header.classes)]
    try:
        schema = pq.read_schema(path)
        if faults := _schema_faults(schema, names):
            raise RunFileError(f"{path}: {'; '.join(faults)}; {remedy(path)}")
        extra = [name for name in about if name in schema.names]
        texts = [name for name in ("record", "patient", *extra) if pa.types.is_string(schema.field(name).type)]
        columns = [*names, *extra]
        table = pq.read_table(path, columns=columns, read_dictionary=texts, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: damaged ({error}); {remedy(path)}") from error
    if table.num_rows == 0:
        raise RunFileError(f"{path}: holds no rows; the protocol {header.protocol!r} leaves this split empty")
    if faults := _value_faults(table, [name for name in names if name != "patient"]):
        raise RunFileError(f"{path}: {'; '.join(faults)}; {remedy(path)}")
    predictions = _from_table(table, header, extra, path)
    del table  # as large as the arrays; Arrow would keep its room for the next one
    pa.default_memory_pool().release_unused()
    order = np.lexsort((predictions.window, predictions.row, predictions.fold))
    ordered = predictions if (np.diff(order) == 1).all() else predictions.take(order)
    if faults := [*_probability_faults(ordered), *_row_faults(ordered)]:
        raise RunFileError(f"{path}: {'; '.join(faults)}; {remedy(path)}")
    return ordered


def _schema_faults(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Return which columns are missing, there twice, or of a type that cannot hold what they are for."""
    if missing := [name for name in names if name not in schema.names]:
        return [f"no column {_some(missing)}"]
    if repeated := [name for name in dict.fromkeys(names) if schema.names.count(name) > 1]:
        return [f"column {_some(repeated)} is there twice"]
    wrong = [name for name in names if name not in ("record", "patient") and not _holds(schema.field(name).type, name)]
    return [f"{name} holds {schema.field(name).type}, not numbers" for name in wrong[:MOST_NAMED]]


def _holds(kind: pa.DataType, name: str) -> bool:
    kinds = [pa.types.is_integer]
    if name not in KEYS:
        kinds += [pa.types.is_floating, pa.types.is_boolean] if name.startswith("y_") else [pa.types.is_floating]
    return any(is_kind(kind) for is_kind in kinds)


def _value_faults(table: pa.Table, names: Sequence[str]) -> list[str]:
    """Return which columns have empty cells, or numbers that their type in docs/predictions.md cannot hold."""
    if empty := {name: table[name].null_count for name in names if table[name].null_count}:
        return [f"{name} is empty in {n} rows" for name, n in list(empty.items())[:MOST_NAMED]]
    limits = np.iinfo(np.int16)
    ends = {name: pc.min_max(table[name]).as_py() for name in ("window", "fold")}
    return [
        f"{name} goes from {end['min']} to {end['max']}, beyond int16"
        for name, end in ends.items()
        if end["min"] < limits.min or end["max"] > limits.max
    ]


def _some(names: Sequence[str]) -> str:
    """Return names for a message, the first few of many."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(repr, names[:MOST_NAMED])) + more


def _from_table(table: pa.Table, header: Header, extra: Sequence[str], path: Path) -> Predictions:
    of_record, of_patient = _text(table["record"]), _text(table["patient"])
    unknown = pc.fill_null(pc.equal(of_patient, ""), True)
    record, records = _coded(of_record)
    patient, patients = _coded(pc.if_else(unknown, of_record, of_patient))
    labels = np.stack([table[f"y_{label}"].to_numpy() for label in header.classes], axis=1)
    if faults := _label_faults(labels, header):
        raise RunFileError(f"{path}: {'; '.join(faults)}; {remedy(path)}")
    return Predictions(
        header=header,
        row=table["row"].to_numpy().astype(np.int64),
        window=table["window"].to_numpy().astype(np.int16),
        fold=table["fold"].to_numpy().astype(np.int16),
        record=record,
        patient=patient,
        records=records,
        patients=patients,
        y=labels.astype(bool),
        p=np.stack([table[f"p_{label}"].to_numpy() for label in header.classes], axis=1).astype(np.float64),
        about={name: _column(table[name]) for name in extra},
    )


def _text(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column as text that is held once, however many rows have it."""
    if column.type != TEXT_ONCE:
        column = column.cast(pa.string()).dictionary_encode()
    return column.unify_dictionaries().combine_chunks()


def _coded(text: pa.DictionaryArray) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return positions in the sorted names, and the names."""
    codes, names = text.indices.to_numpy(), text.dictionary.to_pylist()
    used = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    order = sorted(used.tolist(), key=names.__getitem__)
    position = np.empty(len(names), dtype=np.int32)
    position[order] = np.arange(len(order))
    return position[codes], tuple(names[i] for i in order)


def _column(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy())
    codes, names = _coded(pc.fill_null(_text(column), ""))
    return np.array(names, dtype=object)[codes]


def _label_faults(y: NDArray[Any], header: Header) -> list[str]:
    if not np.isin(y, (0, 1)).all():
        return [f"{(~np.isin(y, (0, 1))).any(axis=1).sum()} rows have labels other than 0 and 1"]
    if header.task == "single" and (y.sum(axis=1) != 1).any():
        return [f"{(y.sum(axis=1) != 1).sum()} rows do not have exactly one label, but the task is single"]
    return []


def _probability_faults(rows: Predictions) -> list[str]:
    outside = ~((rows.p >= 0) & (rows.p <= 1))  # NaN fails both comparisons
    if outside.any():
        i, column = np.argwhere(outside)[0]
        first = f"row {rows.row[i]}, p_{rows.header.classes[column]} {rows.p[i, column]:g}"
        return [
            f"{outside.any(axis=1).sum()} rows have probabilities that are NaN or outside 0–1, the first is {first}"
        ]
    wrong_sum = np.abs(rows.p.sum(axis=1) - 1) > SUM_TOLERANCE
    if rows.header.task == "single" and wrong_sum.any():
        i = int(np.flatnonzero(wrong_sum)[0])
        first = f"row {rows.row[i]} with {rows.p[i].sum():.4g}"
        return [
            f"the probabilities of {wrong_sum.sum()} rows do not sum to 1, but the task is single; the first is {first}"
        ]
    return []


def _row_faults(ordered: Predictions) -> list[str]:
    """Return what is wrong between neighbouring windows."""
    faults = []
    same_row = (np.diff(ordered.row) == 0) & (np.diff(ordered.fold) == 0)
    if (repeated := same_row & (np.diff(ordered.window) == 0)).any():
        at = int(np.flatnonzero(repeated)[0])
        first = f"row {ordered.row[at]} window {ordered.window[at]} fold {ordered.fold[at]}"
        faults.append(f"{repeated.sum()} rows are there twice, the first is {first}")
    if (same_row & (ordered.y[1:] != ordered.y[:-1]).any(axis=1)).any():
        faults.append("windows of one row have different labels")
    if (same_row & ((np.diff(ordered.record) != 0) | (np.diff(ordered.patient) != 0))).any():
        faults.append("windows of one row are of different records or patients")
    return faults
