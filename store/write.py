"""Building a store: created, filled by tasks, published whole.

A store is built in a hidden folder beside its place, or at a URL in its place. A task finishes its shards aside, puts
them into the tree and leaves a receipt with their digests in the journal; a task with a receipt is never done again,
and one without is done anew. When every task has its receipt the files are compared with the receipts, the manifest is
written, and a folder is renamed. At a URL the manifest alone makes the store.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import zarr
import zarr.errors
from numpy.typing import NDArray

from store.balance import GROUP
from store.codecs import compressor, native_codecs
from store.errors import DamagedStoreError, UserError
from store.files import full_disk_named, sync_folder
from store.manifest import MANIFEST_NAME, Manifest
from store.places import PLAN_NAME, SCRATCH, Folder, Place, place_at
from store.plan import StorePlan, Task
from store.schema import ArraySpec, values_spec
from store.shard_file import is_all_fill
from store.shards import JOURNAL, Receipt, check_plan, receipt_name

CLAIMED = "creating "  # before the digest of a plan whose metadata and values are not all here yet
ADDED = ("rep", GROUP)  # what can be added to a complete store, each member a folder of its own


class Building:
    """A store that is being built.

    Parameters
    ----------
    folder : Path or str
        The hidden folder, or the store's URL.
    plan : StorePlan
        What is built.
    """

    def __init__(self, folder: Path | str, plan: StorePlan) -> None:
        self.folder = folder
        self.place = place_at(folder)
        self.plan = plan
        self.digest = plan.digest

    def prepare(self, replace: bool = False) -> bool:
        """Create the store, or take up one that was made by an equal plan; return whether it was taken up.

        Parameters
        ----------
        replace : bool
            Remove what another plan's build has left at a URL, where no lock tells whether it is still running.

        Raises
        ------
        UserError
            If another plan's build has left something there, unless `replace` is set.
        """
        with full_disk_named(self.folder):
            begun = self._begun()
            if begun == self.digest:
                self.place.sweep()
                return True
            is_own = begun in ("", CLAIMED + self.digest)
            if not (is_own or replace or isinstance(self.place, Folder)):
                raise self._taken()
            self._create()
            return False

    def _begun(self) -> str:
        """Return what says of which plan the store is that is being built here; empty if there is none."""
        try:
            return self.place.read_text(PLAN_NAME)
        except FileNotFoundError:
            return ""

    def _taken(self) -> UserError:
        return UserError(
            f"{self.place.location}: an unfinished build of other raw data, pictures or software is here, and may be "
            "running elsewhere; finish that one, name another --to, or add --replace to build anew"
        )

    def _create(self) -> None:
        self.place.discard()
        try:
            self.place.claim(PLAN_NAME, CLAIMED + self.digest)
        except FileExistsError as error:
            raise self._taken() from error
        with self.place.workshop() as folder, native_codecs(1):
            group = zarr.create_group(folder, attributes=dict(self.plan.attributes))
            for spec in self.plan.specs:
                create_array(group, spec)
            for path, item in self.plan.values.items():
                _write_values(group, path, item.values)
        for name, text in self.plan.files.items():
            self.place.write_text(name, text)
        self.place.write_text(PLAN_NAME, self.digest)  # last: without it the store is made anew

    @property
    def sealed(self) -> bool:
        """Whether the manifest is written and only the renaming is left."""
        return self.place.has(MANIFEST_NAME)

    def receipts(self) -> dict[int, Receipt]:
        """Return the receipts in the journal, by task."""
        all_names = {receipt_name(self.digest, task.number) for task in self.plan.tasks()}
        names = [name for name in self.place.files(JOURNAL) if name in all_names]
        with ThreadPoolExecutor() as pool:
            found = map(Receipt.parse, pool.map(self.place.read_text, names))
            return {receipt.task: receipt for receipt in found}

    def open_tasks(self) -> list[Task]:
        """Return the tasks that have no receipt."""
        if self.sealed:
            return []
        done = set(self.place.files(JOURNAL))
        return [task for task in self.plan.tasks() if receipt_name(self.digest, task.number) not in done]

    def seal(self) -> Manifest:
        """Check every file against its receipt, consolidate the metadata, write and return the manifest.

        Raises
        ------
        DamagedStoreError
            If a file is missing or is not what its task wrote; the task's receipt is taken back.
        ResourceError
            If another build has taken over the URL, or has come to its end there.
        """
        check_plan(self.place, self.digest)
        if self.sealed:
            return read_manifest(self.folder)
        if left := self.open_tasks():
            raise ValueError(f"{len(left)} tasks have no receipt yet")
        with full_disk_named(self.folder):
            return self._seal()

    def _seal(self) -> Manifest:
        receipts = self.receipts().values()
        self._check_receipts(receipts)
        self._check_values()
        _consolidate(self.place)
        written = {path: digest for receipt in receipts for path, digest in receipt.digests.items()}
        others = self.place.digests(name for name in self._files() if name not in written)
        empty = {path for receipt in receipts for path in receipt.empty}
        empty |= {path for path in self._whole_chunks() if path not in others}
        manifest = Manifest({**written, **others}, frozenset(empty))
        check_plan(self.place, self.digest)
        self.place.write_text(MANIFEST_NAME, manifest.text())
        return manifest

    def _check_receipts(self, receipts: Iterable[Receipt]) -> None:
        task_of = {path: receipt for receipt in receipts for path in receipt.digests}
        changed = self.place.changed({path: receipt.digests[path] for path, receipt in task_of.items()})
        for path in changed:
            self.place.remove(receipt_name(self.digest, task_of[path].task))
        if changed:
            raise DamagedStoreError(
                f"{self.place.location}/{changed[0]}: changed since it was written (failing disk?); run the same "
                "command again, it writes the file anew"
            )

    def _check_values(self) -> None:
        """Raise if a label, column or split is gone that is not all fill; the store is then made anew."""
        here = set(self._files())
        for path, item in self.plan.values.items():
            chunk = _whole_chunk(path, item.values)
            if chunk not in here and not is_all_fill(item.values, values_spec(path, item.values, {}).fill):
                self.place.remove(PLAN_NAME)
                raise DamagedStoreError(f"{self.place.location}/{chunk}: is gone (failing disk?); run it again")

    def _files(self) -> list[str]:
        """Return the names of all files to list: not the manifest, which another build at a URL may have put."""
        others = (f"{JOURNAL}/", SCRATCH, PLAN_NAME, MANIFEST_NAME)
        return [name for name in self.place.files() if not name.startswith(others)]

    def _whole_chunks(self) -> Iterable[str]:
        return (_whole_chunk(path, item.values) for path, item in self.plan.values.items())


def _whole_chunk(path: str, values: NDArray[Any]) -> str:
    return f"{path}/c/" + "/".join("0" for _ in values.shape)


def publish(building: Building, place: Path | str) -> Manifest:
    """Make a store whose tasks all have receipts appear, complete, at `place`.

    Parameters
    ----------
    building : Building
        The store that was built.
    place : Path or str
        Where it goes: a path at which there is nothing, or the URL at which it was built.

    Returns
    -------
    Manifest
        The store's manifest.
    """
    manifest = building.seal()
    building.place.remove(JOURNAL)
    if isinstance(building.place, Folder):
        building.place.sweep()
        building.place.path.rename(place)
        sync_folder(Path(place).parent)
    place_at(place).remove(PLAN_NAME)
    return manifest


def publish_addition(building: Building, place: Path | str) -> Manifest:
    """Add the arrays that were built aside to the complete store at `place`.

    Every step can be done again, and what was built aside stays until the last, so a stop in between is mended by the
    next build.

    Parameters
    ----------
    building : Building
        The new arrays.
    place : Path or str
        The store.

    Returns
    -------
    Manifest
        The store's new manifest.
    """
    building.seal()
    return merge_addition(building.folder, place)


def merge_addition(aside: Path | str, place: Path | str) -> Manifest:
    """Move the arrays of a sealed addition into the complete store at `place`; can be done again after a stop.

    Parameters
    ----------
    aside : Path or str
        Where the addition was built, which goes away.
    place : Path or str
        The store.

    Returns
    -------
    Manifest
        The store's new manifest.
    """
    source, target = place_at(aside), place_at(place)
    added = read_manifest(aside)
    with full_disk_named(place):
        drop_unlisted_arrays(target)
        names = [name for name in added.digests if name != "zarr.json"]
        for member in {_member(name) for name in names} - {None}:
            target.remove(str(member))
        target.take(source, names)
        _consolidate(target)
        manifest = read_manifest(place).with_files(added)
        manifest = manifest.with_files(Manifest(target.digests(["zarr.json"])))
        target.write_text(MANIFEST_NAME, manifest.text())
    source.discard()
    return manifest


def _member(name: str) -> str | None:
    """Return the folder of the added array or group that a file belongs to."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[:2]) if len(parts) > 2 and parts[0] in ADDED else None


