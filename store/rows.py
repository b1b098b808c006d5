"""Rows of an array by their numbers, in any order, decoded straight to where they are wanted.

Zarr's own selection by numbers is handed to the native codecs only where the numbers have no gaps, and else decoded in
Python. Here the codecs are given runs of rows as slices, each with its place in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import NDBuffer
from zarr.core.buffer import default_buffer_prototype
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
    if len(rows) == 0:
        return
    whole = tuple(slice(0, size, 1) for size in array.shape[1:])
    corner = _corner(array)
    reader, facts = array.async_array, array.metadata
    spec = facts.get_chunk_spec((0, *corner), reader.config, default_buffer_prototype())
    number, within, first, length = _runs(rows, spec.shape[0])
    files = {n: array.store_path / facts.encode_chunk_key((n, *corner)) for n in set(number)}
    wanted = [
        (files[n], spec, (slice(start, start + size, 1), *whole), (slice(place, place + size, 1), *whole), False)
        for n, start, place, size in zip(number, within, first, length, strict=True)
    ]
    sync(reader.codec_pipeline.read(wanted, NDBuffer.from_numpy_array(out)))


def files_of(array: zarr.Array[Any], rows: NDArray[np.int64]) -> list[str]:
    """Return the files of the store that hold some rows of an array."""
    numbers = set((rows // (array.shards or array.chunks)[0]).tolist())
    return [f"{array.path}/{array.metadata.encode_chunk_key((n, *_corner(array)))}" for n in sorted(numbers)]


def _corner(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the place of a file along the axes after the first, each of which it holds whole."""
    return (0,) * (array.ndim - 1)


def _runs(rows: NDArray[np.int64], rows_a_file: int) -> list[list[int]]:
    """Return, of each run of consecutive rows, the number of its file, its place there, that in `rows`, its length."""
    number, within = np.divmod(rows, rows_a_file)
    begins = (np.diff(rows) != 1) | (np.diff(number) != 0)
    first = np.concatenate([[0], np.flatnonzero(begins) + 1])
    length = np.diff(first, append=len(rows))
    return [column.tolist() for column in (number[first], within[first], first, length)]
