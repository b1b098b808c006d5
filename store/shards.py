"""Writing the rows of one task: whole shards, each finished aside before it is put into the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from store.errors import ResourceError, UserError
from store.files import full_disk_named
from store.places import PLAN_NAME, Place, place_at
from store.plan import Task
from store.shard_file import ShardLayout, write_shard

COMPRESSING_THREADS = 2  # beside the one that takes digests, writes and syncs
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
    layouts = {path: _layout(place, path) for path in blocks}  # first: where nothing is built, nothing is left
    for path, layout in layouts.items():
        if not layout.holds(task, blocks[path]):
            shape = blocks[path].shape
            raise ValueError(f"{path}: rows {task.start} to {task.stop}, shape {shape}, are not one whole shard")
    digests: dict[str, str] = {}
    empty: list[str] = []
    by_size = sorted(layouts, key=lambda path: -blocks[path].nbytes)  # nothing is compressed while the last is synced
    with full_disk_named(place.location), place.scratch() as scratch:
        with ThreadPoolExecutor(max_workers=COMPRESSING_THREADS) as pool:
            frames = {path: pool.map(layouts[path].compressed, layouts[path].pieces(blocks[path])) for path in by_size}
            for path in by_size:
                name = f"{path}/{layouts[path].name(task.start)}"
                digest = write_shard(scratch / "shard", layouts[path].chunks_per_shard, frames[path])
                if digest is None:
                    empty.append(name)
                else:
                    check_plan(place, plan_digest)
                    place.put(scratch / "shard", name)
                    digests[name] = digest
        receipt = Receipt(task.number, digests, tuple(empty))
        check_plan(place, plan_digest)
        place.write_text(receipt_name(plan_digest, task.number), receipt.text())
    return receipt


def _layout(place: Place, path: str) -> ShardLayout:
    """Return how the shards of an array that is being built lie, as its build has written before any task."""
    try:
        return ShardLayout.parse(place.read_text(f"{path}/zarr.json"))
    except FileNotFoundError as error:
        raise UserError(
            f"{place.location}: not seen where its tasks run; workers need a disk that all of them share, or a URL "
            "that any process can reach"
        ) from error
