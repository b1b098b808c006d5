"""One shard: a file of compressed chunks and their index, as Zarr's sharding codec has it.

Chunks are compressed in threads and written in order, and the file's digest is taken on the way, so that a shard is
read back by nobody, costs little more than its compression, and has equal bytes by any number of threads. Any chunk is
read alone.

References
----------
Zarr v3, sharding codec (ZEP 2): chunks, then offset and length of each as little-endian uint64, then the index's
CRC-32C.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from store.codecs import chunk_compressor
from store.plan import Task

PIECE_BYTES = 1 << 20  # of raw data: threads that come back to Python after each chunk wait for each other
BUFFER_BYTES = 1 << 20  # written at once: pieces that end within a page are slow
ABSENT = 2**64 - 1  # in a shard's index: offset and length of a chunk that is all fill value


@dataclass(frozen=True)
class ShardLayout:
    """How the shards of one array lie, as its metadata says.

    Parameters
    ----------
    shape : tuple of int
        Of the array; shards and chunks divide its first axis alone.
    dtype : numpy.dtype
        Little-endian, as the bytes are stored.
    fill : float
        What an absent chunk reads as.
    shard_rows : int
        Rows of a shard.
    chunk_rows : int
        Rows of a chunk.
    level : int
        How hard Zstandard tries.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: float
    shard_rows: int
    chunk_rows: int
    level: int

    @classmethod
    def parse(cls, metadata: str) -> ShardLayout:
        """Return the layout that an array's ``zarr.json`` tells."""
        array = json.loads(metadata)
        sharding = array["codecs"][0]["configuration"]
        return cls(
            shape=tuple(array["shape"]),
            dtype=np.dtype(array["data_type"]).newbyteorder("<"),
            fill=float(array["fill_value"]),
            shard_rows=array["chunk_grid"]["configuration"]["chunk_shape"][0],
            chunk_rows=sharding["chunk_shape"][0],
            level=sharding["codecs"][-1]["configuration"]["level"],
        )

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> ShardLayout:
        """Return the layout of an open array in shards, compressed by Zstandard."""
        assert array.shards is not None
        (compressor,) = array.compressors
        assert isinstance(compressor, ZstdCodec)
        dtype = array.dtype.newbyteorder("<")
        return cls(array.shape, dtype, float(array.fill_value), array.shards[0], array.chunks[0], compressor.level)

    @property
    def chunks_per_shard(self) -> int:
        """How many chunks a shard's index has room for."""
        return self.shard_rows // self.chunk_rows

    def name(self, row: int) -> str:
        """Return the name of the shard that holds a row, below its array, such as ``c/3/0/0``."""
        return "/".join(["c", str(row // self.shard_rows), *("0" for _ in self.shape[1:])])

    def holds(self, task: Task, rows: NDArray[Any]) -> bool:
        """Tell whether a task's rows are one whole shard, which the array's last may be with fewer rows."""
        ends = (task.start + self.shard_rows, self.shape[0])
        whole = task.start % self.shard_rows == 0 and task.stop in ends
        return whole and rows.shape == (task.stop - task.start, *self.shape[1:])

    def pieces(self, rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the rows of some chunks at a time, as one call compresses them."""
        at_once = max(1, PIECE_BYTES // max(rows[: self.chunk_rows].nbytes, 1))
        return _parts(rows, at_once * self.chunk_rows)

    def compressed(self, rows: NDArray[Any]) -> list[bytes | None]:
        """Return chunks as they are stored; None for one that is all fill value and is not stored."""
        return [self._compressed_chunk(chunk) for chunk in _parts(rows, self.chunk_rows)]

    def _compressed_chunk(self, chunk: NDArray[Any]) -> bytes | None:
        if is_all_fill(chunk, self.fill):
            return None
        chunk = np.ascontiguousarray(chunk, self.dtype)
        if missing := self.chunk_rows - len(chunk):  # Zarr's chunks are all of one size
            chunk = np.concatenate([chunk, np.full((missing, *chunk.shape[1:]), self.fill, self.dtype)])
        return bytes(chunk_compressor(self.level).encode(chunk))

    def decompress(self, frame: bytes | memoryview | None, chunk: NDArray[Any]) -> None:
        """Put what is stored of a chunk into its rows; raise RuntimeError or ValueError if it fails its checksum."""
        if frame is None:
            chunk[...] = self.fill
        elif chunk.flags.c_contiguous and chunk.dtype == self.dtype:
            chunk_compressor(self.level).decode(frame, chunk)
        else:
            chunk[...] = np.frombuffer(chunk_compressor(self.level).decode(frame), self.dtype).reshape(chunk.shape)


def _parts(rows: NDArray[Any], n_rows: int) -> Iterator[NDArray[Any]]:
    return (rows[start : start + n_rows] for start in range(0, len(rows), n_rows))


def write_shard(file: Path, n_chunks: int, pieces: Iterable[list[bytes | None]]) -> str | None:
    """Write a shard's compressed chunks and their index, and return the file's SHA-256.

    Parameters
    ----------
    file : Path
        Where it is written.
    n_chunks : int
        How many chunks a shard has; those that an array's last shard is short of are absent.
    pieces : iterable of list
        The compressed chunks in order, some at a time; None for one that is absent.

    Returns
    -------
    str or None
        None if all are absent: then there is no file.
    """
    index = np.full((n_chunks, 2), ABSENT, "<u8")
    state = hashlib.sha256()
    with file.open("wb", buffering=BUFFER_BYTES) as out:

        def write(data: bytes) -> None:
            out.write(data)
            state.update(data)

        for number, frame in enumerate(chain.from_iterable(pieces)):
            if frame is not None:
                index[number] = out.tell(), len(frame)
                write(frame)
        empty = out.tell() == 0
        write(index.tobytes())
        write(google_crc32c.value(index.tobytes()).to_bytes(4, "little"))
    if empty:
        file.unlink()
        return None
    return state.hexdigest()


def is_all_fill(block: NDArray[Any], fill: Any) -> bool:
    """Tell whether a block holds nothing but an array's fill value: it is then not stored."""
    return bool(np.isnan(block).all()) if isinstance(fill, float) and np.isnan(fill) else bool((block == fill).all())


class ShardReader:
    """Reads single chunks of a shard; a context, which holds the file.

    Parameters
    ----------
    file : Path
        The shard; where it is absent, all chunks are.
    n_chunks : int
        How many chunks a shard has.

    Raises
    ------
    ValueError
        If its index fails its checksum.
    """

    def __init__(self, file: Path, n_chunks: int) -> None:
        self.index = [ABSENT] * (2 * n_chunks)
        self.memory = memoryview(b"")
        try:
            self.file: FileIO | None = file.open("rb", buffering=0)
        except FileNotFoundError:
            self.file = None
            return
        size = 16 * n_chunks + 4
        self.file.seek(max(0, self.file.seek(0, os.SEEK_END) - size))
        index = self.file.read(size)
        if len(index) < size or google_crc32c.value(index[:-4]).to_bytes(4, "little") != index[-4:]:
            self.file.close()
            raise ValueError(f"{file}: the index of chunks fails its checksum")
        self.index = np.frombuffer(index[:-4], "<u8").tolist()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def frame(self, number: int) -> memoryview | None:
        """Return a chunk as it is stored, which holds until the next is read; None for one that is absent."""
        offset, size = self.index[2 * number : 2 * number + 2]
        if self.file is None or offset == ABSENT:
            return None
        if len(self.memory) < size:
            self.memory = memoryview(bytearray(2 * size))
        self.file.seek(offset)
        return self.memory[: self.file.readinto(self.memory[:size])]
