"""Writing a store's rows in the layouts that other projects read; docs/export.md shows them.

A part is gone through in batches, so that memory does not grow with the store. The folder appears whole: it is written
beside its place and renamed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgprep.progress import Progress
from ecgprep.representations import Representation, dequantise, draw_stored, stored_rep
from store.balance import Balance, mix_rows
from store.errors import DamagedStoreError, UnknownNameError, UserError
from store.files import full_disk_named, locked, make_folder, write_whole
from store.places import Folder
from store.read import Label, Split, Store, damage_named
from store.schema import SIGNAL_FILL
from store.vocabulary import SPLIT_NAMES, SYNTHETIC_MARK, TEST, TRAIN, VALIDATION

ABOUT = "export.json"
OUT_ADVICE = "name another --out"
URL_START = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a path has one slash of the two; C:/ is a drive


class Batch(NamedTuple):
    """Some rows of a part.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the store; −1 for synthetic rows.
    parents : ndarray of int64, shape (n, 2)
        Parents of synthetic rows; −1 for stored ones.
    counts : ndarray of int16, shape (n, n_leads, n_samples)
        Their signals as counts.
    labels : ndarray
        uint8, shape (n, n_classes), of zeros and ones.
    """

    rows: NDArray[np.int64]
    parents: NDArray[np.int64]
    counts: NDArray[np.int16]
    labels: NDArray[np.uint8]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class numbers of rows that have one each."""
        return np.asarray(self.labels.argmax(axis=1), np.int64)


@dataclass(frozen=True)
class Part:
    """The rows of one part of a split, and the synthetic rows that a balance adds to it.

    Parameters
    ----------
    store : Store
        The store.
    name : str
        ``train``, ``validation`` or ``test``.
    label : Label
        The labels.
    rows : ndarray of int64
        Stored rows, ascending; their labels are known.
    balance : Balance or None
        Adds its synthetic rows after the stored ones.
    batch_size : int
        Rows of a batch, at most.
    """

    store: Store
    name: str
    label: Label
    rows: NDArray[np.int64]
    balance: Balance | None
    batch_size: int

    @property
    def n_synthetic(self) -> int:
        """Number of synthetic rows."""
        return 0 if self.balance is None else len(self.balance.parents)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows) + self.n_synthetic

    @cached_property
    def pictures(self) -> tuple[Representation, ...]:
        """The representations that the store holds."""
        held = (stored_rep(name, self.store.representation(name).attrs) for name in self.store.representations)
        return tuple(rep for rep in held if rep is not None)

    @cached_property
    def valid_n(self) -> NDArray[np.int64] | None:
        """Samples of each row of the store that are not padding; None where no row is padded."""
        return self.store.column("valid_n").astype(np.int64) if "valid_n" in self.store.columns else None

    def batches_by(self, key: NDArray[Any]) -> Iterator[Batch]:
        """Yield the stored rows in runs of equal `key`, which has a value for each row of the store."""
        changes = np.flatnonzero(key[self.rows][1:] != key[self.rows][:-1]) + 1
        with damage_named(self.store.location):
            for rows in np.split(self.rows, changes):
                yield self._stored(rows)

    def _stored(self, rows: NDArray[np.int64]) -> Batch:
        parents = np.full((len(rows), 2), -1)
        return Batch(rows, parents, self._read(rows), self._multi_hot(self.label.values[rows]))

    def batches(self) -> Iterator[Batch]:
        """Yield the stored rows, then the synthetic ones."""
        with damage_named(self.store.location):
            for start in range(0, len(self.rows), self.batch_size):
                yield self._stored(self.rows[start : start + self.batch_size])
            for start in range(0, self.n_synthetic, self.batch_size):
                yield self._synthetic(slice(start, start + self.batch_size))

    def _synthetic(self, part: slice) -> Batch:
        assert self.balance is not None
        parents = self.balance.parents[part]
        wanted, place = np.unique(parents, return_inverse=True)
        signals = self._read(wanted)
        first, second = place.reshape(parents.shape).T
        counts = mix_rows(signals[first], signals[second], self.balance.weights[part])
        labels = self._multi_hot(self.balance.classes[part])
        return Batch(np.full(len(parents), -1), parents, counts, labels)

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the signals of some rows, ascending, reading each chunk that holds one of them once."""
        signal = self.store.signal
        counts = np.empty((len(rows), *signal.shape[1:]), np.int16)
        n_block = signal.chunks[0]
        for block in np.unique(rows // n_block).tolist():
            here = slice(*np.searchsorted(rows, [block * n_block, (block + 1) * n_block]))
            counts[here] = np.asarray(signal[block * n_block : (block + 1) * n_block])[rows[here] - block * n_block]
        if (counts == SIGNAL_FILL).any():  # what Zarr reads from a file that is gone since the array was opened
            raise DamagedStoreError(f"{self.store.location}: signals have gone while they were read; build it again")
        return counts

    def _multi_hot(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        here = values == 1 if self.label.multilabel else values[:, None] == np.arange(len(self.label.classes))
        return np.asarray(here, np.uint8)

    def draw(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """Return the pictures of a batch by name, float32 of shape (n, n_leads, height, width).

        They are drawn from the counts by the store's engine, as the stored ones are, so that a mixed row has the
        picture of a mixed signal.
        """
        valid_n = self.valid_n
        if valid_n is not None:
            of_parents = valid_n[np.maximum(batch.parents, 0)].max(axis=1)
            valid_n = np.where(batch.rows < 0, of_parents, valid_n[np.maximum(batch.rows, 0)])
        drawn = draw_stored(self.pictures, batch.counts, valid_n, self.store.attributes["recipe"]["engine"])
        return {rep.name: dequantise(drawn[rep.name], rep) for rep in self.pictures}


Write = Callable[[Path, Part, Callable[[int], None]], None]


def export_store(
    store: Store,
    place: Path,
    write: Write,
    *,
    protocol: str | None = None,
    fold: int | None = None,
    balance: str | None = None,
    batch_size: int = 256,
    replace: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Write the rows of one protocol into a folder, and return it.

    Parameters
    ----------
    store : Store
        The store.
    place : Path
        The folder; it appears when all is written.
    write : callable
        One of `ecgprep.formats.FORMATS`.
    protocol : str, optional
        The split; by default the store's.
    fold : int, optional
        The fold that is tested, of a protocol that numbers folds.
    balance : str, optional
        A balance of the store, which the training rows are taken from.
    batch_size : int
        Rows that are held in memory at a time.
    replace : bool
        Remove a folder that an earlier export has written.
    progress : callable
        Told how many rows are written.

    Raises
    ------
    UserError
        If the folder is there or cannot be made, or a name is unknown.
    ResourceError
        If the disk is full, or another export to the folder is under way.
    LeakError
        If the split or the balance leaks and does not say so.
    """
    _check_place(place, replace)
    place = place.resolve()  # where a link leads to a folder, that one is written
    split = store.split(protocol).of_fold(fold)
    parts = list(_parts(store, split, fold, balance, batch_size))
    with _written_aside(place, replace) as aside:
        _write_parts(aside, parts, write, progress)
        write_whole(aside / ABOUT, json.dumps(_about(store, split, fold, balance, parts), indent=1) + "\n")
        if store.synthetic:
            _mark_synthetic(aside, store)
    return place


