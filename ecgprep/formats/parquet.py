"""One Parquet table a part: every column of the store, the labels and the signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ecgprep.export import Batch, Part
from ecgprep.formats.arrays import to_mv


def write_parquet(folder: Path, part: Part, advance: Callable[[int], None]) -> None:
    """Write ``<part>.parquet``.

    Columns are ``row`` (−1 for a synthetic row), ``parent_a`` and ``parent_b`` (−1 for a stored one), ``y_<class>``,
    the store's columns (null for synthetic rows), and ``signal_<lead>``, a list of values in mV.
    """
    import pyarrow.parquet as pq

    columns = {name: part.store.column(name) for name in part.store.columns}
    writer = None
    try:
        for batch in part.batches():
            table = _table(part, batch, columns)
            writer = writer or pq.ParquetWriter(folder / f"{part.name}.parquet", table.schema)
            writer.write_table(table)
            advance(len(batch.rows))
    finally:
        if writer is not None:
            writer.close()


def _table(part: Part, batch: Batch, columns: dict[str, Any]) -> Any:
    import pyarrow as pa

    arrays: dict[str, Any] = {"row": batch.rows, "parent_a": batch.parents[:, 0], "parent_b": batch.parents[:, 1]}
    arrays |= {f"y_{name}": batch.labels[:, i] for i, name in enumerate(part.label.classes)}
    table = {name: pa.array(np.ascontiguousarray(array)) for name, array in arrays.items()}
    stored = batch.rows >= 0
    for name, column in columns.items():
        values = column[np.maximum(batch.rows, 0)].tolist()
        held = [value if here else None for value, here in zip(values, stored, strict=True)]
        table[name] = pa.array(held, _arrow_type(column))
    signal_mv = to_mv(batch.counts)
    for lead, name in enumerate(part.store.leads):
        flat = pa.array(np.ascontiguousarray(signal_mv[:, lead]).ravel())
        table[f"signal_{name}"] = pa.FixedSizeListArray.from_arrays(flat, signal_mv.shape[2])
    return pa.table(table)


def _arrow_type(column: Any) -> Any:
    import pyarrow as pa

    if column.dtype.kind == "O":
        return pa.string()
    kind = pa.from_numpy_dtype(column.dtype)
    return pa.list_(kind) if column.ndim > 1 else kind
