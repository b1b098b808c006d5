"""Writing a store: created, filled by tasks, published whole.

A store is built in a hidden folder beside its place. A task writes its shards into a scratch folder of its own, syncs
them, renames them into the tree and leaves a receipt with their digests in the journal; a task with a receipt is never
done again, and one without is done anew. When every task has its receipt the files are compared with the receipts,
the manifest is written, and the folder is renamed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray

from store.balance import GROUP
from store.codecs import compressor, native_codecs
from store.errors import DamagedStoreError, ResourceError
from store.files import sync_file, sync_folder, write_whole
from store.manifest import MANIFEST_NAME, Manifest, digest_files, file_digest
from store.plan import StorePlan, Task
from store.schema import ArraySpec, values_spec

WRITE_THREADS = 1  # see store.codecs.native_codecs: more would make digests differ
JOURNAL, SCRATCH, PLAN = "journal", "scratch", "plan.sha256"
ADDED = ("rep", GROUP)  # what can be added to a complete store, each member a folder of its own
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


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


class Building:
    """A store that is being built, in its hidden folder.

    Parameters
    ----------
    folder : Path
        The hidden folder.
    plan : StorePlan
        What is built.
    """

    def __init__(self, folder: Path, plan: StorePlan) -> None:
        self.folder = folder
        self.plan = plan

    def prepare(self) -> bool:
        """Create the folder, or take up one that was made by an equal plan; return whether it was taken up."""
        plan_file = self.folder / PLAN
        with full_disk_named(self.folder):
            return self._take_up(plan_file) or self._create(plan_file)

    def _take_up(self, plan_file: Path) -> bool:
        if plan_file.is_file() and plan_file.read_text(encoding="utf-8") == self.plan.digest:
            shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
            sweep(self.folder)
            return True
        return False

    def _create(self, plan_file: Path) -> bool:
        discard(self.folder)
        (self.folder / JOURNAL).mkdir(parents=True)
        with native_codecs(WRITE_THREADS):
            group = zarr.create_group(self.folder, attributes=dict(self.plan.attributes))
            for spec in self.plan.specs:
                create_array(group, spec)
            for path, item in self.plan.values.items():
                _write_values(group, path, item.values)
        for name, text in self.plan.files.items():
            write_whole(self.folder / name, text)
        write_whole(plan_file, self.plan.digest)  # last: without it the folder is made anew
        return False

    @property
    def sealed(self) -> bool:
        """Whether the manifest is written and only the renaming is left."""
        return (self.folder / MANIFEST_NAME).is_file()

    def receipts(self) -> dict[int, Receipt]:
        """Return the receipts in the journal, by task."""
        found = (json.loads(path.read_text(encoding="utf-8")) for path in (self.folder / JOURNAL).glob("[0-9]*.json"))
        return {item["task"]: Receipt(**item) for item in found}

    def open_tasks(self) -> list[Task]:
        """Return the tasks that have no receipt."""
        done = self.receipts()
        return [] if self.sealed else [task for task in self.plan.tasks() if task.number not in done]

    def add_receipt(self, receipt: Receipt) -> None:
        """Put a receipt into the journal."""
        item = {**vars(receipt), "digests": dict(receipt.digests)}
        write_whole(self.folder / JOURNAL / f"{receipt.task:08d}.json", json.dumps(item, sort_keys=True))

    def seal(self) -> Manifest:
        """Check every file against its receipt, consolidate the metadata, write and return the manifest.

        Raises
        ------
        DamagedStoreError
            If a file is missing or is not what its task wrote; the task's receipt is taken back.
        """
        if self.sealed:
            return read_manifest(self.folder)
        if left := self.open_tasks():
            raise ValueError(f"{len(left)} tasks have no receipt yet")
        with full_disk_named(self.folder):
            return self._seal()

    def _seal(self) -> Manifest:
        receipts = self.receipts().values()
        for receipt in receipts:
            self._check_receipt(receipt)
        self._check_values()
        _consolidate(self.folder)
        written = {path: digest for receipt in receipts for path, digest in receipt.digests.items()}
        others = digest_files(self.folder, [name for name in self._files() if name not in written])
        empty = {path for receipt in receipts for path in receipt.empty}
        empty |= {path for path in self._whole_chunks() if path not in others}
        manifest = Manifest({**written, **others}, frozenset(empty))
        write_whole(self.folder / MANIFEST_NAME, manifest.text())
        return manifest

    def _check_receipt(self, receipt: Receipt) -> None:
        def intact(path: str) -> bool:
            file = self.folder / path
            return file.is_file() and file_digest(file) == receipt.digests[path]

        with ThreadPoolExecutor() as pool:
            results = zip(receipt.digests, pool.map(intact, receipt.digests), strict=True)
            changed = [path for path, ok in results if not ok]
        if changed:
            (self.folder / JOURNAL / f"{receipt.task:08d}.json").unlink()
            raise DamagedStoreError(
                f"{self.folder / changed[0]}: changed since it was written (failing disk?); run the same command "
                "again, it writes the file anew"
            )

    def _check_values(self) -> None:
        """Raise if a label, column or split is gone that is not all fill; the folder is then made anew."""
        for path, item in self.plan.values.items():
            chunk = self.folder / _whole_chunk(path, item.values)
            if not chunk.is_file() and not _all_fill(item.values, values_spec(path, item.values, {}).fill):
                (self.folder / PLAN).unlink()
                raise DamagedStoreError(f"{chunk}: is gone (failing disk?); run the same command again")

    def _files(self) -> list[str]:
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if path.parts[0] not in (JOURNAL, SCRATCH, PLAN))

    def _whole_chunks(self) -> Iterable[str]:
        return (_whole_chunk(path, item.values) for path, item in self.plan.values.items())


def _whole_chunk(path: str, values: NDArray[Any]) -> str:
    return f"{path}/c/" + "/".join("0" for _ in values.shape)


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk, Python's and the codec's, into one that names it.

    Raises
    ------
    ResourceError
        If the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if _is_disk_full(error):
            raise ResourceError(
                f"the disk that holds {folder} is full; free space and run the same command again"
            ) from error
        raise


def discard(folder: Path) -> None:
    """Remove a folder; a stop in between leaves one that nobody takes for whole."""
    for name in (PLAN, MANIFEST_NAME):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what writes that were stopped have left beside their targets."""
    for pattern in ("*.tmp", "*.partial"):  # store.files.write_whole's, and Zarr's own
        for leftover in folder.rglob(pattern):
            leftover.unlink()


