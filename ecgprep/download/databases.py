"""Downloading databases: what is wanted, what is here, is there room, and then all that is missing at once."""

from __future__ import annotations

import filecmp
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, is_synthetic
from ecgprep.download.checksums import (
    LIST_NAME,
    ListedFile,
    WrongBytesError,
    only_records,
    record_names,
    wanted_files,
)
from ecgprep.download.ledger import Ledger
from ecgprep.download.sources import (
    FolderSource,
    Patience,
    SourceError,
    UnreachableError,
    find_sources,
    open_client,
)
from ecgprep.download.transfer import Sources, Transfer, fetch, fetch_all, partial_of
from ecgprep.progress import Progress
from store.errors import EcgError, ResourceError, UserError
from store.files import NO_SPACE, full_disk_named, is_read_only, locked, make_folder, sync_file

if TYPE_CHECKING:
    import httpx

ASK_BYTES = 5_000_000_000  # more is downloaded only if the user says so
MARK_NAME = ".downloading"
NAMED_IN_MESSAGE = 5


@dataclass(frozen=True)
class Wish:
    """A database, or part of it, and where it goes.

    Parameters
    ----------
    database : Database
        The database.
    prepare : Prepare
        The resolved recipe: it says which of the published files are read.
    folder : Path
        The database's folder.
    """

    database: Database
    prepare: Prepare
    folder: Path


@dataclass(frozen=True)
class Options:
    """How to download.

    Parameters
    ----------
    mirror : str or None
        A folder or URL that is asked first.
    offline : bool
        Ask nothing but the mirror.
    check : bool
        Read every file that is here again, and repair those that are wrong.
    records : tuple of str
        Only these records; empty for all.
    optional : bool
        Also the files that no build reads.
    yes : bool
        Download more than 5 GB.
    connections : int
        Files under way at a time.
    patience : Patience
        Time-outs and tries.
    """

    mirror: str | None = None
    offline: bool = False
    check: bool = False
    records: tuple[str, ...] = ()
    optional: bool = False
    yes: bool = False
    connections: int = 8
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Downloaded:
    """What a download has left.

    Parameters
    ----------
    folder : Path
        The database's folder.
    n_files : int
        Wanted files, all of them here and checked.
    n_new : int
        Those that were brought now.
    """

    folder: Path
    n_files: int
    n_new: int


@dataclass(frozen=True)
class Work:
    """One database under way: its list of checksums, the wanted files, and those that are not here."""

    wish: Wish
    sources: Sources
    listed: Path
    wanted: tuple[ListedFile, ...]
    missing: tuple[ListedFile, ...]
    ledger: Ledger

    @property
    def missing_bytes(self) -> int:
        """About how much is to come, by the mean size of a record."""
        whole = len(record_names(self.wanted)) * self.wish.database.record_bytes(self.wish.prepare)
        return whole * len(self.missing) // max(len(self.wanted), 1)


