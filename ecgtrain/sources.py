"""Rows of a stored array: held on the device or in memory, or read in whole blocks as they are wanted."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor
from zarr.storage import LocalStore

from ecgtrain.samplers import WINDOW_BLOCKS, Rows, distinct
from store.read import damage_named
from store.rows import files_of, row_reader

MOST_BLOCKS = 2 * WINDOW_BLOCKS  # that are kept: a batch may lie in two windows
MEMORY_SHARES = {"device": 0.5, "host": 0.25}


class StoredRows:
    """Some leads of a stored array (row, lead, …).

    Parameters
    ----------
    array : zarr.Array
        The array.
    leads : sequence of int
        Which places of its second axis.
    check : callable
        Raises where the array is no longer the one that was opened; called after each reading with the files read.
    """

    def __init__(
        self, array: zarr.Array[Any], leads: Sequence[int], check: Callable[[Iterable[str]], None] = lambda files: None
    ) -> None:
        self.array = array
        self.leads = list(leads)
        self.check = check
        self.read_rows = row_reader(array)
        self.n_rows = array.shape[0]
        self.row_shape = (len(leads), *array.shape[2:])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.n_rows * int(np.prod(self.row_shape)) * self.array.dtype.itemsize

    @property
    def are_chunks(self) -> bool:
        """Whether each row is a chunk of its own, at hand, so that any of them are read without others."""
        return self.array.chunks[0] == 1 and isinstance(self.array.store, LocalStore)

    def read(self, rows: slice | Rows, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows, decoding no more chunks than hold them.

        Parameters
        ----------
        rows : slice or ndarray of int64
            Which, in any order.
        out : ndarray, optional
            Where they are put; new memory takes as long to get as to fill.

        Raises
        ------
        DamagedStoreError
            If a chunk fails its checksum, or the store was removed or replaced.
        """
        numbers = np.arange(self.n_rows)[rows] if isinstance(rows, slice) else rows
        if out is None:
            out = np.empty((len(numbers), *self.row_shape), dtype=self.array.dtype)
        with damage_named(str(self.array.store_path)):
            self._decode(numbers, out)
        self.check(files_of(self.array, numbers))
        return out

    def _decode(self, rows: Rows, out: NDArray[Any]) -> None:
        if self.leads == list(range(self.array.shape[1])):
            self.read_rows(rows, out)
            return
        size = (self.array.shards or self.array.chunks)[0]  # all leads of more rows might not fit into memory
        whole = np.empty((min(len(rows), size), *self.array.shape[1:]), dtype=out.dtype)
        for start in range(0, len(rows), size):
            here = rows[start : start + size]
            self.read_rows(here, whole[: len(here)])
            out[start : start + size] = whole[: len(here), self.leads]


