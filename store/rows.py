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
    runs, reader = _Runs(rows, _rows_a_file(array), array.shape[1:]), array.async_array
    # what each of Zarr's selections calls; none of the public ones takes runs
    sync(reader._get_selection(runs, prototype=default_buffer_prototype(), out=NDBuffer.from_numpy_array(out)))


def files_of(array: zarr.Array[Any], rows: NDArray[np.int64]) -> list[str]:
    """Return the files of the store that hold some rows of an array."""
    numbers, corner = set((rows // _rows_a_file(array)).tolist()), (0,) * (array.ndim - 1)
    return [f"{array.path}/{array.metadata.encode_chunk_key((n, *corner))}" for n in sorted(numbers)]


def _rows_a_file(array: zarr.Array[Any]) -> int:
    return int((array.shards or array.chunks)[0])


class _Runs:
    """Runs of consecutive rows, as Zarr's indexers say what is read of each file and where it is put.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Numbers of the rows, in the order wanted.
    rows_a_file : int
        Rows of a file.
    row_shape : tuple of int
        Shape of a row.
    """

    drop_axes: tuple[int, ...] = ()

    def __init__(self, rows: NDArray[np.int64], rows_a_file: int, row_shape: tuple[int, ...]) -> None:
        self.shape = (len(rows), *row_shape)
        file, within = np.divmod(rows, rows_a_file)
        begins = np.ones(len(rows), dtype=bool)
        begins[1:] = (np.diff(rows) != 1) | (np.diff(file) != 0)
        first = np.flatnonzero(begins)
        self.runs = [
            column.tolist() for column in (file[first], within[first], first, np.diff(first, append=len(rows)))
        ]

    def __iter__(self) -> Iterator[ChunkProjection]:
        whole = tuple(slice(0, size, 1) for size in self.shape[1:])
        corner = (0,) * len(whole)
        for file, start, place, size in zip(*self.runs, strict=True):
            read, put = slice(start, start + size, 1), slice(place, place + size, 1)
            yield ChunkProjection((file, *corner), (read, *whole), (put, *whole), False)