def drop_unlisted_arrays(place: Place) -> None:
    """Remove what an interrupted addition left in a store before its manifest listed it."""
    listed = read_manifest(place.location)
    place.sweep()
    members = {_member(name) for group in ADDED for name in place.files(group)} - {None}
    for member in members:
        if f"{member}/zarr.json" not in listed.digests:
            place.remove(str(member))
    _consolidate(place)


def read_manifest(place: Path | str) -> Manifest:
    """Return the manifest of the complete store at a path or URL."""
    return Manifest.parse(place_at(place).read_text(MANIFEST_NAME))


def _consolidate(place: Place) -> None:
    """Gather the metadata of all arrays in the group's own file, aside, and put it into its place."""
    with place.scratch() as folder:
        for name in place.files():
            if PurePosixPath(name).name == "zarr.json" and not name.startswith(SCRATCH):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(place.read_text(name), encoding="utf-8")
        with warnings.catch_warnings(), native_codecs(1):
            # Zarr warns that other readers may pass over this metadata.
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(folder)
        place.put(folder / "zarr.json", "zarr.json")


def create_array(group: zarr.Group, spec: ArraySpec) -> zarr.Array[Any]:
    """Create one array as its spec says, without data."""
    return group.create_array(
        spec.path,
        shape=spec.shape,
        dtype=spec.dtype,
        chunks=spec.chunks,
        shards=spec.shards,
        fill_value=spec.fill,
        compressors=compressor(spec.level),
        dimension_names=spec.dimensions,
        attributes=dict(spec.attributes),
    )


def _write_values(group: zarr.Group, path: str, values: NDArray[Any]) -> None:
    array = group[path]
    assert isinstance(array, zarr.Array)
    array[:] = values.astype(object) if values.dtype.kind == "U" else values
