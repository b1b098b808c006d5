"""Bringing one file here: sources in order, tried again with growing waits, checked, then renamed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ecgprep.download.checksums import WrongBytesError
from ecgprep.download.sources import (
    NoConnectionError,
    NotNowError,
    Patience,
    Source,
    SourceError,
    StoppedError,
    TryAgainError,
    UnreachableError,
)
from store.files import full_disk_named, sync_file

UNHEARD_ATTEMPTS = 2  # to connect to a source that has never answered, and may not be there at all
MAX_WRONG = 3  # the first time, what an earlier call left may have been wrong, and the second time the line


class Sources:
    """The sources of a database, in order; one that no longer answers is asked no more.

    Parameters
    ----------
    sources : sequence of Source
        First the one that is preferred.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.silent: dict[str, str] = {}
        self.heard: set[str] = set()
        self._all = tuple(sources)

    def left(self) -> list[Source]:
        """Return those that may still answer."""
        return [source for source in self._all if source.name not in self.silent]

    def give_up(self, source: Source, reason: str) -> None:
        """Ask a source no more."""
        self.silent[source.name] = reason


@dataclass(frozen=True)
class Transfer:
    """One file to bring.

    Parameters
    ----------
    path : str
        Its published path.
    target : Path
        Where it goes.
    partial : Path
        Where its bytes are gathered; what an earlier call left there is gone on with.
    check : callable
        Raises `WrongBytesError` if a file is not the published one.
    """

    path: str
    target: Path
    partial: Path
    check: Callable[[Path], None]


def partial_of(target: Path, digest: str) -> Path:
    """Return where a file's bytes are gathered; bytes of another version of the file are not gone on with."""
    return target.with_name(f".{target.name}.{digest[:12]}.part")


def fetch_all(
    jobs: Iterable[tuple[Sources, Transfer]], patience: Patience, connections: int
) -> Iterator[tuple[int, SourceError | None]]:
    """Bring many files, several at a time; yield the number of each as it ends, with its fault if it has one.

    The rest is left where no source answers any more, where the disk is full and where the caller stops; a caller that
    stops does not wait for what is under way.

    Parameters
    ----------
    jobs : iterable of pairs of Sources and Transfer
        What to bring, from where; few are made ahead, of what may be millions.
    patience : Patience
        How often to try.
    connections : int
        Files under way at a time.
    """
    stop = threading.Event()
    waiting = iter(enumerate(jobs))
    running: dict[Future[None], int] = {}
    try:
        while True:
            room = 0 if stop.is_set() else connections - len(running)
            for number, (sources, transfer) in islice(waiting, room):
                running[_begin(sources, transfer, patience, stop)] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                try:
                    future.result()
                except StoppedError:
                    continue
                except SourceError as error:
                    if isinstance(error, UnreachableError):
                        stop.set()
                    yield number, error
                else:
                    yield number, None
    except Exception:  # of the disk: what the others are writing is theirs until they end
        stop.set()
        wait(running)
        raise
    finally:
        stop.set()


def _begin(sources: Sources, transfer: Transfer, patience: Patience, stop: threading.Event) -> Future[None]:
    """Bring a file in a thread that the program does not wait for when it ends: a server may be silent for long."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            fetch(sources, transfer, patience, stop)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return future


def fetch(sources: Sources, transfer: Transfer, patience: Patience, stop: threading.Event) -> None:
    """Bring one file here from the first source that gives it whole.

    Parameters
    ----------
    sources : Sources
        Where it may be.
    transfer : Transfer
        The file.
    patience : Patience
        How often to try.
    stop : threading.Event
        Ends the transfer when set.

    Raises
    ------
    UnreachableError
        If no source answers any more.
    SourceError
        If those that answer do not have the file, or only wrong bytes.
    ResourceError
        If the disk is full.
    """
    faults: dict[str, str] = {}
    with full_disk_named(transfer.target):
        for source in sources.left():
            transfer.target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _fetch_from(source, transfer, patience, sources.heard, stop)
            except UnreachableError as error:
                sources.give_up(source, str(error))
            except SourceError as error:
                faults[source.name] = str(error)
            else:
                sync_file(transfer.partial)
                transfer.partial.replace(transfer.target)
                return
    reasons = "; ".join(f"{name} {reason}" for name, reason in (faults or sources.silent).items())
    raise (SourceError if faults else UnreachableError)(reasons or "there is no source to ask")


def _fetch_from(source: Source, transfer: Transfer, patience: Patience, heard: set[str], stop: threading.Event) -> None:
    """Try one source until the file is whole, or often enough without anything new."""
    partial, most, in_vain, n_wrong = transfer.partial, _size(transfer.partial), 0, 0
    while True:
        try:
            source.receive(transfer.path, partial, stop)
            transfer.check(partial)
        except WrongBytesError as error:
            partial.unlink()
            n_wrong += 1
            if n_wrong == MAX_WRONG:
                raise SourceError(f"gives wrong bytes: {error}") from error
        except TryAgainError as error:
            in_vain = 0 if _size(partial) > most else in_vain + 1
            most = max(most, _size(partial))
            if not isinstance(error, NoConnectionError):
                heard.add(source.name)
            if in_vain >= (patience.attempts if source.name in heard else UNHEARD_ATTEMPTS):
                raise (UnreachableError if isinstance(error, NotNowError) else SourceError)(str(error)) from error
            _wait(_rest_s(error, in_vain, patience), stop)
        else:
            heard.add(source.name)
            return


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _rest_s(error: TryAgainError, in_vain: int, patience: Patience) -> float:
    """Return the wait before the next try: doubled each time, drawn so that not all come back at once, or as asked for.

    Raises
    ------
    UnreachableError
        If the source asks for more than the longest wait.
    """
    asked_s = error.wait_s if isinstance(error, NotNowError) else 0.0
    if asked_s > patience.longest_wait_s:
        raise UnreachableError(f"{error} and asks for {asked_s:.0f} s of rest")
    longest_s = min(patience.first_wait_s * 2.0**in_vain, patience.longest_wait_s)
    return asked_s + random.uniform(longest_s / 2, longest_s)


def _wait(wait_s: float, stop: threading.Event) -> None:
    if stop.wait(wait_s):
        raise StoppedError
