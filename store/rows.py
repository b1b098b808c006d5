"""Rows of an array by their numbers, in any order, decoded straight to where they are wanted.

Zarr's own selection by numbers is handed to the native codecs only where the numbers have no gaps, and else decoded in
Python. Here the codecs are given runs of rows as slices, each with its place in the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import NDBuffer
from zarr.core.buffer import default_buffer_prototype
from zarr.core.indexing import ChunkProjection
from zarr.core.sync import sync


class _Runs:
    """Runs of consecutive rows, as Zarr's indexers give what is read of each file and where it is put.

    Parameters
    ----------
    rows : ndarray of int64
        Numbers of the rows, in the order wanted.
    rows_a_file : int
        Rows of a shard, or of a chunk where there are none.
    row_shape : tuple of int
        Shape of a row.
    """

    drop_axes: tuple[int, ...] = ()

    def __init__(self, rows: NDArray[np.int64], rows_a_file: int, row_shape: tuple[int, ...]) -> None:
        self.shape = (len(rows), *row_shape)
        file, within = np.divmod(rows, rows_a_file)
        goes_on = (np.diff(rows) == 1) & (np.diff(file) == 0)
        first = np.flatnonzero(np.concatenate([[True], ~goes_on])) if len(rows) else np.zeros(0, np.int64)
        length = np.diff([*first, len(rows)])
        self.runs = zip(file[first].tolist(), within[first].tolist(), first.tolist(), length.tolist(), strict=True)

    def __iter__(self) -> Iterator[ChunkProjection]:
        whole = tuple(slice(0, size, 1) for size in self.shape[1:])
        coordinates = (0,) * len(whole)
        for file, within, first, n in self.runs:
            read, put = slice(within, within + n, 1), slice(first, first + n, 1)
            yield ChunkProjection((file, *coordinates), (read, *whole), (put, *whole), False)


def read_rows(array: zarr.Array[Any], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Put some rows of an array into `out`.

    Parameters
    ----------
    array : zarr.Array
        An array whose files hold whole rows, such as ``signal``.
    rows : ndarray of int64, shape (n,)
        Numbers of the rows, in the order wanted.
    out : ndarray, shape (n, …)
        Where they are put.
    """
    runs = _Runs(rows, (array.shards or array.chunks)[0], array.shape[1:])
    sync(
        array.async_array._get_selection(  # what Zarr's public selections call; they take no runs
            runs, prototype=default_buffer_prototype(), out=NDBuffer.from_numpy_array(out)
        )
    )
