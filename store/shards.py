"""Writing the rows of one task: whole shards, each finished aside before it is put into the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from store.codecs import native_codecs
from store.errors import DamagedStoreError, ResourceError, UserError
from store.files import full_disk_named
from store.manifest import file_digest
from store.places import PLAN_NAME, Place, place_at
from store.plan import Task

WRITE_THREADS = 1  # see store.codecs.native_codecs: more would make digests differ
JOURNAL = "journal"


@dataclass(frozen=True)
class Receipt:
    """What a task has written.

    Parameters
    ----------
    task : int
        The task's number.
    digests : mapping
        SHA-256 by path in the store.
    empty : tuple of str
        Shards that hold nothing but fill value and have no file.
    """

    task: int
    digests: Mapping[str, str]
    empty: tuple[str, ...]

    def text(self) -> str:
        """Return the receipt as it is stored."""
        return json.dumps({**vars(self), "digests": dict(self.digests)}, sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """Return the receipt that was stored as `text`."""
        item = json.loads(text)
        return cls(item["task"], item["digests"], tuple(item["empty"]))


def receipt_name(plan_digest: str, task: int) -> str:
    """Return the name of a task's receipt in the store; that of another plan's is another."""
    return f"{JOURNAL}/{plan_digest[:8]}-{task:08d}.json"


def find_receipt(location: str | Path, plan_digest: str, task: Task) -> Receipt | None:
    """Return a task's receipt, or None where the task is still to be done."""
    try:
        return Receipt.parse(place_at(location).read_text(receipt_name(plan_digest, task.number)))
    except FileNotFoundError:
        return None


def check_plan(place: Place, plan_digest: str) -> None:
    """Raise if what is being built at a place is not, or no longer, of a plan: at a URL no lock keeps others away.

    Raises
    ------
    ResourceError
        If another build has replaced it, or has come to its end.
    """
    try:
        here = place.read_text(PLAN_NAME)
    except FileNotFoundError:
        here = ""
    if here != plan_digest:
        raise ResourceError(
            f"{place.location}: another build has {'replaced' if here else 'finished or removed'} what is built here; "
            "see that only one is running, and run the same command again"
        )


def write_task(location: str | Path, plan_digest: str, task: Task, blocks: Mapping[str, NDArray[Any]]) -> Receipt:
    """Write one task's rows of every array, put its receipt into the journal and return it.

    Parameters
    ----------
    location : str or Path
        Where the store is being built.
    plan_digest : str
        Digest of the plan that is built there.
    task : Task
        Whose rows they are.
    blocks : mapping
        Rows ``task.start`` to ``task.stop`` of each array, by its path in the store.

    Raises
    ------
    ResourceError
        If the disk is full, the place does not answer, or another build has taken it over.
    UserError
        If what is built there is not seen from here.
    ValueError
        If a block is not one whole shard.
    """
    place = place_at(location)
    metadata = {path: _metadata(place, path) for path in blocks}  # first: where nothing is built, nothing is left
    kept: dict[str, Future[str]] = {}
    empty: list[str] = []
    by_size = sorted(blocks.items(), key=lambda item: -item[1].nbytes)  # the last one's digest is waited for
    with full_disk_named(place.location), place.scratch() as scratch:
        with ThreadPoolExecutor(max_workers=1) as keeper:  # one array is digested and put while the next is compressed
            for path, block in by_size:
                shard = _write_shard(metadata[path], scratch, path, task, block)
                name = shard.relative_to(scratch).as_posix()
                if shard.exists():
                    kept[name] = keeper.submit(_keep_shard, place, plan_digest, shard, name)
                else:
                    empty.append(name)
        digests = {name: digest.result() for name, digest in kept.items()}
        receipt = Receipt(task.number, digests, tuple(empty))
        check_plan(place, plan_digest)
        place.write_text(receipt_name(plan_digest, task.number), receipt.text())
    return receipt


def _keep_shard(place: Place, plan_digest: str, shard: Path, name: str) -> str:
    """Put a finished shard into the store, and return its digest."""
    digest = file_digest(shard)
    check_plan(place, plan_digest)
    place.put(shard, name)
    return digest


def _write_shard(metadata: str, scratch: Path, path: str, task: Task, block: NDArray[Any]) -> Path:
    """Write one shard of an array into the scratch folder and return where it lies there."""
    (scratch / path).mkdir(parents=True)
    (scratch / path / "zarr.json").write_text(metadata, encoding="utf-8")
    with native_codecs(WRITE_THREADS):
        array = zarr.open_array(scratch / path, mode="r+")
        shards = array.shards
        assert shards is not None
        whole = task.start % shards[0] == 0 and task.stop in (task.start + shards[0], array.shape[0])
        if not whole or block.shape != (task.stop - task.start, *array.shape[1:]):
            raise ValueError(f"{path}: rows {task.start} to {task.stop}, shape {block.shape}, are not one whole shard")
        array[task.start : task.stop] = block
    shard = scratch / path / "c" / "/".join(str(i) for i in (task.start // shards[0], *(0 for _ in shards[1:])))
    if not shard.exists() and not is_all_fill(block, array.fill_value):
        raise DamagedStoreError(f"{shard}: was not written")
    return shard


def _metadata(place: Place, path: str) -> str:
    """Return the metadata of an array that is being built, as its build has written it before any task."""
    try:
        return place.read_text(f"{path}/zarr.json")
    except FileNotFoundError as error:
        raise UserError(
            f"{place.location}: not seen where its tasks run; workers need a disk that all of them share, or a URL "
            "that any process can reach"
        ) from error


def is_all_fill(block: NDArray[Any], fill: Any) -> bool:
    """Tell whether a block holds nothing but an array's fill value: Zarr then writes no file."""
    return bool(np.isnan(block).all()) if isinstance(fill, float) and np.isnan(fill) else bool((block == fill).all())
