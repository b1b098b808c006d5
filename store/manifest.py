"""The manifest: every file of a store with its SHA-256, in the format of ``sha256sum -c``.

A shard that holds nothing but fill value is not written by Zarr. It is listed as a comment, ``# empty <path>``, which
``sha256sum`` passes over; any other absent file is damage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path

MANIFEST_NAME = "MANIFEST.sha256"
EMPTY_PREFIX = "# empty "
LAST_LISTED = "zarr.json"  # of every store, and no file sorts after it: without its line the end is cut off
ROW_PARTS = ("signal/", "label/", "column/", "split/")


@dataclass(frozen=True)
class Manifest:
    """The files of a store.

    Parameters
    ----------
    digests : mapping
        SHA-256 (hexadecimal) by path in the store.
    empty : frozenset of str
        Shards that are all fill value and therefore have no file.
    """

    digests: Mapping[str, str]
    empty: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Return the manifest written as `text`.

        Raises
        ------
        ValueError
            If a line is neither a digest and a path nor an empty shard, or the last line is not here.
        """
        digests, empty = {}, set()
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith(EMPTY_PREFIX):
                empty.add(line.removeprefix(EMPTY_PREFIX))
                continue
            digest, separator, path = line.partition("  ")
            if not separator or len(digest) != 64:
                raise ValueError(f"{MANIFEST_NAME}, line {number}: expected '<sha256>  <path>', found {line!r}")
            digests[path] = digest
        if LAST_LISTED not in digests:
            raise ValueError(f"{MANIFEST_NAME} ends before the line of {LAST_LISTED}")
        return cls(digests, frozenset(empty))

    def text(self) -> str:
        """Return the manifest's text, sorted by path."""
        lines = {path: f"{digest}  {path}" for path, digest in self.digests.items()}
        lines |= {path: f"{EMPTY_PREFIX}{path}" for path in self.empty}
        return "".join(f"{lines[path]}\n" for path in sorted(lines))

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: the name of the store's exact contents."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @property
    def rows_digest(self) -> str:
        """SHA-256 over the signal, label, column and split lines: equal for stores whose rows are equal."""
        rows = [line for line in self.text().splitlines() if line[66:].startswith(ROW_PARTS) or _is_empty_row(line)]
        return hashlib.sha256("".join(f"{line}\n" for line in rows).encode()).hexdigest()

    def unlisted(self, path: str, shape: Sequence[int], shard: Sequence[int]) -> list[str]:
        """Return the files of an array that are listed neither with a digest nor as empty: their lines are gone.

        Parameters
        ----------
        path : str
            The array.
        shape : sequence of int
            Its shape.
        shard : sequence of int
            The shape of what one file holds.
        """
        places = product(*(range(ceil(n / n_shard)) for n, n_shard in zip(shape, shard, strict=True)))
        files = [f"{path}/zarr.json", *(f"{path}/c/{'/'.join(map(str, place))}" for place in places)]
        return [file for file in files if file not in self.digests and file not in self.empty]

    def with_files(self, other: Manifest) -> Manifest:
        """Return this manifest with the files of `other` added or replaced."""
        return Manifest({**self.digests, **other.digests}, self.empty | other.empty)


def _is_empty_row(line: str) -> bool:
    return line.startswith(EMPTY_PREFIX) and line.removeprefix(EMPTY_PREFIX).startswith(ROW_PARTS)


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hexadecimal) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
