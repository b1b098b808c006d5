"""The predictions file of a run: reading it, checking it, and combining the windows of a row.

The format is described in docs/predictions.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecgeval.errors import RunFileError, RunNotFoundError

SCHEMA = 1
FOOTER_KEY = b"ecg"
SUM_TOLERANCE = 1e-3  # of float32 or float16 softmax outputs


class StoreIdentity(BaseModel):
    """Which feature store a run was trained on."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    rows_digest: str
    synthetic: bool = False


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
        unknown = [name for name in self.score_classes if name not in self.classes]
        if unknown:
            raise ValueError(f"score_classes holds {', '.join(unknown)}, which is not among the classes")
        return self

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Mask of shape (n_classes,): the classes that the macro means are taken over."""
        return np.array([name in self.score_classes for name in self.classes])


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
    record, patient : ndarray of int64, shape (n,)
        Positions in `records` and `patients`.
    records, patients : tuple of str
        Names. Where the patient is unknown the record stands in.
    y : ndarray of bool, shape (n, n_classes)
        Labels, one-hot or multi-hot.
    p : ndarray of float64, shape (n, n_classes)
        Probabilities.
    """

    header: Header
    row: NDArray[np.int64]
    window: NDArray[np.int16]
    fold: NDArray[np.int16]
    record: NDArray[np.int64]
    patient: NDArray[np.int64]
    records: tuple[str, ...]
    patients: tuple[str, ...]
    y: NDArray[np.bool_]
    p: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def digest(self) -> str:
        """Return the SHA-256 of rows, folds, records and labels; equal for runs that can be ranked."""
        names = "\n".join(self.records[i] for i in self.record).encode()
        parts = (self.row.tobytes(), self.fold.tobytes(), self.y.tobytes(), names)
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


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
        raise RunNotFoundError(f"{path}: no such file; finish the run with `ecgtrain run --resume {_run_of(path)}`")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: not a readable Parquet file ({error}); {_remedy(path)}") from error
    if FOOTER_KEY not in metadata:
        raise RunFileError(f"{path}: its footer has no key 'ecg', so it is no predictions file; {_remedy(path)}")
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
        raise RunFileError(f"{source}: the footer's key 'ecg' is no JSON object with a 'schema'") from error
    if version != SCHEMA:
        raise RunFileError(f"{source}: schema {version}, but this ecgeval reads schema {SCHEMA}; update ecgprep")
    try:
        return Header.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'footer'}: {e['msg']}" for e in error.errors())
        raise RunFileError(f"{source}: footer: {faults}") from error


