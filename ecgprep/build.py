"""The main job: from a folder of recordings to a complete store.

Two passes. The first indexes every record, which fixes the rows and their order; the second fills the store by tasks
that own whole shards. Both are plain functions called through `ecgprep.execute.TaskRunner`, so that one process, many
local ones and a cluster run the same code and write the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import compress, permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.additions import add_balances, describe_with
from ecgprep.balance import check_methods, plan_balances
from ecgprep.beats import cut
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic
from ecgprep.download.databases import Wish, is_downloading
from ecgprep.execute import TaskRunner
from ecgprep.filters import parse_filters
from ecgprep.index import Quarantined, read_clean
from ecgprep.index_blocks import IndexedBlock, index_block, join_blocks
from ecgprep.label_table import label_request_digest
from ecgprep.noise_records import check_noise_is_here, parse_noise
from ecgprep.plan import make_plan, resolve_reps, row_samples
from ecgprep.progress import Progress
from ecgprep.representations import Representation, draw_stored, name_anew
from ecgprep.rows import Index, shared_schemes
from pipelines.workspace import Workspace
from store.balance import Balance
from store.errors import (
    DamagedStoreError,
    EcgError,
    IncompleteStoreError,
    MissingDataError,
    NothingLeftError,
    RecordError,
    UnknownNameError,
    UserError,
)
from store.files import locked, make_folder
from store.manifest import MANIFEST_NAME
from store.patients import choose_patients
from store.places import PLAN_NAME, Folder, Place, place_at
from store.plan import StorePlan, Task
from store.read import Store, damage_named, open_store
from store.shards import JOURNAL, Receipt, find_receipt, write_task
from store.verify import find_damage
from store.write import Building, merge_addition, publish, publish_addition

Download = Callable[[list[Wish]], object]

RATES_HZ = (1.0, 1e4)  # that can be asked for; filters of resampling to uneven rates above take hours and gigabytes
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
HOME_ADVICE = "name a folder of your own by --home"
INDEX_BYTES = 2_000_000  # of raw data that one call of the first pass reads


@dataclass(frozen=True)
class BuildResult:
    """What a build made, or found.

    Parameters
    ----------
    place : Path or str
        The store's folder, or its URL.
    state : str
        ``built``, ``resumed``, ``added`` (to a complete store) or ``complete`` (nothing was left to do).
    digest : str
        Digest of the store.
    plan : StorePlan
        What was asked for.
    quarantined : tuple of Quarantined
        Records that were left out.
    balances : tuple of Balance
        Balances that were added.
    """

    place: Path | str
    state: str
    digest: str
    plan: StorePlan
    quarantined: tuple[Quarantined, ...]
    balances: tuple[Balance, ...] = ()


@dataclass(frozen=True)
class Piece:
    """The rows of one record that belong to one task, and the stamp of its files when their place was found."""

    ref: RecordRef
    stamp: int
    start: NDArray[np.int64]
    valid_n: NDArray[np.int32]


@dataclass(frozen=True)
class Fill:
    """All that one task needs, wherever it runs.

    Parameters
    ----------
    location : str
        The hidden folder, or the URL, that is filled.
    plan_digest : str
        Digest of the plan that is filled.
    task : Task
        The range of rows.
    prepare : Prepare
        The resolved recipe.
    n_samples : int
        Length of a row.
    pieces : tuple of Piece
        The rows by record; empty where the signals are read from `signals`.
    valid_n : ndarray of int32, shape (n_rows,), or None
        Samples of each row that are not padding; None where there is no padding.
    reps : tuple of Representation
        The pictures to draw.
    signals : str or None
        The complete store that pictures are added to.
    """

    location: str
    plan_digest: str
    task: Task
    prepare: Prepare
    n_samples: int
    pieces: tuple[Piece, ...]
    valid_n: NDArray[np.int32] | None
    reps: tuple[Representation, ...]
    signals: str | None = None


def build(
    prepare: Prepare,
    workspace: Workspace,
    source: Path | None = None,
    replace: bool = False,
    progress: Progress = lambda what, done, total: None,
    target: str | None = None,
    download: Download | None = None,
) -> BuildResult:
    """Build the store that a recipe describes, go on with a stopped build, or add to a complete store what it lacks.

    Parameters
    ----------
    prepare : Prepare
        The recipe's section.
    workspace : Workspace
        Where the store goes, and the raw data unless `source` is given.
    source : Path, optional
        A folder that holds the database's folder, or is it.
    replace : bool
        Remove a store of the same name that is damaged or was built from other raw data, and what an unfinished build
        from such has left at a URL.
    progress : callable
        Called with what is being done, how much of it is done and how much there is.
    target : str, optional
        Folder or URL that the store is put in; by default the workspace's folder of stores.
    download : callable, optional
        Given the databases that are not in the workspace, or not whole, and brings them.

    Raises
    ------
    UserError
        If a name is unknown, or a complete store of this name holds other data.
    MissingDataError
        If no raw data is there.
    NothingLeftError
        If no record can be used, or one cannot and ``strict`` is set.
    ResourceError
        If disk or memory gave out, or another build of this store is running.
    """
    for name in prepare.databases if source is None else ():
        get_database(name).make_raw(workspace.raw)
    found: dict[str, Found] = {}
    if download is not None and source is None:
        download(_to_download(prepare, workspace, found))
    with TaskRunner(prepare.workers, prepare.scheduler) as runner:
        indexes, prepare = index_databases(prepare, workspace, source, runner, progress, found)
        plan, reps = make_plan(indexes, prepare)
        tasks = plan_balances(plan.values, prepare)
        place = place_at(f"{_parent(target or workspace.stores)}/{plan.name}")
        with _held(place, workspace, "name another --to" if target else HOME_ADVICE), _refusals_named(place):
            state, digest = _build_at(place, plan, indexes, prepare, reps, replace, runner, progress)
            balances = add_balances(place, plan, tasks, replace, progress)
    if balances:
        state, digest = ("added" if state == "complete" else state), open_store(place.location).digest
    quarantined = tuple(item for index in indexes for item in index.block.quarantined)
    where = place.path if isinstance(place, Folder) else place.location
    return BuildResult(where, state, digest, plan, quarantined, balances)


def _build_at(
    place: Place,
    plan: StorePlan,
    indexes: Sequence[Index],
    prepare: Prepare,
    reps: tuple[Representation, ...],
    replace: bool,
    runner: TaskRunner,
    progress: Progress,
) -> tuple[str, str]:
    """Make `place` hold the planned store; return what was done and the store's digest."""
    place.clear_retired()
    if place.is_taken and replace and not _is_usable(place, plan):
        place.retire()
    if place.is_taken:
        return _extend(place, plan, reps, prepare, replace, runner, progress)
    building = Building(place.building_site().location, plan)
    state = "resumed" if building.prepare(replace) else "built"
    _run_fills(
        building,
        make_fills(plan, building.open_tasks(), building.place.location, building.digest, indexes, prepare, reps),
        len(building.open_tasks()),
        runner,
        progress,
    )
    return state, publish(building, place.location).digest