def _write_parts(folder: Path, parts: Sequence[Part], write: Write, progress: Progress) -> None:
    """Write the parts one after the other, telling how many of all their rows are written."""
    total, done = sum(part.n_rows for part in parts), 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress("exporting", done, total)

    for part in parts:
        write(folder, part, advance)


def _mark_synthetic(export: Path, store: Store) -> None:
    """Say in an export, and in the folder of each of its parts, that the recordings are synthetic."""
    for folder in (export, *(path for path in export.iterdir() if path.is_dir())):  # a part may be read alone
        write_whole(folder / SYNTHETIC_MARK, f"exported from {store.name}, whose recordings are synthetic\n")


@contextmanager
def _written_aside(place: Path, replace: bool) -> Iterator[Path]:
    """Return a folder beside the place that takes its name when all ends well, and else is removed."""
    aside, target = place.with_name(f".exporting-{place.name}"), Folder(str(place))
    busy = f"another export to {place} is under way"
    with full_disk_named(place), ExitStack() as held:
        make_folder(place.parent, OUT_ADVICE)
        held.enter_context(locked(place.with_name(f".{place.name}.lock"), busy, OUT_ADVICE))
        _check_place(place, replace)
        target.clear_retired()
        shutil.rmtree(aside, ignore_errors=True)  # what a killed export has left
        make_folder(aside, OUT_ADVICE)
        try:
            yield aside
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        if target.is_taken:
            target.retire()
        aside.rename(place)


def _check_place(place: Path, replace: bool) -> None:
    if URL_START.match(str(place)):
        raise UserError(f"--out {place}: an export goes into a folder, not to a URL; write it here and copy it there")
    if not place.exists():
        return
    if not replace:
        raise UserError(f"{place} is there already; name another folder, or add --replace to write it anew")
    if not (place / ABOUT).is_file():
        raise UserError(f"{place} holds no {ABOUT}, so no export made it; name another folder")


def _parts(store: Store, split: Split, fold: int | None, balance: str | None, batch_size: int) -> Iterator[Part]:
    label = store.label(split.scheme)
    values = label.values
    known = (values != 255).all(axis=1) if label.multilabel else values >= 0
    drawn = store.balance(split.protocol, balance, fold) if balance else None
    for number in (TRAIN, VALIDATION, TEST):
        mine = (split.values == number) & known
        balanced = drawn if number == TRAIN else None
        rows = np.flatnonzero(mine if balanced is None else mine & balanced.keep)
        if len(rows):
            yield Part(store, SPLIT_NAMES[number], label, rows, balanced, batch_size)


def _about(store: Store, split: Split, fold: int | None, balance: str | None, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a reader of the folder needs to know: where the rows come from and what they are."""
    return {
        "store": store.name,
        "digest": store.digest,
        "synthetic_recordings": store.synthetic,
        "protocol": split.protocol,
        "fold": fold,
        "leaks": list(split.leaks),
        "balance": balance,
        "scheme": split.scheme,
        "classes": list(parts[0].label.classes) if parts else [],
        "multilabel": bool(parts and parts[0].label.multilabel),
        "leads": list(store.leads),
        "fs_hz": store.fs_hz,
        "units": "mV",
        "rows": {part.name: part.n_rows for part in parts},
        "synthetic_rows": {part.name: part.n_synthetic for part in parts if part.n_synthetic},
    }


def find_format(name: str) -> Write:
    """Return the writer of a format.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    from ecgprep.formats import FORMATS

    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]
