"""Verifying a store: every file that its manifest lists, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from store.errors import IncompleteStoreError
from store.manifest import MANIFEST_NAME, Manifest, file_digest


class Damage(NamedTuple):
    """One file that is not what the manifest says."""

    path: str
    fault: str


def find_damage(folder: Path) -> Iterator[Damage]:
    """Yield each damaged or missing file of a store, by its path in the store.

    Parameters
    ----------
    folder : Path
        The store.

    Raises
    ------
    IncompleteStoreError
        If the folder has no manifest.
    """
    try:
        manifest = Manifest.parse((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IncompleteStoreError(f"{folder}: no complete store here ({MANIFEST_NAME} is absent)") from error
    except ValueError as error:
        yield Damage(MANIFEST_NAME, str(error))
        return
    with ThreadPoolExecutor() as pool:
        for damage in pool.map(lambda item: _look_at(folder, *item), manifest.digests.items()):
            if damage is not None:
                yield damage
    for path in sorted(manifest.empty):
        if (folder / path).exists():
            yield Damage(path, "is listed as empty and has a file")


def _look_at(folder: Path, path: str, digest: str) -> Damage | None:
    try:
        found = file_digest(folder / path)
    except FileNotFoundError:
        return Damage(path, "is missing")
    except OSError as error:
        return Damage(path, f"cannot be read: {error.strerror}")
    return (
        None if found == digest else Damage(path, f"has changed: expected SHA-256 {digest[:12]}…, found {found[:12]}…")
    )