def read_predictions(path: Path) -> Predictions:
    """Read and check a predictions file.

    Parameters
    ----------
    path : Path
        The Parquet file.

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
    names = ["row", "window", "fold", "record", "patient"]
    names += [f"{prefix}_{label}" for prefix in "yp" for label in header.classes]
    try:
        missing = sorted(set(names) - set(pq.read_schema(path).names))
        if missing:
            raise RunFileError(f"{path}: no column {', '.join(missing)}; {_remedy(path)}")
        table = pq.read_table(path, columns=names, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: damaged ({error}); {_remedy(path)}") from error
    if table.num_rows == 0:
        raise RunFileError(f"{path}: holds no rows; the protocol {header.protocol!r} leaves this split empty")
    _check(table, header, path)
    return _ordered(_from_table(table, header))


def combine_windows(predictions: Predictions, how: Literal["mean", "max"] = "mean") -> Predictions:
    """Return one prediction a row: the mean or the maximum of each class over the row's windows.

    Parameters
    ----------
    predictions : Predictions
        Ordered by fold, row and window.
    how : {"mean", "max"}
        The combination. After a maximum the classes of a single-label row no longer sum to 1.

    Returns
    -------
    Predictions
        With ``window`` 0 throughout.
    """
    starts = _row_starts(predictions)
    if how == "max":
        p = np.maximum.reduceat(predictions.p, starts, axis=0)
    else:
        sizes = np.diff(np.append(starts, len(predictions)))
        p = np.add.reduceat(predictions.p, starts, axis=0) / sizes[:, None]
    first = _take(predictions, starts)
    return replace(first, p=p, window=np.zeros_like(first.window))


def _check(table: pa.Table, header: Header, path: Path) -> None:
    """Raise with every fault of the columns in one line."""
    faults = [f"{name} is empty in {column.null_count} rows" for name, column in _columns(table) if column.null_count]
    if not faults:
        y, p = _matrix(table, "y", header), _matrix(table, "p", header)
        faults += _label_faults(y, header) + _probability_faults(p, header)
        order = _order(*(table[name].to_numpy() for name in ("fold", "row", "window")))
        keys = np.stack([table[name].to_numpy()[order] for name in ("fold", "row", "window")], axis=1)
        repeated = (keys[1:] == keys[:-1]).all(axis=1)
        if repeated.any():
            fold, row, window = keys[1:][repeated][0]
            faults.append(f"{repeated.sum()} rows are there twice, the first is row {row} window {window} fold {fold}")
        same_row = (keys[1:, :2] == keys[:-1, :2]).all(axis=1)
        if (same_row & (y[order][1:] != y[order][:-1]).any(axis=1)).any():
            faults.append("windows of one row have different labels")
    if faults:
        raise RunFileError(f"{path}: {'; '.join(faults)}; {_remedy(path)}")


def _columns(table: pa.Table) -> list[tuple[str, Any]]:
    """Return the columns that may not have nulls."""
    return [(name, table[name]) for name in table.column_names if name != "patient"]


def _label_faults(y: NDArray[Any], header: Header) -> list[str]:
    faults = []
    if not np.isin(y, (0, 1)).all():
        faults.append(f"{(~np.isin(y, (0, 1))).any(axis=1).sum()} rows have labels other than 0 and 1")
    elif header.task == "single" and (y.sum(axis=1) != 1).any():
        faults.append(f"{(y.sum(axis=1) != 1).sum()} rows do not have exactly one label, but the task is single")
    return faults


def _probability_faults(p: NDArray[Any], header: Header) -> list[str]:
    outside = ~((p >= 0) & (p <= 1)).all(axis=1)  # NaN fails both comparisons
    if outside.any():
        return [f"{outside.sum()} rows have probabilities that are NaN or outside 0–1"]
    wrong_sum = np.abs(p.sum(axis=1) - 1) > SUM_TOLERANCE
    if header.task == "single" and wrong_sum.any():
        return [f"the probabilities of {wrong_sum.sum()} rows do not sum to 1, but the task is single"]
    return []


def _matrix(table: pa.Table, prefix: str, header: Header) -> NDArray[Any]:
    return np.stack([table[f"{prefix}_{label}"].to_numpy() for label in header.classes], axis=1)


def _from_table(table: pa.Table, header: Header) -> Predictions:
    record_names = np.array(table["record"].to_pylist(), dtype=object)
    patient_names = np.array(table["patient"].to_pylist(), dtype=object)
    unknown = np.array([not name for name in patient_names])
    patient_names = np.where(unknown, record_names, patient_names)
    records, record = np.unique(record_names.astype(str), return_inverse=True)
    patients, patient = np.unique(patient_names.astype(str), return_inverse=True)
    return Predictions(
        header=header,
        row=table["row"].to_numpy().astype(np.int64),
        window=table["window"].to_numpy().astype(np.int16),
        fold=table["fold"].to_numpy().astype(np.int16),
        record=record,
        patient=patient,
        records=tuple(records.tolist()),
        patients=tuple(patients.tolist()),
        y=_matrix(table, "y", header).astype(bool),
        p=_matrix(table, "p", header).astype(np.float64),
    )


def _ordered(predictions: Predictions) -> Predictions:
    return _take(predictions, _order(predictions.fold, predictions.row, predictions.window))


def _order(fold: NDArray[Any], row: NDArray[Any], window: NDArray[Any]) -> NDArray[np.int64]:
    return np.lexsort((window, row, fold))


def _row_starts(predictions: Predictions) -> NDArray[np.int64]:
    changes = (np.diff(predictions.row) != 0) | (np.diff(predictions.fold) != 0)
    return np.flatnonzero(np.concatenate([[True], changes]))


def _take(predictions: Predictions, index: NDArray[np.int64]) -> Predictions:
    arrays = {
        name: getattr(predictions, name)[index] for name in ("row", "window", "fold", "record", "patient", "y", "p")
    }
    return replace(predictions, **arrays)


def _run_of(path: Path) -> str:
    return path.parent.parent.name


def _remedy(path: Path) -> str:
    return f"write it again with `ecgtrain run --resume {_run_of(path)}`, or name the other runs to report"
