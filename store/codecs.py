"""How chunks are compressed and which code does it.

Shards are written, and rows by number read, by `store.shard_file`. Arrays that are opened for other reading are read by
zarrs (native threads) where a store lies on a local disk, and by Zarr's own codecs elsewhere. A process that was forked
from one in which zarrs has run would hang in it for ever, so such a process is told so.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import cast

import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import ZstdCodec

from store.errors import EcgError

READ_THREADS = 2


def compressor(level: int) -> ZstdCodec:
    """Return the codec of every array: Zstandard whose frames carry a checksum, so that a changed byte raises."""
    return ZstdCodec(level=level, checksum=True)


def chunk_compressor(level: int) -> Zstd:
    """Return what compresses and decompresses a chunk as `compressor` says."""
    return Zstd(level=level, checksum=True)


class ForkedProcessError(EcgError, RuntimeError):
    """A forked process asked for the codec pool of its parent."""


class _ForkGuard:
    """Knows whether this process was forked from one in which the codec pool may have run."""

    def __init__(self) -> None:
        self.forked_from_pool = False
        os.register_at_fork(after_in_child=self._note)

    def _note(self) -> None:
        self.forked_from_pool = self.forked_from_pool or "zarrs" in sys.modules

    def check(self) -> None:
        if self.forked_from_pool:
            raise ForkedProcessError(
                "this process was forked after a store was opened; the codec's threads do not survive that. Start "
                "workers with the 'spawn' or 'forkserver' method, or read with threads in one process"
            )


_GUARD = _ForkGuard() if hasattr(os, "register_at_fork") else None


def check_not_forked() -> None:
    """Raise if this process was forked from one in which the codec pool may have run.

    Raises
    ------
    ForkedProcessError
        If it was; reading would hang.
    """
    if _GUARD is not None:
        _GUARD.check()


def native_codecs(threads: int) -> AbstractContextManager[object]:
    """Return a context in which arrays that are opened use zarrs.

    Parameters
    ----------
    threads : int
        Codec threads. Writers of whole arrays take one: with more, equal input may no longer give equal files.
    """
    check_not_forked()
    import zarrs  # noqa: F401 - registers the pipeline; imported here so that --help does not wait for it

    settings = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": threads}
    return cast("AbstractContextManager[object]", zarr.config.set(settings))