def publish(building: Building, place: Path) -> Manifest:
    """Make a store whose tasks all have receipts appear, complete, at `place`.

    Parameters
    ----------
    building : Building
        The store in its hidden folder.
    place : Path
        Where it goes; must not exist.

    Returns
    -------
    Manifest
        The store's manifest.
    """
    manifest = building.seal()
    for name in (JOURNAL, SCRATCH):
        shutil.rmtree(building.folder / name, ignore_errors=True)
    building.folder.rename(place)
    sync_folder(place.parent)
    (place / PLAN).unlink(missing_ok=True)
    return manifest


def publish_addition(building: Building, place: Path) -> Manifest:
    """Add the arrays that were built aside to the complete store at `place`.

    Every step can be done again, and the folder aside stays until the last, so a stop in between is mended by the
    next build.

    Parameters
    ----------
    building : Building
        The new arrays in their hidden folder.
    place : Path
        The store.

    Returns
    -------
    Manifest
        The store's new manifest.
    """
    building.seal()
    return merge_addition(building.folder, place)


def merge_addition(folder: Path, place: Path) -> Manifest:
    """Move the arrays of a sealed addition into the complete store at `place`; can be done again after a stop.

    Parameters
    ----------
    folder : Path
        The addition's hidden folder, which goes away.
    place : Path
        The store.

    Returns
    -------
    Manifest
        The store's new manifest.
    """
    added = read_manifest(folder)
    with full_disk_named(place):
        drop_unlisted_arrays(place)
        for name in added.digests:
            path = Path(name)
            if path.name == "zarr.json" and len(path.parts) == 3:
                _link_tree(folder / path.parent, place / path.parent)
            elif len(path.parts) < 3 and name != "zarr.json":
                (place / path).parent.mkdir(exist_ok=True)
                shutil.copyfile(folder / path, place / path)
        _consolidate(place)
        manifest = read_manifest(place).with_files(added)
        manifest = manifest.with_files(Manifest(digest_files(place, ["zarr.json"])))
        write_whole(place / MANIFEST_NAME, manifest.text())
    discard(folder)
    return manifest


def drop_unlisted_arrays(place: Path) -> None:
    """Remove what an interrupted addition left in a store before its manifest listed it."""
    listed = read_manifest(place)
    sweep(place)
    for group in ADDED:
        for folder in (place / group).glob("*/"):
            if f"{group}/{folder.name}/zarr.json" not in listed.digests:
                shutil.rmtree(folder)
    _consolidate(place)