def download(
    wishes: Sequence[Wish],
    options: Options,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> list[Downloaded]:
    """Make the folders of databases hold every wanted file, byte for byte as published.

    Files come in parallel. Whatever stops it, the next call goes on, in mid-file where the source has ranges.

    Parameters
    ----------
    wishes : sequence of Wish
        The databases.
    options : Options
        Sources, and what is wanted.
    say : callable
        Told what is about to be downloaded, one line a database.
    progress : callable
        Told of all databases together: what, files done, files there are.

    Returns
    -------
    list of Downloaded
        One a wish.

    Raises
    ------
    UserError
        If a name is unknown, a database is not published, a folder cannot be written to, or more than 5 GB are to come
        without ``yes``.
    ResourceError
        If no source answers, files are not to be had whole, the disk is too small, or another download of a database is
        under way.
    """
    if not wishes:
        return []
    for wish in wishes:
        _check_wish(wish)
    with (
        _refusals_named(),
        only_downloads(wishes),
        open_client(options.patience, options.connections) as client,
        TemporaryDirectory(prefix="ecgprep-") as aside,
    ):
        lists = [Path(aside) / str(number) for number in range(len(wishes))]
        works = [_look(wish, at, options, client, progress) for wish, at in zip(wishes, lists, strict=True)]
        _say_and_ask(works, options, say)
        _check_space(works)
        for work in works:  # what was refused until here has left nothing
            with full_disk_named(work.wish.folder):
                _begin(work)
        faults = _bring(works, options, progress)
        for work in () if faults else works:
            _tidy(work.wish.folder)
    if faults:
        raise ResourceError(_still_missing(works, faults, options))
    return [Downloaded(work.wish.folder, len(work.wanted), len(work.missing)) for work in works]


def is_downloading(folder: Path) -> bool:
    """Tell whether a download into a folder has not come to its end."""
    return (folder / MARK_NAME).exists()


def _check_wish(wish: Wish) -> None:
    if wish.database.published_path is None:
        raise UserError(f"{wish.database.name}: is no published database; there is nothing to download")
    make_folder(wish.folder.parent, "name another --home")
    if is_synthetic(wish.folder):
        raise UserError(f"{wish.folder} holds synthetic recordings; remove it, or download to another --home")


@contextmanager
def only_downloads(wishes: Sequence[Wish]) -> Iterator[None]:
    """Keep others from downloading the same databases to the same place meanwhile."""
    with ExitStack() as locks:
        for folder in (wish.folder for wish in wishes if not is_read_only(wish.folder)):
            busy = f"another download to {folder} is under way"
            locks.enter_context(locked(folder.with_name(f".{folder.name}.lock"), busy, "name another --home"))
        yield


@contextmanager
def _refusals_named() -> Iterator[None]:
    """Turn what the disk refuses, but for want of room, into a line that names the file.

    Raises
    ------
    UserError
        If a file or folder cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, EcgError) or error.errno in NO_SPACE or error.filename is None:
            raise
        raise UserError(
            f"{error.filename}: {error.strerror}; see that it can be written, or name another --home"
        ) from error


def _look(wish: Wish, listed: Path, options: Options, client: httpx.Client, progress: Progress) -> Work:
    """Return what is wanted of one database and what of it is missing."""
    database = wish.database
    path = str(database.published_path)
    asked = find_sources(path, database.folder, options.mirror, options.offline, client, options.patience)
    sources = Sources(asked)
    earlier = [FolderSource(wish.folder)] if options.offline else []
    with full_disk_named(wish.folder):
        wanted = _wanted(wish, Sources([*asked, *earlier]), listed, options)
        ledger = Ledger(wish.folder)
        here = _right_files(wish.folder, wanted, ledger, options, progress)
    missing = tuple(item for item in wanted if item.path not in here)
    return Work(wish, sources, listed, wanted, missing, ledger)


def _wanted(wish: Wish, sources: Sources, listed: Path, options: Options) -> tuple[ListedFile, ...]:
    """Bring the list of checksums, which may have changed since an earlier call, aside, and choose from it."""
    database = wish.database
    chosen: list[ListedFile] = []

    def check(file: Path) -> None:
        chosen[:] = wanted_files(file, database, wish.prepare, options.optional)

    transfer = Transfer(LIST_NAME, listed, partial_of(listed, ""), check)
    try:
        fetch(sources, transfer, options.patience, threading.Event())
    except SourceError as error:
        raise ResourceError(_no_list(wish, error, options)) from error
    return only_records(chosen, options.records, database.name) if options.records else tuple(chosen)


def _begin(work: Work) -> None:
    """Put the list into the folder, and a mark if files are to come; a folder that lacks nothing may be read only."""
    folder = work.wish.folder
    folder.mkdir(exist_ok=True)
    target = folder / LIST_NAME
    if not (target.is_file() and filecmp.cmp(work.listed, target, shallow=False)):
        partial = folder / f".{LIST_NAME}.part"
        shutil.copyfile(work.listed, partial)
        sync_file(partial)
        partial.replace(target)
    if work.missing and work.sources.left():
        (folder / MARK_NAME).touch()


def _no_list(wish: Wish, error: SourceError, options: Options) -> str:
    what = "no source answers" if isinstance(error, UnreachableError) and not options.offline else f"no {LIST_NAME}"
    hint = f"{'go online' if options.offline else 'try again later'}, or name a mirror or folder by --from"
    return f"{wish.database.name} cannot be downloaded, {what}: {error}; {hint}"


def _right_files(
    folder: Path, wanted: Sequence[ListedFile], ledger: Ledger, options: Options, progress: Progress
) -> set[str]:
    """Return the wanted files that are here with the listed bytes."""
    here = [item for item in wanted if (folder / item.path).is_file()]
    known = set() if options.check else {item.path for item in here if ledger.holds(item)}
    unknown = [item for item in here if item.path not in known]

    def is_right(item: ListedFile) -> bool:
        try:
            item.check(folder / item.path)
        except WrongBytesError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        for done, (item, right) in enumerate(zip(unknown, pool.map(is_right, unknown), strict=True), start=1):
            progress(f"checking files of {folder.name}", done, len(unknown))
            if right:
                known.add(item.path)
                if not ledger.holds(item):
                    ledger.add(item)
            else:
                ledger.forget(item)
    return known


def _say_and_ask(works: Sequence[Work], options: Options, say: Callable[[str], None]) -> None:
    for work in works:
        database = work.wish.database
        size = f"{len(work.missing):,} files, about {format_bytes(work.missing_bytes)}" if work.missing else "complete"
        say(
            f"{database.name}: {database.title}; licence {database.licence}; {database.url}; {size}: {work.wish.folder}"
        )
    total = sum(work.missing_bytes for work in works)
    if total > ASK_BYTES and not options.yes:
        raise UserError(
            f"about {format_bytes(total)} are to be downloaded; add --yes, or ask for less, such as by --patients"
        )


def _check_space(works: Sequence[Work]) -> None:
    on_disk: dict[int, list[Work]] = {}
    for work in works:
        on_disk.setdefault(_at_hand(work.wish.folder).stat().st_dev, []).append(work)
    for together in on_disk.values():
        needed = sum(work.missing_bytes for work in together)
        folder = together[0].wish.folder
        free = shutil.disk_usage(_at_hand(folder)).free
        if needed > free:
            raise ResourceError(
                f"{folder}: about {format_bytes(needed)} are to be downloaded and {format_bytes(free)} are free; "
                "free space, or name another disk by --home"
            )


def _at_hand(folder: Path) -> Path:
    """Return a folder that may be a link to another disk, or the one above where there is none yet."""
    return folder if folder.is_dir() else folder.parent


def _bring(works: Sequence[Work], options: Options, progress: Progress) -> dict[str, SourceError]:
    """Bring what is missing, all databases together; return the faults by file."""
    jobs = [(work, item) for work in works for item in work.missing]
    faults: dict[str, SourceError] = {}
    ended = fetch_all((_job(work, item) for work, item in jobs), options.patience, options.connections)
    for n_ended, (i, fault) in enumerate(ended, start=1):
        work, item = jobs[i]
        if fault is None:
            work.ledger.add(item)
        else:
            faults[str(work.wish.folder / item.path)] = fault
        progress("downloading files", n_ended - len(faults), len(jobs))
    return faults


def _job(work: Work, item: ListedFile) -> tuple[Sources, Transfer]:
    target = work.wish.folder / item.path
    return work.sources, Transfer(item.path, target, partial_of(target, item.digest), item.check)


def _still_missing(works: Sequence[Work], faults: dict[str, SourceError], options: Options) -> str:
    left = [work.wish.folder / item.path for work in works for item in work.missing if not work.ledger.holds(item)]
    states = {
        "missing": [file for file in left if not file.exists()],
        "damaged": [file for file in left if file.exists()],
    }
    total = sum(len(work.wanted) for work in works)
    said = [
        f"{len(files):,} of {total:,} files are {state} ({_names(files)})" for state, files in states.items() if files
    ]
    file, fault = next(iter(faults.items()))
    hint = "go online, or name another --from" if options.offline else "the same command goes on from here"
    return f"{', '.join(said)}; {file}: {fault}; {hint}"


def _names(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files[:NAMED_IN_MESSAGE])) + (", …" if len(files) > NAMED_IN_MESSAGE else "")


def _tidy(folder: Path) -> None:
    """Remove the mark of a download under way, and bytes of versions that are no longer wanted."""
    for leftover in folder.rglob(".*.part"):
        leftover.unlink()
    if is_downloading(folder):
        (folder / MARK_NAME).unlink()


def format_bytes(n_bytes: float) -> str:
    """Return a number of bytes in the unit that suits it, such as ``3.0 GB``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"
