"""Files that are either whole or absent: written beside their place, synced, renamed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import EcgError, ResourceError, UserError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a stop at any moment leaves the old file or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk, where the system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_read_only(folder: Path) -> bool:
    """Tell whether a folder is there and this process can make no file in it."""
    return folder.is_dir() and not os.access(folder, os.W_OK)


@contextmanager
def full_disk_named(where: str | Path) -> Iterator[None]:
    """Turn the errors of a full disk, Python's and the codec's, into one that names it.

    Raises
    ------
    ResourceError
        If the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not isinstance(error, EcgError) and _is_disk_full(error):
            raise ResourceError(
                f"the disk that holds {where} is full; free space and run the same command again"
            ) from error
        raise


def make_folder(folder: Path, advice: str) -> None:
    """Make a folder, and those above it, unless it is there.

    Parameters
    ----------
    folder : Path
        The folder.
    advice : str
        What to do where it cannot be made.

    Raises
    ------
    UserError
        If it cannot be made, but for want of room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise UserError(f"{folder}: cannot be made ({error.strerror}); {advice}") from error


@contextmanager
def locked(lock_file: Path, busy: str, advice: str) -> Iterator[None]:
    """Keep other processes from the same work meanwhile.

    Parameters
    ----------
    lock_file : Path
        The file that is held; it stays.
    busy : str
        What another process is at when it holds the file.
    advice : str
        What to do where the file cannot be made.

    Raises
    ------
    ResourceError
        If another process holds the file.
    UserError
        If it cannot be made, but for want of room.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ResourceError(f"{busy} (it holds {lock_file}); wait for it") from error
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise UserError(f"{lock_file.parent}: cannot be written to ({error.strerror}); {advice}") from error
    try:
        yield
    finally:
        lock.release()


def _is_disk_full(error: BaseException) -> bool:
    """Tell whether an error is a full disk; zarrs and NumPy's `tofile` have no number, only a message."""
    if error.__context__ is not None and _is_disk_full(error.__context__):  # what torch raises when it then closes
        return True
    says_so = re.search(r"os error (\d+)", str(error))
    return (
        getattr(error, "errno", None) in NO_SPACE
        or (says_so is not None and int(says_so[1]) in NO_SPACE)
        or re.search(r"\d+ requested and \d+ written", str(error)) is not None
    )
