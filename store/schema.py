"""What a store holds: every array's shape, type, chunks and attributes, before a byte is written.

Signals are millivolts as int16 counts of 0.001 mV. Fill values are never plausible data, because a missing
chunk reads as its fill value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1
SCALE_MV = 0.001
SIGNAL_FILL = -32768
CLIP_COUNT = 32767

ZSTD_LEVEL = 1
PICTURE_LEVEL = -1  # of bytes: read 1.5 times as fast as by level 1 and written 1.1 times, for a twentieth more of them
CHUNK_BYTES = 256 * 1024  # reading speed levels off near this size
TASK_BYTES = 1024 * 1024  # of signal; pictures of the same rows are some tens of times larger
MOST_TASK_BYTES = 256 * 1024 * 1024  # of signal, which a task holds whole: of rows that are days, fewer than the least
MIN_TASK_ROWS, MAX_TASK_ROWS = 64, 4096
WHOLE_ARRAY_CHUNK = 1 << 20


@dataclass(frozen=True)
class ArraySpec:
    """One array of the store.

    Parameters
    ----------
    path : str
        Its place in the store, such as ``rep/gaf``.
    shape : tuple of int
        The first axis is the row.
    dtype : str
        A NumPy type name, or ``string``.
    fill : int, float or str
        What an absent chunk would read as.
    chunks : tuple of int
        What is compressed, and read, as one piece.
    shards : tuple of int or None
        What is one file, written by one task; None for arrays that are written whole.
    dimensions : tuple of str
        Names of the axes.
    attributes : mapping
        What a reader needs to understand the values.
    level : int
        How hard Zstandard tries to make chunks small.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    fill: float | str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    level: int = ZSTD_LEVEL


def task_rows(row_bytes: int) -> int:
    """Return how many rows one task writes: a power of two that depends on the size of a row alone.

    Parameters
    ----------
    row_bytes : int
        Bytes of one row of ``signal``.
    """
    least = min(MIN_TASK_ROWS, _power_of_two_below(MOST_TASK_BYTES // row_bytes))
    return min(max(_power_of_two_below(TASK_BYTES // row_bytes), least), MAX_TASK_ROWS)


def chunk_rows(row_bytes: int, rows_per_task: int) -> int:
    """Return how many rows one chunk holds: a power of two, so that chunks divide a task's rows."""
    return min(_power_of_two_below(CHUNK_BYTES // row_bytes), rows_per_task)


def _power_of_two_below(value: int) -> int:
    return 1 << max(value, 1).bit_length() - 1


def signal_spec(n_rows: int, leads: Sequence[str], n_samples: int, attributes: Mapping[str, Any]) -> ArraySpec:
    """Return the spec of ``signal``: (row, lead, time) int16 in counts of `SCALE_MV`."""
    row_bytes = 2 * len(leads) * n_samples
    rows = task_rows(row_bytes)
    chunk = (chunk_rows(row_bytes, rows), len(leads), n_samples)
    return ArraySpec(
        path="signal",
        shape=(n_rows, len(leads), n_samples),
        dtype="int16",
        fill=SIGNAL_FILL,
        chunks=chunk,
        shards=(rows, len(leads), n_samples),
        dimensions=("row", "lead", "time"),
        attributes={"scale_mv": SCALE_MV, "units": "mV", "leads": list(leads), **attributes},
    )


def representation_spec(
    name: str,
    signal: ArraySpec,
    picture: tuple[int, int],
    dtype: str,
    attributes: Mapping[str, Any],
) -> ArraySpec:
    """Return the spec of ``rep/<name>``: (row, lead, height, width), all leads of a row a chunk or more.

    Rows of more than 128 KiB are a chunk each, so that any of them are read without others.

    Parameters
    ----------
    name : str
        Name of the representation's array.
    signal : ArraySpec
        The signals that it is drawn from; its shards cover the same rows.
    picture : tuple of int
        Height and width.
    dtype : str
        ``uint8`` or ``float16``.
    attributes : mapping
        Every parameter of the representation.
    """
    assert signal.shards is not None
    rows = signal.shards[0]
    n_rows, n_leads = signal.shape[:2]
    row_bytes = n_leads * picture[0] * picture[1] * np.dtype(dtype).itemsize
    return ArraySpec(
        path=f"rep/{name}",
        shape=(n_rows, n_leads, *picture),
        dtype=dtype,
        fill=0 if dtype == "uint8" else float("nan"),
        chunks=(chunk_rows(row_bytes, rows), n_leads, *picture),
        shards=(rows, n_leads, *picture),
        dimensions=("row", "lead", "height", "width"),
        attributes={"leads": signal.attributes["leads"], **attributes},
        level=PICTURE_LEVEL if dtype == "uint8" else ZSTD_LEVEL,
    )


def values_spec(
    path: str, values: NDArray[Any], attributes: Mapping[str, Any], dimensions: tuple[str, ...] = ("row", "class")
) -> ArraySpec:
    """Return the spec of a label, column, split or part of a balance: written whole; the first axis may be all."""
    kind = values.dtype.kind
    fills: dict[str, float | str] = {"i": -1, "u": 255, "f": float("nan"), "U": "", "O": "", "T": "", "b": 0}
    dtype = "string" if kind in "UOT" else values.dtype.name
    return ArraySpec(
        path=path,
        shape=values.shape,
        dtype=dtype,
        fill=fills[kind],
        chunks=(min(max(len(values), 1), WHOLE_ARRAY_CHUNK), *values.shape[1:]),
        shards=None,
        dimensions=dimensions[: values.ndim],
        attributes=attributes,
    )
