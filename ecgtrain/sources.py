"""Rows of a stored array: held in memory, or read in whole blocks as they are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from ecgtrain.samplers import WINDOW_BLOCKS, Rows
from store.read import damage_named

MEMORY_SHARE = 0.25


class StoredRows:
    """Some leads of a stored array (row, lead, …).

    Parameters
    ----------
    array : zarr.Array
        The array.
    leads : sequence of int
        Which places of its second axis.
    """

    def __init__(self, array: zarr.Array[Any], leads: Sequence[int]) -> None:
        self.array = array
        self.leads = list(leads)
        self.n_rows = array.shape[0]
        self.row_shape = (len(leads), *array.shape[2:])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.n_rows * int(np.prod(self.row_shape)) * self.array.dtype.itemsize

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from `start` to `stop`, decoding no more chunks than hold them.

        Raises
        ------
        DamagedStoreError
            If a chunk fails its checksum.
        """
        with damage_named(str(self.array.store_path)):
            return self._decode(start, stop)

    def _decode(self, start: int, stop: int) -> NDArray[Any]:
        if self.leads == list(range(self.array.shape[1])):
            return np.asarray(self.array[start:stop])
        if self.array.chunks[1] == 1:
            return np.stack([np.asarray(self.array[start:stop, lead]) for lead in self.leads], axis=1)
        return np.asarray(self.array[start:stop])[:, self.leads]


class RowSource(Protocol):
    """Where rows come from."""

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the rows in the order asked for."""


class MemorySource:
    """All rows in memory.

    Parameters
    ----------
    stored : StoredRows
        The rows, read at once.
    """

    def __init__(self, stored: StoredRows) -> None:
        self.values = stored.read(0, stored.n_rows)

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the rows in the order asked for."""
        return self.values[rows]


class StreamedSource:
    """Rows read from the store in blocks, of which two windows are kept.

    Asked for an epoch's batches in order it reads each block once; beats whose neighbours are read with them touch the
    blocks beside it as well.

    Parameters
    ----------
    stored : StoredRows
        The rows.
    block_rows : int
        Rows of a block; whole chunks.
    """

    def __init__(self, stored: StoredRows, block_rows: int) -> None:
        self.stored = stored
        self.block_rows = block_rows
        self.kept: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the rows in the order asked for."""
        taken = np.empty((len(rows), *self.stored.row_shape), dtype=self.stored.array.dtype)
        block_of = rows // self.block_rows
        for block in np.unique(block_of).tolist():
            here = block_of == block
            taken[here] = self._block(block)[rows[here] - block * self.block_rows]
        return taken

    def _block(self, block: int) -> NDArray[Any]:
        if block not in self.kept:
            start = block * self.block_rows
            self.kept[block] = self.stored.read(start, min(start + self.block_rows, self.stored.n_rows))
            while len(self.kept) > 2 * WINDOW_BLOCKS:
                self.kept.popitem(last=False)
        self.kept.move_to_end(block)
        return self.kept[block]


def place(stored: Sequence[StoredRows], block_rows: int, placement: str) -> list[RowSource]:
    """Return a source for each array: all of them in memory, or all streamed.

    Parameters
    ----------
    stored : sequence of StoredRows
        The arrays that a run reads.
    block_rows : int
        Rows of a block.
    placement : str
        ``memory``, ``streamed``, or ``auto``: in memory if they fit in a quarter of what is free.
    """
    if placement == "auto":
        import psutil

        fits = sum(rows.nbytes for rows in stored) <= MEMORY_SHARE * psutil.virtual_memory().available
        placement = "memory" if fits else "streamed"
    make: Callable[[StoredRows], RowSource] = (
        MemorySource if placement == "memory" else lambda rows: StreamedSource(rows, block_rows)
    )
    return [make(rows) for rows in stored]


def moments(
    stored: StoredRows,
    rows: Rows,
    block_rows: int,
    max_blocks: int | None = None,
    extents: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and SD of each lead over some rows, in stored units.

    Parameters
    ----------
    stored : StoredRows
        The array.
    rows : ndarray of int64
        The rows: those of training.
    block_rows : int
        Rows that are read as one piece.
    max_blocks : int, optional
        Read no more than so many blocks, evenly spread.
    extents : ndarray of int64, shape (n_stored_rows, 2), optional
        First sample of each row's signal and the one after its last; what lies outside does not count.

    Returns
    -------
    tuple of ndarray of float64, shape (n_leads,)
        Mean and SD; the SD of a constant lead is 1.
    """
    blocks = np.unique(rows // block_rows)
    if max_blocks is not None and len(blocks) > max_blocks:
        blocks = blocks[np.linspace(0, len(blocks) - 1, max_blocks).astype(int)]
    count, total, squares = 0, np.zeros(len(stored.leads)), np.zeros(len(stored.leads))
    for block in blocks.tolist():
        start = block * block_rows
        here = rows[(rows >= start) & (rows < start + block_rows)]
        values = stored.read(start, min(start + block_rows, stored.n_rows))[here - start]
        axes = (0, *range(2, values.ndim))
        if extents is None:
            count += values[:, 0].size
        else:
            sample = np.arange(values.shape[2])
            inside = (sample >= extents[here, :1]) & (sample < extents[here, 1:])
            values = np.where(inside[:, None], values, 0)
            count += int(inside.sum())
        total += values.sum(axis=axes, dtype=np.float64)
        squares += np.square(values, dtype=np.float64).sum(axis=axes)
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean, np.where(sd > 0, sd, 1.0)