def resolve(prepare: Prepare, databases: Sequence[Database]) -> tuple[Prepare, list[Prepare]]:
    """Return the recipe with every default filled in, as a whole and for each of its databases.

    The first database's defaults hold for all.

    Parameters
    ----------
    prepare : Prepare
        The recipe's section.
    databases : sequence of Database
        Those that it names, in their order.

    Raises
    ------
    UserError
        If a name is unknown, or the databases share no label scheme or lead.
    """
    if prepare.fs is not None and not RATES_HZ[0] <= prepare.fs <= RATES_HZ[1]:
        raise UserError(f"--fs {prepare.fs:g}: name a rate from {RATES_HZ[0]:,.0f} to {RATES_HZ[1]:,.0f} Hz")
    rules = dict.fromkeys(rule for database in databases for rule in database.label_rules)
    if prepare.label_rule is not None and prepare.label_rule not in rules:
        raise UnknownNameError(f"label rule of {prepare.dataset}", prepare.label_rule, rules)
    if len(databases) > 1 and (cut_rows := [database.name for database in databases if database.ready_cut]):
        raise UserError(f"{cut_rows[0]} holds rows ready cut, which stand beside no recordings: build it by itself")
    whole = databases[0].resolve(_for_database(databases[0], prepare))
    if prepare.leads is None:
        _check_default_leads(databases, whole.leads or ())
    own = [database.resolve(_for_database(database, whole)) for database in databases]
    if prepare.detector is not None and not any(item.detector for item in own):
        why = "beats are annotated" if str(whole.unit).startswith("beat") else f"rows are {whole.unit}, no beats"
        raise UserError(f"--detector {prepare.detector}: {prepare.dataset} needs none ({why}); leave it out")
    if (prepare.labels or prepare.annotator) and not any(database.takes_labels for database in databases):
        key = "labels" if prepare.labels else "annotator"
        raise UserError(f"--{key}: {prepare.dataset} has labels of its own; leave it out, or build the folder as wfdb")
    shared_schemes(databases, own)
    check_methods(whole)
    if whole.engine != Prepare.model_fields["engine"].default and not whole.reps:
        raise UserError(f"--engine {whole.engine} draws pictures, and none is asked for; add --reps, or leave it out")
    parse_filters(whole.filters)
    if whole.noise:
        parse_noise(whole.noise)
    resolve_reps(whole, 1 << 20)  # names are checked before files; lengths are not known yet
    rule = ",".join(dict.fromkeys(str(item.label_rule) for item in own))
    return whole.model_copy(update={"dataset": ",".join(prepare.databases), "label_rule": rule}), own