def read_manifest(place: Path) -> Manifest:
    """Return the manifest of the complete store in a folder."""
    return Manifest.parse((place / MANIFEST_NAME).read_text(encoding="utf-8"))


def _consolidate(folder: Path) -> None:
    with warnings.catch_warnings(), native_codecs(WRITE_THREADS):
        # Zarr warns of the plain files beside the arrays, and that other readers may pass over this metadata.
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(folder)


def _link_tree(source: Path, target: Path) -> None:
    """Make `target` hold the files of `source`, as hard links where the disk has them."""

    def link(path: str, to: str) -> str:
        try:
            os.link(path, to)
        except OSError:
            shutil.copy2(path, to)
        return to

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=link)


def create_array(group: zarr.Group, spec: ArraySpec) -> zarr.Array[Any]:
    """Create one array as its spec says, without data."""
    return group.create_array(
        spec.path,
        shape=spec.shape,
        dtype=spec.dtype,
        chunks=spec.chunks,
        shards=spec.shards,
        fill_value=spec.fill,
        compressors=compressor(),
        dimension_names=spec.dimensions,
        attributes=dict(spec.attributes),
    )


def write_task(folder: Path, task: Task, blocks: Mapping[str, NDArray[Any]]) -> Receipt:
    """Write one task's rows of every array and return the receipt.

    Parameters
    ----------
    folder : Path
        The store's hidden folder.
    task : Task
        Whose rows they are.
    blocks : mapping
        Rows ``task.start`` to ``task.stop`` of each array, by its path in the store.

    Raises
    ------
    ResourceError
        If the disk is full.
    ValueError
        If a block is not one whole shard.
    """
    scratch = folder / SCRATCH / f"{task.number:08d}-{uuid.uuid4().hex[:8]}"
    kept: dict[str, Future[str]] = {}
    empty: list[str] = []
    try:
        # One array is digested and synced while the next one is compressed.
        with full_disk_named(folder), ThreadPoolExecutor(max_workers=1) as keeper:
            for path, block in blocks.items():
                shard = _write_shard(folder, scratch, path, task, block)
                name = shard.relative_to(scratch).as_posix()
                if shard.exists():
                    kept[name] = keeper.submit(_keep_shard, shard, folder / name)
                else:
                    empty.append(name)
            digests = {name: digest.result() for name, digest in kept.items()}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Receipt(task.number, digests, tuple(empty))


def _keep_shard(shard: Path, place: Path) -> str:
    """Move a shard to its place once it is on the disk, and return its digest."""
    sync_file(shard)
    digest = file_digest(shard)
    place.parent.mkdir(parents=True, exist_ok=True)
    shard.replace(place)
    sync_folder(place.parent)
    return digest


def _write_shard(folder: Path, scratch: Path, path: str, task: Task, block: NDArray[Any]) -> Path:
    """Write one shard of an array into the scratch folder and return where it lies there."""
    (scratch / path).mkdir(parents=True)
    shutil.copyfile(folder / path / "zarr.json", scratch / path / "zarr.json")
    with native_codecs(WRITE_THREADS):
        array = zarr.open_array(scratch / path, mode="r+")
        shards = array.shards
        assert shards is not None
        whole = task.start % shards[0] == 0 and task.stop in (task.start + shards[0], array.shape[0])
        if not whole or block.shape != (task.stop - task.start, *array.shape[1:]):
            raise ValueError(f"{path}: rows {task.start} to {task.stop}, shape {block.shape}, are not one whole shard")
        array[task.start : task.stop] = block
    shard = scratch / path / "c" / "/".join(str(i) for i in (task.start // shards[0], *(0 for _ in shards[1:])))
    if not shard.exists() and not _all_fill(block, array.fill_value):
        raise DamagedStoreError(f"{shard}: was not written")
    return shard


def _write_values(group: zarr.Group, path: str, values: NDArray[Any]) -> None:
    array = group[path]
    assert isinstance(array, zarr.Array)
    array[:] = values.astype(object) if values.dtype.kind == "U" else values


def _all_fill(block: NDArray[Any], fill: Any) -> bool:
    return bool(np.isnan(block).all()) if isinstance(fill, float) and np.isnan(fill) else bool((block == fill).all())


def _is_disk_full(error: BaseException) -> bool:
    """Tell whether an error is a full disk; zarrs has no number, it says so in its message alone."""
    says_so = re.search(r"os error (\d+)", str(error))
    return getattr(error, "errno", None) in NO_SPACE or (says_so is not None and int(says_so[1]) in NO_SPACE)
