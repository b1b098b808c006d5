"""PhysioNet's ``SHA256SUMS.txt``: which files a database publishes, and which of them are wanted."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database
from store.errors import UnknownNameError
from store.manifest import file_digest

LIST_NAME = "SHA256SUMS.txt"
LINE = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S[^\0]*)")
WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


class WrongBytesError(Exception):
    """What has arrived is not what was published."""


@dataclass(frozen=True)
class ListedFile:
    """One published file.

    Parameters
    ----------
    path : str
        Below the database's folder, with forward slashes.
    digest : str
        SHA-256, hexadecimal.
    """

    path: str
    digest: str

    @property
    def stem(self) -> str:
        """The path without its last suffix: a record's name, if a header of that name is published."""
        return str(PurePosixPath(self.path).with_suffix(""))

    def check(self, file: Path) -> None:
        """Compare a file's bytes with the list.

        Raises
        ------
        WrongBytesError
            If they differ.
        """
        if file_digest(file) != self.digest:
            raise WrongBytesError(_web_page(file, self.path) or "its SHA-256 is not the published one")


def _web_page(file: Path, path: str) -> str | None:
    """Say so where a page has come instead of a file, as from a proxy that wants a login."""
    with file.open("rb") as opened:
        page = WEB_PAGE.match(opened.read(100)) and not path.endswith((".htm", ".html"))
    return "a web page came instead of the file" if page else None


def read_list(file: Path) -> Iterator[ListedFile]:
    """Yield the files of a list of checksums, one at a time: Icentia11k's has 1.6 million lines.

    Raises
    ------
    WrongBytesError
        If a line is no checksum with a path below the folder, or the list ends in mid-line.
    """
    if page := _web_page(file, LIST_NAME):
        raise WrongBytesError(page)
    line = ""
    with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            match = LINE.fullmatch(line.rstrip())
            path = PurePosixPath(match[2]) if match else PurePosixPath("..")
            if match is None or path.is_absolute() or ".." in path.parts:
                raise WrongBytesError(f"line {number} is not '<SHA-256> <path>': {line[:40].rstrip()!r}")
            yield ListedFile(path.as_posix(), match[1].lower())
    if not line.endswith("\n"):
        raise WrongBytesError("it ends in mid-line" if line else "it is empty")


def wanted_files(file: Path, database: Database, prepare: Prepare, optional: bool) -> tuple[ListedFile, ...]:
    """Return the listed files that a build reads, or with `optional` those as well that it does not.

    Raises
    ------
    WrongBytesError
        If the list names fewer records than the database has: it was cut, or is another version's. Or if it gives a
        file two checksums.
    """
    listed: dict[str, ListedFile] = {}  # a line may be there twice
    for item in read_list(file):
        if database.wants(item.path, prepare) and listed.setdefault(item.path, item) != item:
            raise WrongBytesError(f"it names {item.path} twice, with different SHA-256")
    n_records = sum(item.path.endswith(".hea") for item in listed.values() if not is_optional(item, database))
    if n_records < (expected := database.expected_records(prepare)):
        raise WrongBytesError(f"it names {n_records:,} of {expected:,} records: cut off, or of another version")
    return tuple(item for item in listed.values() if optional or not is_optional(item, database))


def is_optional(item: ListedFile, database: Database) -> bool:
    """Tell whether no build reads a file."""
    return any(fnmatch.fnmatchcase(item.path, pattern) for pattern in database.optional_files)


def record_names(listed: Sequence[ListedFile]) -> set[str]:
    """Return the records among the files: each has a header."""
    return {item.stem for item in listed if item.path.endswith(".hea")}


def only_records(listed: Sequence[ListedFile], names: Collection[str], database: str) -> tuple[ListedFile, ...]:
    """Return the files of some records, and those of no record, such as tables and licences.

    Parameters
    ----------
    listed : sequence of ListedFile
        What is wanted of the whole database.
    names : collection of str
        Records, by path or by its last part, or folders of records.
    database : str
        Its name, for the message.

    Raises
    ------
    UnknownNameError
        If a name is no record of the list.
    """
    records = record_names(listed)
    chosen: set[str] = set()
    for name in names:
        found = {record for record in records if _is_named(record, name.strip("/"))}
        if not found:
            known = sorted(records if "/" in name else {record.rpartition("/")[2] for record in records})
            raise UnknownNameError(f"record of {database}", name, known[:1000])
        chosen |= found
    return tuple(item for item in listed if item.stem in chosen or item.stem not in records)


def _is_named(record: str, name: str) -> bool:
    return record == name or record.endswith(f"/{name}") or record.startswith(f"{name}/") or f"/{name}/" in record