def _check_default_leads(databases: Sequence[Database], leads: Sequence[str]) -> None:
    """Refuse databases that lack the first one's own leads, naming a lead that all of them have."""
    lacks = next(((other, lead) for other in databases for lead in leads if not other.has_lead(lead)), None)
    if lacks is None:
        return
    known = [lead for one in databases for lead in (*one.substitutes, *one.default_leads, *one.leads)]
    common = next((lead for lead in known if all(one.has_lead(lead) for one in databases)), None)
    advice = (
        f"name one that all have, such as --leads {common}" if common else "no lead is in all; build them one by one"
    )
    other, lead = lacks
    raise UserError(f"{other.name} has no lead {lead}, which is taken from {databases[0].name}: {advice}")


def _for_database(database: Database, prepare: Prepare) -> Prepare:
    rule = prepare.label_rule if prepare.label_rule in database.label_rules else None
    return prepare.model_copy(update={"dataset": database.name, "label_rule": rule})


def _to_download(prepare: Prepare, workspace: Workspace, found: dict[str, Found]) -> list[Wish]:
    """Return the published databases of which the workspace has none of the wanted records, or a stopped download.

    The records of the others are noted in `found` by the database's name, so that they are listed once.
    """
    if not any(get_database(name).published_path for name in prepare.databases):
        return []
    databases = _databases(prepare, workspace, None)
    _, own = resolve(prepare, databases)
    wishes = [Wish(*known, workspace.raw / known[0].folder) for known in zip(databases, own, strict=True)]
    return [wish for wish in wishes if wish.database.published_path and _is_wanting(wish, found)]


def _is_wanting(wish: Wish, found: dict[str, Found]) -> bool:
    """Tell whether a database is not here, or only another part of it, such as another rate or other patients."""
    if not wish.folder.is_dir() or is_downloading(wish.folder):
        return True
    if is_synthetic(wish.folder):
        return False
    try:
        here = _find(wish.database, wish.folder, wish.prepare)
        _chosen_records(here.records, wish.database.patients(here.records), wish.prepare.patients)
    except MissingDataError:
        return True
    found[wish.database.name] = here
    return False


def index_databases(
    prepare: Prepare,
    workspace: Workspace,
    source: Path | None,
    runner: TaskRunner,
    progress: Progress,
    found: Mapping[str, Found] = MappingProxyType({}),
) -> tuple[list[Index], Prepare]:
    """Read every record that is here; return the rows that they give and the resolved recipe. Raises as `build`.

    Databases whose records are in `found`, by name, are not listed again.
    """
    databases = _databases(prepare, workspace, source)
    prepare, own = resolve(prepare, databases)
    folders = [find_raw(database, workspace, source) for database in databases]
    _check_apart(databases, folders, workspace)
    if prepare.noise:
        for folder in folders:
            check_noise_is_here(parse_noise(prepare.noise), folder)
    listed = [
        found.get(database.name) or _find(database, folder, mine)
        for database, folder, mine in zip(databases, folders, own, strict=True)
    ]
    indexes = [_index(*known, runner, progress) for known in zip(databases, listed, own, strict=True)]
    return indexes, _without_path(prepare, databases, folders)


