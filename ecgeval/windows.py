"""Windows to rows, or rows to records: several predictions of one thing become one before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecgeval.errors import RequestError
from ecgeval.predictions import Predictions

How = Literal["mean", "max"]
Unit = Literal["row", "record"]


def combine_windows(predictions: Predictions, how: How = "mean", unit: Unit = "row") -> Predictions:
    """Return one prediction a row or a record: the mean or the maximum of each class over its windows.

    Parameters
    ----------
    predictions : Predictions
        Ordered by fold, row and window.
    how : {"mean", "max"}
        The combination. After a maximum the classes of a single-label row no longer sum to 1.
    unit : {"row", "record"}
        What the predictions of become one: the windows of a row of the store, or all rows of a record, for a
        store whose rows are themselves windows.

    Returns
    -------
    Predictions
        With ``window`` 0 throughout; `about` is that of the first window.

    Raises
    ------
    RequestError
        If rows of one record have different labels.
    """
    ordered = predictions if unit == "row" else predictions.take(np.lexsort((predictions.record, predictions.fold)))
    starts = _starts(ordered, unit)
    if len(starts) == len(ordered):
        return replace(ordered, window=np.zeros_like(ordered.window))
    if unit == "record":
        _check_labels(ordered, starts)
    if how == "max":
        p = np.maximum.reduceat(ordered.p, starts, axis=0)
    else:
        p = np.add.reduceat(ordered.p, starts, axis=0) / window_counts(ordered, unit)[:, None]
    first = ordered.take(starts)
    return replace(first, p=p, window=np.zeros_like(first.window))


def window_counts(ordered: Predictions, unit: Unit = "row") -> NDArray[np.int64]:
    """Return of how many predictions each row or record has."""
    return np.diff(np.append(_starts(ordered, unit), len(ordered)))


def _starts(ordered: Predictions, unit: Unit) -> NDArray[np.int64]:
    key = ordered.row if unit == "row" else ordered.record
    changes = (np.diff(key) != 0) | (np.diff(ordered.fold) != 0)
    return np.flatnonzero(np.concatenate([[True], changes]))


def _check_labels(ordered: Predictions, starts: NDArray[np.int64]) -> None:
    all_have = np.logical_and.reduceat(ordered.y, starts, axis=0)
    any_has = np.logical_or.reduceat(ordered.y, starts, axis=0)
    if (differ := (all_have != any_has).any(axis=1)).any():
        name = ordered.records[ordered.record[starts[differ][0]]]
        raise RequestError(
            f"rows of one record have different labels in {differ.sum()} records, the first is {name}; "
            "score rows, with --unit row"
        )