class RowSource(Protocol):
    """Where rows come from."""

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for, where they lie."""

    def expect(self, rows: Rows) -> None:
        """Prepare for rows that will be wanted soon."""


class HostSource:
    """All rows in memory.

    Parameters
    ----------
    stored : StoredRows
        The rows, read at once.
    """

    def __init__(self, stored: StoredRows) -> None:
        self.values = stored.read(slice(None))

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        return torch.from_numpy(self.values[rows])  # NumPy gathers rows some ten times as fast as torch

    def expect(self, rows: Rows) -> None:
        """Do nothing: they are here."""


class DeviceSource:
    """All rows in memory of a device.

    Parameters
    ----------
    stored : StoredRows
        The rows, read at once.
    device : torch.device
        Whose memory.
    """

    def __init__(self, stored: StoredRows, device: torch.device) -> None:
        self.values = torch.from_numpy(stored.read(slice(None))).to(device)

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        return self.values.index_select(0, torch.from_numpy(rows).to(self.values.device))

    def expect(self, rows: Rows) -> None:
        """Do nothing: they are here."""


class DirectSource:
    """Rows that are chunks of their own, read from the store when they are asked for, straight into a batch.

    A batch that nobody holds any more leaves its memory to a later one: to get new memory takes a third as long as to
    read.

    Parameters
    ----------
    stored : StoredRows
        The rows.
    """

    def __init__(self, stored: StoredRows) -> None:
        self.stored = stored
        self.spare: list[NDArray[Any]] = []

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        return torch.from_numpy(self.stored.read(rows, self._memory(len(rows))))

    def _memory(self, n_rows: int) -> NDArray[Any]:
        """Return memory for some rows, which is spare again when the returned array is gone."""
        try:
            whole = self.spare.pop()
        except IndexError:
            whole = np.empty((0, *self.stored.row_shape), dtype=self.stored.array.dtype)
        if len(whole) < n_rows:
            whole = np.empty((n_rows, *whole.shape[1:]), dtype=whole.dtype)
        part = whole[:n_rows]
        weakref.finalize(part, self.spare.append, whole).atexit = False
        return part

    def expect(self, rows: Rows) -> None:
        """Do nothing: what is asked for is all that is read."""


class StreamedSource:
    """Rows read from the store in blocks, of which two windows are kept.

    Asked for an epoch's batches in order, and told what comes a window before, it reads each block once and while
    others are taken; beats whose neighbours are read with them touch the blocks beside it as well. Blocks that are
    wanted together are read by one call and kept in one array, so that most batches are taken from it by one index.

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
        self.lock = Lock()  # two passes at once, over training and validation say, must not use each other's memory
        self.reader = ThreadPoolExecutor(max_workers=1)
        self.kept: OrderedDict[int, Future[NDArray[Any]]] = OrderedDict()  # arrays by number, the last used at the end
        self.spare = np.empty((0, *stored.row_shape), dtype=stored.array.dtype)  # memory of one that was let go
        n_blocks = -(-stored.n_rows // block_rows)
        self.kept_in = np.full(n_blocks, -1)  # the array that holds each block
        self.first = np.zeros(n_blocks, np.int64)  # and where it begins there
        self.n_read = 0
        self.last: set[int] = set()  # arrays of the last batch
        self.expected: set[int] = set()  # arrays of which no batch took a row yet
        self.waiting: list[int] = []  # blocks that are expected and found no room

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        blocks = distinct(rows // self.block_rows)
        with self.lock:
            taken = self._taken(rows, blocks)
            self.last = set(self.kept_in[blocks].tolist())
            self.expected -= self.last
        return torch.from_numpy(taken)

    def expect(self, rows: Rows) -> None:
        """Begin to read rows that will be wanted soon; what finds no room beside others that are wanted, later."""
        blocks = distinct(rows // self.block_rows).tolist()
        with self.lock:
            absent = [block for block in dict.fromkeys([*self.waiting, *blocks]) if self.kept_in[block] < 0]
            for number in [number for number in self.kept if number not in self.last | self.expected]:
                if self._n_free < len(absent):
                    self._let_go(number)
            fitting, self.waiting = absent[: self._n_free], absent[self._n_free :]
            if fitting:
                self.expected.add(self.n_read)
                self._read(np.sort(fitting))

    def _taken(self, rows: Rows, blocks: NDArray[np.int64]) -> NDArray[Any]:
        """Return rows of some blocks."""
        block_of, within = np.divmod(rows, self.block_rows)
        if len(blocks) > MOST_BLOCKS:
            parts = np.array_split(blocks, -(-len(blocks) // MOST_BLOCKS))
            return self._joined(rows, [np.isin(block_of, part) for part in parts])
        self._hold(blocks)
        used = distinct(self.kept_in[blocks]).tolist()
        if len(used) == 1:
            return self.kept[used[0]].result().take(self.first[block_of] + within, axis=0)
        kept_in = self.kept_in[block_of]
        return self._joined(rows, [kept_in == number for number in used])

    def _joined(self, rows: Rows, parts: Sequence[NDArray[np.bool_]]) -> NDArray[Any]:
        """Return rows that are taken in parts."""
        taken = np.empty((len(rows), *self.stored.row_shape), dtype=self.spare.dtype)
        for part in parts:
            here = np.flatnonzero(part)
            taken[here] = self._taken(rows[here], distinct(rows[here] // self.block_rows))
        return taken

    @property
    def _n_free(self) -> int:
        return MOST_BLOCKS - int(np.count_nonzero(self.kept_in >= 0))

    def _hold(self, wanted: NDArray[np.int64]) -> None:
        """Read the blocks that are not kept, in place of those whose last use is longest ago."""
        kept_in = self.kept_in[wanted]
        for number in distinct(kept_in[kept_in >= 0]).tolist():
            self.kept.move_to_end(number)
        while n_absent := int(np.count_nonzero(self.kept_in[wanted] < 0)):
            if self._n_free >= n_absent:
                self._read(wanted[self.kept_in[wanted] < 0])
            else:
                self._let_go(next(iter(self.kept)))

    def _let_go(self, number: int) -> None:
        array = self.kept.pop(number)
        self.kept_in[self.kept_in == number] = -1
        self.expected.discard(number)
        self.spare = max(self.spare, array.result(), key=len)

    def _read(self, blocks: NDArray[np.int64]) -> None:
        """Begin to read blocks into one array."""
        size = self.block_rows
        rows = (blocks[:, None] * size + np.arange(size)).ravel()
        memory, self.spare = self.spare, self.spare[:0]
        self.kept[self.n_read] = self.reader.submit(self._filled, rows[rows < self.stored.n_rows], memory)
        self.kept_in[blocks] = self.n_read
        self.first[blocks] = np.arange(len(blocks)) * size  # only the last block of all is shorter
        self.n_read += 1

    def _filled(self, rows: Rows, memory: NDArray[Any]) -> NDArray[Any]:
        if len(memory) < len(rows):
            memory = np.empty((len(rows), *memory.shape[1:]), dtype=memory.dtype)
        self.stored.read(rows, memory[: len(rows)])
        return memory


def choose_place(n_bytes: int, wanted: str, device: torch.device) -> tuple[str, str]:
    """Return where rows are held, and a line that says so.

    Parameters
    ----------
    n_bytes : int
        Of all rows that a run reads.
    wanted : str
        ``device``, ``host``, ``streamed``, or ``auto``: on the device if they fit in half of what is free there, in
        memory if in a quarter, and else not at all.
    device : torch.device
        Where the model computes.
    """
    import psutil

    free = {"host": psutil.virtual_memory().available}
    if device.type == "cuda":
        free = {"device": torch.cuda.mem_get_info(device)[0], **free}
    fitting = (place for place in free if n_bytes <= MEMORY_SHARES[place] * free[place])
    place = next(fitting, "streamed") if wanted == "auto" else wanted
    if place == "device" and device.type == "cpu":
        place = "host"  # they are one
    words = {"device": f"held in memory of {device}", "host": "held in memory", "streamed": "streamed from the store"}
    room = ", ".join(f"{n / 1e9:.1f} GB free {'there' if name == 'device' else 'here'}" for name, n in free.items())
    return place, f"data: {n_bytes / 1e9:.2f} GB {words[place]} ({room})"


def make_source(stored: StoredRows, place: str, block_rows: int, device: torch.device) -> RowSource:
    """Return a source of rows for one of the places of `choose_place`; `block_rows` are read as one piece."""
    if place == "streamed":
        return DirectSource(stored) if stored.are_chunks else StreamedSource(stored, block_rows)
    return DeviceSource(stored, device) if place == "device" else HostSource(stored)


def moments(
    stored: StoredRows,
    rows: Rows,
    block_rows: int,
    max_blocks: int | None = None,
    lengths: NDArray[np.int64] | None = None,
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
    lengths : ndarray of int64, shape (n_stored_rows,), optional
        Samples of each row before its padding, which does not count.

    Returns
    -------
    tuple of ndarray of float64, shape (n_leads,)
        Mean and SD; the SD of a constant lead is 1.
    """
    blocks = distinct(rows // block_rows)
    if max_blocks is not None and len(blocks) > max_blocks:
        blocks = blocks[np.linspace(0, len(blocks) - 1, max_blocks).astype(int)]
    count, total, squares = 0, np.zeros(len(stored.leads)), np.zeros(len(stored.leads))
    for block in blocks.tolist():
        start = block * block_rows
        here = rows[(rows >= start) & (rows < start + block_rows)]
        values = stored.read(slice(start, start + block_rows))[here - start]
        axes = (0, *range(2, values.ndim))
        if lengths is None:
            count += values[:, 0].size
        else:
            inside = np.arange(values.shape[2]) < lengths[here, None]
            values = np.where(inside[:, None], values, 0)
            count += int(inside.sum())
        total += values.sum(axis=axes, dtype=np.float64)
        squares += np.square(values, dtype=np.float64).sum(axis=axes)
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean, np.where(sd > 0, sd, 1.0)