def _check_apart(databases: Sequence[Database], folders: Sequence[Path], workspace: Workspace) -> None:
    """Refuse databases of which one lies in another's folder: the same recordings would be patients of both."""
    for (one, inner), (other, outer) in permutations(zip(databases, folders, strict=True), 2):
        if inner.resolve().is_relative_to(outer.resolve()):
            places = " and ".join(str(workspace.raw / database.folder) for database in (one, other))
            raise UserError(
                f"{inner}, the folder of {one.name}, is in {outer}, that of {other.name}: its recordings would be in "
                f"the store twice; put or link the two to {places}, and leave --from out"
            )


def _without_path(prepare: Prepare, databases: Sequence[Database], folders: Sequence[Path]) -> Prepare:
    """Return the recipe with its label file's digest in place of the path: no store holds a path."""
    described = [folder for database, folder in zip(databases, folders, strict=True) if database.takes_labels]
    if prepare.labels is None or not described:
        return prepare
    return prepare.model_copy(update={"labels": label_request_digest(prepare.labels, described[0])})


def _databases(prepare: Prepare, workspace: Workspace, source: Path | None) -> list[Database]:
    """Return the databases of a recipe, as their folders describe them where nothing else does."""
    names = prepare.databases
    if len(set(names)) < len(names) or not names:
        raise UserError(f"--dataset {prepare.dataset}: name each database once, with commas between several")
    databases = [get_database(name) for name in names]
    return [
        database.at(find_raw(database, workspace, source)) if database.described_by_folder else database
        for database in databases
    ]


def _find(database: Database, folder: Path, prepare: Prepare) -> Found:
    """Return the records of a database that are here; at least one."""
    assert prepare.fs is not None
    found = database.find(folder, prepare)
    if not found.records:
        at = f" at {database.raw_rate(prepare.fs):g} Hz" if len(database.rates_hz) > 1 else ""
        rate = f" --fs {database.raw_rate(prepare.fs):g}" if at else ""
        raise MissingDataError(f"{folder}: no record of {database.name}{at} is here. {database.how_to_get(rate)}")
    return found


def _index(database: Database, found: Found, prepare: Prepare, runner: TaskRunner, progress: Progress) -> Index:
    patients = tuple(database.patients(found.records))
    refs = _chosen_records(found.records, patients, prepare.patients)
    found = _with_absent(found, refs, patients, prepare.patients)
    blocks: dict[int, IndexedBlock] = {}
    n_read = 0
    batches = _batches(refs)
    for number, block in runner.run(partial(index_block, prepare), enumerate(batches), len(batches)):
        blocks[number] = block
        n_read += len(block.is_used)
        progress(f"reading records of {database.name}", n_read, len(refs))
        if prepare.strict and block.quarantined:
            bad = block.quarantined[0]
            raise NothingLeftError(f"record {bad.record}: {bad.reason}; --strict stops at it")
    whole = join_blocks([blocks[number] for number in sorted(blocks)])
    if not whole.is_used.any():
        first_at: dict[str, str] = {}
        for item in whole.quarantined:
            first_at.setdefault(item.stage, f"{item.record}: {item.reason}")
        why = "; ".join(first_at.values())
        raise NothingLeftError(f"{database.name}: none of {len(whole.quarantined)} records can be used; {why}")
    return Index(database, found, prepare, patients, tuple(compress(refs, whole.is_used)), whole)


def _chosen_records(refs: Sequence[RecordRef], patients: Sequence[str], which: str | None) -> Sequence[RecordRef]:
    """Return the records of the patients that a share or a range names; all for None."""
    if which is None:
        return refs
    chosen = {patients[number] for number in choose_patients(which, len(patients))}
    kept = [ref for ref in refs if ref.patient in chosen]
    if not kept:
        raise MissingDataError(
            f"--patients {which}: no record of these {len(chosen)} of {len(patients)} patients is here"
        )
    return kept


