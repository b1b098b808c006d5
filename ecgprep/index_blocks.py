"""The index of many records together: one array a column, since an array for each record costs more than it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.base import RecordRef
from ecgprep.index import IndexedRecord, Quarantined, index_record


@dataclass(frozen=True)
class IndexedBlock:
    """The rows that some records give, one record after the other.

    Parameters
    ----------
    is_used : ndarray of bool, shape (n_records,)
        Which records give rows; the others are quarantined.
    n_rows : ndarray of int64, shape (n_used,)
        How many each of those gives.
    stamp : ndarray of int64, shape (n_used,)
        `RecordRef.stamp` of each of those.
    start, valid_n : ndarray, shape (n_rows,)
        As in `ecgprep.index.CutRows`.
    columns, marks : mapping
        The same, one value a row.
    audit : mapping
        What each rule kept and dropped.
    row_samples : int
        Length of the longest row.
    sources : frozenset of tuple of str
        The leads that the leads came from, as they occur.
    n_clipped : int
        Clipped samples.
    digests : str
        SHA-256 of the raw files with their paths below the database's folder, one a line.
    quarantined : tuple of Quarantined
        Records that give no rows.
    """

    is_used: NDArray[np.bool_]
    n_rows: NDArray[np.int64]
    stamp: NDArray[np.int64]
    start: NDArray[np.int64]
    valid_n: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]
    marks: Mapping[str, NDArray[Any]]
    audit: Mapping[str, tuple[int, int]]
    row_samples: int
    sources: frozenset[tuple[str, ...]]
    n_clipped: int
    digests: str
    quarantined: tuple[Quarantined, ...]


def index_block(prepare: Prepare, block: tuple[int, Sequence[RecordRef]]) -> tuple[int, IndexedBlock]:
    """Index the records of a numbered block; return its number too, since blocks end in any order."""
    number, refs = block
    database = get_database(prepare.dataset)
    return number, join_blocks([_block_of(index_record(database, ref, prepare)) for ref in refs])


def _block_of(indexed: IndexedRecord | Quarantined) -> IndexedBlock:
    none = np.zeros(0, np.int64)
    if isinstance(indexed, Quarantined):
        no_rows = none.astype(np.int32)
        return IndexedBlock(np.array([False]), none, none, none, no_rows, {}, {}, {}, 0, frozenset(), 0, "", (indexed,))
    rows = indexed.rows
    return IndexedBlock(
        np.array([True]),
        np.array([len(rows.start)]),
        np.array([indexed.stamp]),
        rows.start,
        rows.valid_n,
        rows.columns,
        rows.marks,
        rows.audit,
        rows.row_samples,
        frozenset([indexed.sources]),
        indexed.n_clipped,
        "".join(f"{digest}  {path}\n" for path, digest in sorted(indexed.digests.items())),
        (),
    )


def join_blocks(blocks: Sequence[IndexedBlock]) -> IndexedBlock:
    """Return the block that holds the records of some, in their order."""
    with_rows = [block for block in blocks if len(block.n_rows)] or blocks[:1]
    audit: dict[str, tuple[int, int]] = {}
    for block in blocks:
        for rule, (kept, dropped) in block.audit.items():
            before = audit.get(rule, (0, 0))
            audit[rule] = (before[0] + kept, before[1] + dropped)
    return IndexedBlock(
        np.concatenate([block.is_used for block in blocks]),
        np.concatenate([block.n_rows for block in blocks]),
        np.concatenate([block.stamp for block in blocks]),
        np.concatenate([block.start for block in blocks]),
        np.concatenate([block.valid_n for block in blocks]),
        {name: np.concatenate([block.columns[name] for block in with_rows]) for name in with_rows[0].columns},
        {name: np.concatenate([block.marks[name] for block in with_rows]) for name in with_rows[0].marks},
        audit,
        max(block.row_samples for block in blocks),
        frozenset().union(*(block.sources for block in blocks)),
        sum(block.n_clipped for block in blocks),
        "".join(block.digests for block in blocks),
        tuple(item for block in blocks for item in block.quarantined),
    )
