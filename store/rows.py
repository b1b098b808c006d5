"""Rows of an array by their numbers, in any order, decoded straight to where they are wanted.

Each chunk that holds some of them is read once, by threads: of a store at hand from its shards, where decoding lets
other threads run, and of one at a URL by Zarr, as slices. Zarr's own selection by numbers takes ten times as long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from store.codecs import READ_THREADS, check_not_forked
from store.shard_file import ShardLayout, ShardReader

REQUESTS = 16  # at a time to the host of a URL

Rows = NDArray[np.int64]
ReadRows = Callable[[Rows, NDArray[Any]], None]


def row_reader(array: zarr.Array[Any]) -> ReadRows:
    """Return what puts rows of an array, by their numbers in the order wanted, into an array of as many rows.

    Parameters
    ----------
    array : zarr.Array
        An array whose files hold whole rows, such as ``signal``.
    """
    is_ours = array.shards is not None and [type(codec) for codec in array.compressors] == [ZstdCodec]
    return RowFiles(array).read if is_ours and isinstance(array.store, LocalStore) else partial(_read_by_zarr, array)


def files_of(array: zarr.Array[Any], rows: Rows) -> list[str]:
    """Return the files of the store that hold some rows of an array."""
    rows_a_file, corner = (array.shards or array.chunks)[0], (0,) * (array.ndim - 1)
    numbers = sorted(set((rows // rows_a_file).tolist()))
    return [f"{array.path}/{array.metadata.encode_chunk_key((number, *corner))}" for number in numbers]


class RowFiles:
    """The shards of an array that is at hand.

    Parameters
    ----------
    array : zarr.Array
        An array in a folder, in shards as `store.shard_file` writes them.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        assert isinstance(array.store, LocalStore)
        self.folder = Path(array.store.root) / array.path
        self.layout = ShardLayout.of(array)
        self.threads = ThreadPoolExecutor(READ_THREADS)

    def read(self, rows: Rows, out: NDArray[Any]) -> None:
        """Put rows into `out`; each chunk is decoded once.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Numbers of the rows, in the order wanted.
        out : ndarray, shape (n, …)
            Where they are put.

        Raises
        ------
        ForkedProcessError
            If this process was forked after a store was opened: the threads are not here.
        RuntimeError, ValueError
            If a chunk or the index of a shard fails its checksum.
        """
        check_not_forked()
        wanted = _parted(rows // self.layout.chunk_rows, lambda chunks: np.diff(chunks) > 0)
        size = max(1, -(-len(wanted) // READ_THREADS))
        shares = [wanted[start : start + size] for start in range(0, len(wanted), size)]  # one for each thread
        for _ in self.threads.map(lambda share: self._read_chunks(share, rows, out), shares):
            pass

    def _read_chunks(self, wanted: Sequence[tuple[int, Rows]], rows: Rows, out: NDArray[Any]) -> None:
        """Put the rows of some chunks, numbered and ascending, into their places in `out`."""
        size, chunks_per_shard = self.layout.chunk_rows, self.layout.chunks_per_shard
        for shard, some in itertools.groupby(wanted, key=lambda item: item[0] // chunks_per_shard):
            file = self.folder / self.layout.name(shard * self.layout.shard_rows)
            with ShardReader(file, chunks_per_shard) as reader:
                for chunk, places in some:
                    self._put(reader.frame(chunk % chunks_per_shard), rows[places] % size, places, out)

    def _put(self, frame: memoryview | None, within: Rows, places: Rows, out: NDArray[Any]) -> None:
        """Put rows `within` a chunk into `places` of `out`, straight where they are the chunk as it lies."""
        size, first = self.layout.chunk_rows, places[0]
        if len(places) == size and (size == 1 or (_is_run(within) and _is_run(places))):
            self.layout.decompress(frame, out[first : first + size])
        else:
            chunk = np.empty((size, *out.shape[1:]), out.dtype)
            self.layout.decompress(frame, chunk)
            out[places] = chunk[within]


def _read_by_zarr(array: zarr.Array[Any], rows: Rows, out: NDArray[Any]) -> None:
    """Put rows into `out`; chunks of a file that follow each other are read together."""
    size, rows_a_file = array.chunks[0], (array.shards or array.chunks)[0]

    def are_apart(chunks: Rows) -> NDArray[np.bool_]:
        return (np.diff(chunks) > 1) | (np.diff(chunks * size // rows_a_file) > 0)

    def read(part: tuple[int, Rows]) -> None:
        first, places = part[0] * size, part[1]
        stop = (int(rows[places[-1]]) // size + 1) * size
        out[places] = np.asarray(array[first:stop])[rows[places] - first]

    with ThreadPoolExecutor(REQUESTS) as threads:
        for _ in threads.map(read, _parted(rows // size, are_apart)):
            pass


def _parted(chunks: Rows, are_apart: Callable[[Rows], NDArray[np.bool_]]) -> list[tuple[int, Rows]]:
    """Return the first chunk of each part of some chunks, and the part's places in their order by number.

    Parameters
    ----------
    chunks : ndarray of int64, shape (n,)
        Numbers, in any order.
    are_apart : callable
        Tells of n ascending numbers which of the n - 1 pairs that follow each other are in two parts.
    """
    if not len(chunks):
        return []
    order = np.argsort(chunks, kind="stable")
    cuts = np.flatnonzero(are_apart(chunks[order])) + 1
    return [(int(chunks[places[0]]), places) for places in np.split(order, cuts)]


def _is_run(numbers: Rows) -> bool:
    return bool((np.diff(numbers) == 1).all())