def _with_absent(found: Found, refs: Sequence[RecordRef], patients: Sequence[str], which: str | None) -> Found:
    """Note how many of the patients that are asked for are not here: of Icentia11k an earlier, smaller share may be."""
    n_chosen = len(patients) if which is None else len(choose_patients(which, len(patients)))
    n_absent = n_chosen - len({ref.patient for ref in refs})
    if which is None or not n_absent:
        return found
    said = f"--patients {which}: {n_absent:,} of these {n_chosen:,} patients are not here"
    return replace(found, note="; ".join(filter(None, [found.note, said])))


def find_raw(database: Database, workspace: Workspace, source: Path | None) -> Path:
    """Return the database's folder, from the root.

    Raises
    ------
    MissingDataError
        If it is in none of the places, with a line on how to get it.
    """
    places = database.raw_places(workspace.raw, source)
    for place in places:
        if place.is_dir():
            return place.absolute()  # workers of a cluster may run in another folder
    raise MissingDataError(f"no recordings of {database.name}: {places[0]} is no folder. {database.how_to_get()}")


def _batches(refs: Sequence[RecordRef]) -> list[list[RecordRef]]:
    """Cut the records into batches of about `INDEX_BYTES`."""
    batches: list[list[RecordRef]] = []
    room = 0
    for ref in refs:
        if room <= 0:
            batches.append([])
            room = INDEX_BYTES
        batches[-1].append(ref)
        room -= sum(file.stat().st_size for file in ref.files if file.is_file())
    return batches


def _held(place: Place, workspace: Workspace, advice: str) -> AbstractContextManager[None]:
    """Keep other builds from a store: by a file beside a folder, or for a URL, where there are no locks, at home."""
    if isinstance(place, Folder):
        file = place.path.with_name(f".{place.name}.lock")
    else:
        at = hashlib.sha256(place.location.encode()).hexdigest()[:8]
        file, advice = workspace.stores / f".{place.name}-{at}.lock", HOME_ADVICE
    make_folder(file.parent, advice)
    return locked(file, "another build of this store is running", advice)


def _parent(target: str | Path) -> str:
    """Return the folder, from the root for workers that run elsewhere, or the URL that a store is put in."""
    scheme, is_url, rest = str(target).partition("://")
    if not is_url:
        return str(Path(target).absolute()).rstrip("/")
    if not rest.strip("/"):
        raise UserError(f"--to {target}: names no bucket or folder; write it behind {scheme}://")
    return str(target).rstrip("/")


@contextmanager
def _refusals_named(place: Place) -> Iterator[None]:
    """Turn what a disk that is read only, or another person's, refuses into a line that names the file."""
    try:
        yield
    except OSError as error:
        if isinstance(error, EcgError) or error.errno not in REFUSED:
            raise
        where = error.filename or place.location
        raise UserError(f"{where}: cannot be written to ({error.strerror}); name another --home or --to") from error


def _holds_same_rows(store: Store, plan: StorePlan) -> bool:
    return bool(store.attributes["rows_key"] == plan.attributes["rows_key"])


def _is_usable(place: Place, plan: StorePlan) -> bool:
    """Tell whether the planned rows are at a place, undamaged."""
    try:
        return _holds_same_rows(open_store(place.location), plan) and next(find_damage(place.location), None) is None
    except (DamagedStoreError, IncompleteStoreError):
        return False


def _finish_addition(aside: Place, place: Place, plan: StorePlan) -> None:
    """Finish adding pictures where a stop came between the old manifest and the new one."""
    for name in (JOURNAL, PLAN_NAME):  # what a stop right after the first manifest has left
        place.remove(name)
    if aside.has(MANIFEST_NAME):
        stored = json.loads(aside.read_text("zarr.json"))["attributes"]
        if stored["rows_key"] == plan.attributes["rows_key"]:
            merge_addition(aside.location, place.location)
    elif not aside.has(PLAN_NAME):
        aside.discard()  # one that is in the store, and was not wholly removed


