"""Verifying a store: every file that its manifest lists, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from store.errors import IncompleteStoreError, ResourceError
from store.manifest import LAST_LISTED, MANIFEST_NAME, Manifest
from store.places import Place, place_at


class Damage(NamedTuple):
    """One file that is not what the manifest says."""

    path: str
    fault: str


def find_damage(location: Path | str) -> Iterator[Damage]:
    """Yield each damaged, missing or unlisted file of a store, by its path in the store.

    Parameters
    ----------
    location : Path or str
        The store's folder or URL; from a URL every byte is read.

    Raises
    ------
    IncompleteStoreError
        If the folder has no manifest.
    """
    place = place_at(location)
    try:
        manifest = Manifest.parse(place.read_text(MANIFEST_NAME))
    except FileNotFoundError as error:
        raise IncompleteStoreError(f"{location}: no complete store here ({MANIFEST_NAME} is absent)") from error
    except ValueError as error:
        yield Damage(MANIFEST_NAME, str(error))
        return
    with ThreadPoolExecutor() as pool:
        for damage in pool.map(lambda item: _look_at(place, *item), manifest.digests.items()):
            if damage is not None:
                yield damage
    for path in sorted(manifest.empty):
        if place.has(path):
            yield Damage(path, "is listed as empty and has a file")
    for path in _unlisted(place, manifest):
        yield Damage(path, f"has no line in {MANIFEST_NAME}")


def _unlisted(place: Place, manifest: Manifest) -> Iterator[str]:
    """Yield the files of the arrays that `LAST_LISTED` describes, if it is what it was, whose lines are gone."""
    if _look_at(place, LAST_LISTED, manifest.digests[LAST_LISTED]) is not None:
        return
    nodes = json.loads(place.read_text(LAST_LISTED))["consolidated_metadata"]["metadata"]
    for path, node in sorted(nodes.items()):
        if node["node_type"] == "array":
            yield from manifest.unlisted(path, node["shape"], node["chunk_grid"]["configuration"]["chunk_shape"])


def _look_at(place: Place, path: str, digest: str) -> Damage | None:
    try:
        found = place.digest(path)
    except FileNotFoundError:
        return Damage(path, "is missing")
    except ResourceError:  # the host does not answer: that says nothing of the file
        raise
    except OSError as error:
        return Damage(path, f"cannot be read: {error.strerror}")
    return (
        None if found == digest else Damage(path, f"has changed: expected SHA-256 {digest[:12]}…, found {found[:12]}…")
    )
