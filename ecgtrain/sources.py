"""Rows of a stored array: held on the device or in memory, or read in whole blocks as they are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from ecgtrain.samplers import WINDOW_BLOCKS, Rows
from store.read import damage_named

READERS = 4  # the codec is native code and releases the lock
MEMORY_SHARES = {"device": 0.5, "host": 0.25}


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

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for, where they lie."""


class HostSource:
    """All rows in memory.

    Parameters
    ----------
    stored : StoredRows
        The rows, read at once.
    """

    def __init__(self, stored: StoredRows) -> None:
        self.values = stored.read(0, stored.n_rows)

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        return torch.from_numpy(self.values[rows])  # NumPy gathers rows some ten times as fast as torch


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
        self.values = torch.from_numpy(stored.read(0, stored.n_rows)).to(device)

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        return self.values.index_select(0, torch.from_numpy(rows).to(self.values.device))


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
        self.readers = ThreadPoolExecutor(max_workers=READERS)

    def take(self, rows: Rows) -> Tensor:
        """Return the rows in the order asked for."""
        taken = np.empty((len(rows), *self.stored.row_shape), dtype=self.stored.array.dtype)
        block_of = rows // self.block_rows
        for block, values in self._blocks(np.unique(block_of).tolist()).items():
            here = block_of == block
            taken[here] = values[rows[here] - block * self.block_rows]
        return torch.from_numpy(taken)

    def _blocks(self, wanted: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return blocks by number; those that are not kept are decoded side by side."""
        absent = [block for block in wanted if block not in self.kept]
        found = {block: self.kept[block] for block in wanted if block in self.kept}
        found |= zip(absent, self.readers.map(self._read, absent), strict=True)
        for block, values in found.items():
            self.kept[block] = values
            self.kept.move_to_end(block)
        while len(self.kept) > 2 * WINDOW_BLOCKS:
            self.kept.popitem(last=False)
        return found

    def _read(self, block: int) -> NDArray[Any]:
        start = block * self.block_rows
        return self.stored.read(start, min(start + self.block_rows, self.stored.n_rows))


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
        return StreamedSource(stored, block_rows)
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
    blocks = np.unique(rows // block_rows)
    if max_blocks is not None and len(blocks) > max_blocks:
        blocks = blocks[np.linspace(0, len(blocks) - 1, max_blocks).astype(int)]
    count, total, squares = 0, np.zeros(len(stored.leads)), np.zeros(len(stored.leads))
    for block in blocks.tolist():
        start = block * block_rows
        here = rows[(rows >= start) & (rows < start + block_rows)]
        values = stored.read(start, min(start + block_rows, stored.n_rows))[here - start]
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