def _extend(
    place: Place,
    plan: StorePlan,
    reps: Sequence[Representation],
    prepare: Prepare,
    replace: bool,
    runner: TaskRunner,
    progress: Progress,
) -> tuple[str, str]:
    """Add the pictures that a complete store lacks; return what was done and the store's digest."""
    store = open_store(place.location)
    if not _holds_same_rows(store, plan):
        raise UserError(
            f"{place.location} was built {_what_differs(store.attributes, plan.attributes)}; "
            f"{_how_to_replace(store, reps)}, or name another --home or --to"
        )
    aside = place.beside(f".adding-{plan.name}")
    _finish_addition(aside, place, plan)
    store = open_store(place.location)
    if missing := sorted(set(store.manifest.digests) - set(place.files())):
        raise DamagedStoreError(
            f"{place.location}: {missing[0]} is missing ({len(missing)} files); {_how_to_replace(store, reps)}"
        )
    n_samples = plan.filled[0].shape[2]
    new = [rep for rep in reps if rep.name not in store.representations]
    for rep in reps:
        if rep not in new:
            _check_same_picture(store, rep, prepare, n_samples)
    if not new:
        place.renew(MANIFEST_NAME)  # what was just asked for is the newest store, which `ecgtrain run` takes
        return "complete", store.digest
    addition = _addition(store, plan, [f"rep/{rep.name}" for rep in new])
    building = Building(aside.location, addition)
    building.prepare(replace)
    fills = [
        Fill(
            aside.location,
            building.digest,
            task,
            prepare,
            n_samples,
            (),
            _valid_n(plan, task),
            tuple(new),
            place.location,
        )
        for task in building.open_tasks()
    ]
    _run_fills(building, fills, len(fills), runner, progress)
    return "added", publish_addition(building, place.location).digest


def _how_to_replace(store: Store, reps: Sequence[Representation]) -> str:
    lost = sorted(set(store.representations) - {rep.name for rep in reps})
    without = f" without its {', '.join(lost)}, unless --reps asks for them" if lost else ""
    return f"add --replace to build it anew{without}"


def _what_differs(had: Mapping[str, Any], has: Mapping[str, Any]) -> str:
    """Say why rows are not those that a store's attributes describe: other software, or else other raw data or code."""
    versions = [(name, had["software"].get(name), now) for name, now in has["software"].items()]
    if changed := [f"{name} {then} then, {now} now" for name, then, now in versions if then != now]:
        return f"with other software ({'; '.join(changed)})"
    then, now = (_records_used(attributes["card"]) for attributes in (had, has))
    return f"from other raw data or by another version ({then} records then, {now} now)"


def _records_used(card: Mapping[str, Any]) -> int:
    return sum(about["records_used"] for about in card["databases"])


def _addition(store: Store, plan: StorePlan, new: Sequence[str]) -> StorePlan:
    """Return the plan of the new pictures alone, with metadata that also describes what the store has."""
    files = {"croissant.json": describe_with(store, plan, {})}
    return StorePlan(plan.name, tuple(spec for spec in plan.filled if spec.path in new), {}, plan.attributes, files)


def _check_same_picture(store: Store, rep: Representation, prepare: Prepare, n_samples: int) -> None:
    stored: Any = store.representation(rep.name).attrs["parameters"]
    asked = rep.parameters()
    differ = [key for key, value in asked.items() if stored.get(key) != value]
    if differ:
        key, requests = differ[0], prepare.reps.split(",")
        of_each = (resolve_reps(prepare.model_copy(update={"reps": request}), n_samples) for request in requests)
        request = next(request for request, made in zip(requests, of_each, strict=True) if rep in made)
        raise UserError(
            f"{store.location} holds {rep.name!r} with {key}={stored.get(key)}, not {asked[key]}; "
            f"name the new one, such as {name_anew(request)}"
        )


def make_fills(
    plan: StorePlan,
    tasks: Sequence[Task],
    location: str,
    plan_digest: str,
    indexes: Sequence[Index],
    prepare: Prepare,
    reps: tuple[Representation, ...],
) -> Iterator[Fill]:
    """Yield what each task needs, whose rows are those of some records."""
    records = [record for index in indexes for record in index.records]
    stamps = np.concatenate([index.block.stamp for index in indexes])
    first_row = np.cumsum(np.concatenate([[0], *(index.block.n_rows for index in indexes)]))
    start, valid_n = (
        np.concatenate([getattr(index.block, name) for index in indexes]) for name in ("start", "valid_n")
    )
    n_samples = row_samples(indexes, prepare)
    for task in tasks:
        pieces = []
        first = int(np.searchsorted(first_row, task.start, side="right")) - 1
        for number in range(first, len(records)):
            if first_row[number] >= task.stop:
                break
            rows = slice(max(task.start, first_row[number]), min(task.stop, first_row[number + 1]))
            pieces.append(Piece(records[number], int(stamps[number]), start[rows], valid_n[rows]))
        yield Fill(location, plan_digest, task, prepare, n_samples, tuple(pieces), _valid_n(plan, task), reps)


def _valid_n(plan: StorePlan, task: Task) -> NDArray[np.int32] | None:
    column = plan.values.get("column/valid_n")
    return None if column is None else column.values[task.start : task.stop]


def _run_fills(building: Building, fills: Iterable[Fill], n_fills: int, runner: TaskRunner, progress: Progress) -> None:
    """Run the open tasks; each leaves its receipt in the journal."""
    total = len(building.plan.tasks())
    for done, _ in enumerate(runner.run(fill, fills, n_fills), start=total - n_fills + 1):
        progress("building", done, total)


def fill(job: Fill) -> Receipt:
    """Fill one task's shards: read, cut, draw, write; or return the receipt of one that is done.

    A cluster does a task again when the worker that did it dies before its result is fetched.

    Raises
    ------
    DamagedStoreError
        If a record is no longer what the first pass read.
    """
    from threadpoolctl import threadpool_limits

    if done := find_receipt(job.location, job.plan_digest, job.task):
        return done
    with threadpool_limits(limits=1):  # workers share the cores; and sums must not depend on the number of threads
        signal = _stored_rows(job) if job.signals else cut_rows(job)
        blocks = {} if job.signals else {"signal": signal}
        blocks |= {f"rep/{name}": planes for name, planes in draw_pictures(job, signal).items()}
        return write_task(job.location, job.plan_digest, job.task, blocks)


def _stored_rows(job: Fill) -> NDArray[np.int16]:
    assert job.signals is not None
    with damage_named(job.signals):
        rows: NDArray[np.int16] = np.asarray(open_store(job.signals).signal[job.task.start : job.task.stop])
    return rows


def cut_rows(job: Fill) -> NDArray[np.int16]:
    """Return a task's rows as counts, cut from its records.

    Raises
    ------
    DamagedStoreError
        If a record is no longer what the first pass read.
    """
    blocks = []
    for piece in job.pieces:
        try:
            counts = _clean_counts(_Reading.of(piece.ref, job.prepare))
        except (RecordError, FileNotFoundError) as error:
            said = error.reason if isinstance(error, RecordError) else f"{Path(error.filename).name} is missing"
            raise DamagedStoreError(f"record {piece.ref.record} changed during the build: {said}") from error
        if piece.ref.stamp() != piece.stamp:
            raise DamagedStoreError(
                f"record {piece.ref.record} changed during the build: its files are others now; run it again"
            )
        blocks.append(cut(counts, piece.start, piece.valid_n, job.n_samples))
    return np.concatenate(blocks)


@dataclass(frozen=True)
class _Reading:
    """A record to be read; two are equal if name, files and recipe are."""

    record: str
    files: tuple[tuple[str, int, int], ...]
    recipe: str
    ref: RecordRef = field(compare=False)
    prepare: Prepare = field(compare=False)

    @classmethod
    def of(cls, ref: RecordRef, prepare: Prepare) -> _Reading:
        stats = [(str(file), file.stat()) for file in ref.files]
        files = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        return cls(ref.record, files, prepare.model_dump_json(), ref, prepare)


@lru_cache(maxsize=1)  # the tasks of a recording of many hours follow each other, and would each clean all of it
def _clean_counts(reading: _Reading) -> NDArray[np.int16]:
    database = get_database(reading.record.partition("/")[0])
    return read_clean(database, reading.ref, reading.prepare).counts


def draw_pictures(job: Fill, signal: NDArray[np.int16]) -> dict[str, NDArray[Any]]:
    """Draw the representations of a task's rows, from the stored counts alone."""
    return draw_stored(job.reps, signal, job.valid_n, job.prepare.engine)
