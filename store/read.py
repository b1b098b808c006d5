"""Reading a store: its arrays, labels, columns and splits, from a folder or a URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from store.balance import GROUP, Balance
from store.codecs import READ_THREADS, check_not_forked, native_codecs
from store.errors import (
    DamagedStoreError,
    EcgError,
    IncompleteStoreError,
    LeakError,
    UnknownNameError,
    UserError,
)
from store.manifest import MANIFEST_NAME, Manifest
from store.places import place_at, unanswered_named
from store.schema import SCHEMA_VERSION
from store.vocabulary import TEST, TRAIN, UNUSED, VALIDATION


@dataclass(frozen=True)
class Label:
    """The labels of one scheme.

    Parameters
    ----------
    scheme : str
        Name of the scheme, such as ``aami``.
    values : ndarray
        int8, shape (n_rows,), class number or −1 for unknown; or, for a multi-label scheme, uint8, shape
        (n_rows, n_classes), 0 or 1, 255 for unknown.
    classes : tuple of str
        Names of the classes.
    multilabel : bool
        Whether a row can have several classes.
    rule : str
        How the labels were made.
    """

    scheme: str
    values: NDArray[Any]
    classes: tuple[str, ...]
    multilabel: bool
    rule: str


@dataclass(frozen=True)
class Split:
    """One protocol's use of the rows.

    Parameters
    ----------
    protocol : str
        Name of the protocol, such as ``interpatient``.
    values : ndarray of int8, shape (n_rows,)
        0 training, 1 validation, 2 test, −1 unused; for ``kind == "folds"`` the fold's number.
    leaks : tuple of str
        What the protocol leaks on purpose; empty for none.
    leak_note : str
        What leaks, in words.
    score_classes : tuple of str
        Classes that averages are taken over.
    scheme : str
        The label scheme that the protocol goes with.
    unit : str
        What was kept together, such as ``patient``.
    kind : str
        ``split`` or ``folds``.
    """

    protocol: str
    values: NDArray[np.int8]
    leaks: tuple[str, ...]
    leak_note: str
    score_classes: tuple[str, ...]
    scheme: str
    unit: str
    kind: str

    @classmethod
    def from_stored(cls, protocol: str, values: NDArray[np.int8], facts: Mapping[str, Any]) -> Split:
        """Return a split from its values and attributes as the store keeps them."""
        return cls(
            protocol=protocol,
            values=values,
            leaks=tuple(facts["leaks"]),
            leak_note=str(facts.get("leak_note", "")),
            score_classes=tuple(facts["score_classes"]),
            scheme=str(facts["scheme"]),
            unit=str(facts["unit"]),
            kind=str(facts.get("kind", "split")),
        )

    def rows(self, part: int) -> NDArray[np.int64]:
        """Return the rows of one part (`store.vocabulary.TRAIN`, `VALIDATION`, `TEST`), ascending."""
        return np.flatnonzero(self.values == part)

    @property
    def n_folds(self) -> int:
        """Number of folds; 0 for a protocol that numbers none."""
        return int(self.values.max()) + 1 if self.kind == "folds" else 0

    def of_fold(self, fold: int | None) -> Split:
        """Return the split of one run over folds: it tests on `fold`, validates on the next and trains on the rest.

        Parameters
        ----------
        fold : int or None
            Number of the fold; None for a protocol that numbers none, which is returned as it is.

        Raises
        ------
        UserError
            If the protocol has no such fold, or numbers folds and none is named.
        """
        if fold is None and not self.n_folds:
            return self
        if fold is None or not 0 <= fold < self.n_folds:
            has = f"has folds 0 to {self.n_folds - 1}; name one of them" if self.n_folds else "numbers no folds"
            raise UserError(f"protocol {self.protocol!r} {has}")
        parts = {fold: TEST, (fold + 1) % self.n_folds: VALIDATION, UNUSED: UNUSED}
        values = np.array([parts.get(value, TRAIN) for value in range(UNUSED, self.n_folds)], np.int8)
        return replace(self, values=values[self.values - UNUSED], kind="split")


class Store:
    """A complete feature store, open for reading.

    Parameters
    ----------
    location : str or Path
        The store's folder, or its URL (``https://``, ``s3://``, …).

    Raises
    ------
    IncompleteStoreError
        If there is no manifest: the build has not finished, or this is no store.
    DamagedStoreError
        If its manifest or its metadata cannot be read.
    UserError
        If the URL is of a kind that cannot be read here.
    ResourceError
        If the host of the URL does not answer.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        self.name = self.location.rstrip("/").replace("\\", "/").rpartition("/")[2]
        self._identity = _identity(self.location)  # before it is read: a change meanwhile is found
        self.manifest = _read_manifest(self.location)
        self.group = _open_group(self.location, self.manifest)
        self.attributes: dict[str, Any] = self.group.attrs.asdict()
        if self.attributes.get("schema") != SCHEMA_VERSION:
            found = self.attributes.get("schema")
            raise IncompleteStoreError(
                f"{self.location}: store schema {found!r}, this version reads {SCHEMA_VERSION}; build it again"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest."""
        return self.manifest.digest

    @property
    def rows_digest(self) -> str:
        """SHA-256 over what makes the rows; runs on stores with equal ones can be compared."""
        return self.manifest.rows_digest

    @property
    def synthetic(self) -> bool:
        """Whether the recordings are synthetic."""
        return bool(self.attributes["synthetic"])

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.signal.shape[0])

    @cached_property
    def signal(self) -> zarr.Array[Any]:
        """The signals, (row, lead, time) int16 counts; multiply by `scale_mv` for millivolts."""
        return self._array("signal")

    @property
    def scale_mv(self) -> float:
        """Millivolts a count."""
        return float(self.signal.attrs["scale_mv"])  # type: ignore[arg-type]

    @property
    def fs_hz(self) -> float:
        """Sampling rate of the signals."""
        return float(self.signal.attrs["fs_hz"])  # type: ignore[arg-type]

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads, in the order of the signals' second axis."""
        return tuple(self.signal.attrs["leads"])  # type: ignore[arg-type]

    @property
    def representations(self) -> list[str]:
        """Names of the stored representations, in the order of the alphabet.

        One that the manifest does not list is not there yet: adding it was stopped half-way.
        """
        return [name for name in self._names("rep") if f"rep/{name}/zarr.json" in self.manifest.digests]

    def representation(self, name: str) -> zarr.Array[Any]:
        """Return a stored representation, (row, lead, height, width)."""
        return self._array(f"rep/{self._known('representation', name, self.representations)}")

    @property
    def schemes(self) -> list[str]:
        """Names of the label schemes."""
        return self._names("label")

    def label(self, scheme: str | None = None) -> Label:
        """Return the labels of a scheme; by default the store's own choice."""
        scheme = self._known("label scheme", scheme or self.attributes["default_scheme"], self.schemes)
        array = self._array(f"label/{scheme}")
        facts: dict[str, Any] = array.attrs.asdict()
        return Label(
            scheme=scheme,
            values=self._values(array),
            classes=tuple(facts["classes"]),
            multilabel=bool(facts["multilabel"]),
            rule=str(facts["rule"]),
        )

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._names("column")

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, one value a row; text as Python strings."""
        array = self._array(f"column/{self._known('column', name, self.columns)}")
        values = self._values(array)
        return values.astype(object) if values.dtype.kind in "UT" else values

    @property
    def protocols(self) -> list[str]:
        """Names of the split protocols."""
        return self._names("split")

    def split(self, protocol: str | None = None) -> Split:
        """Return a protocol's split, by default the store's own choice, after a look at its patients.

        Raises
        ------
        LeakError
            If a patient is on two sides and the protocol does not say that it leaks patients.
        UserError
            If the store has no split, or none of this name.
        """
        if not self.protocols:
            raise UserError(f"{self.name} has no split: too few of its rows have a label, or it has too few patients")
        protocol = self._known("protocol", protocol or self.attributes["default_protocol"], self.protocols)
        array = self._array(f"split/{protocol}")
        split = Split.from_stored(protocol, self._values(array), array.attrs.asdict())
        if "patient" not in split.leaks:
            check_patients(split, self.column("patient"))
        return split

    def balances(self, protocol: str | None = None, fold: int | None = None) -> list[str]:
        """Return the names of the balances of a protocol, or of one of its folds, in the order of the alphabet."""
        protocol = protocol or self.attributes["default_protocol"]
        return sorted(self._balance_groups(protocol, fold))

    def balance(self, protocol: str | None, name: str, fold: int | None = None) -> Balance:
        """Return a balance of a protocol, by default of the store's own choice, or of one of its folds.

        Parameters
        ----------
        protocol : str or None
            The protocol.
        name : str
            Name of the balance, such as ``smote``.
        fold : int or None
            The fold that is tested, where the protocol numbers folds.

        Raises
        ------
        LeakError
            If a parent of a synthetic row, or a row that is kept, does not train in the protocol and fold.
        UnknownNameError
            If there is no such balance.
        """
        split = self.split(protocol).of_fold(fold)
        groups = self._balance_groups(split.protocol, fold)
        if name not in groups:
            method, *keys = name.split("-")
            make = f"Make one: ecgprep build --balance {method}" + (" --samples-per-class N" if keys else "")
            raise UnknownNameError(f"balance of {split.protocol} of {self.name}", name, sorted(groups), make)
        path = groups[name]
        parts = {part: self._values(self._array(f"{path}/{part}")) for part in ("parent", "weight", "class", "keep")}
        balance = Balance(
            protocol=split.protocol,
            fold=fold,
            name=name,
            parents=parts["parent"],
            weights=parts["weight"],
            classes=parts["class"],
            keep=parts["keep"],
            facts={
                key: fact for key, fact in self.balance_facts[path].items() if key not in ("protocol", "fold", "name")
            },
        )
        balance.check(split.values == TRAIN)
        return balance

    @property
    def balance_facts(self) -> dict[str, dict[str, Any]]:
        """How each balance was made, by its path; one that the manifest does not list is not there yet."""
        group = self.group.get(GROUP)
        members = sorted(group.group_keys()) if isinstance(group, zarr.Group) else []
        paths = [f"{GROUP}/{name}" for name in members if f"{GROUP}/{name}/zarr.json" in self.manifest.digests]
        return {path: self.group[f"{path}/class"].attrs.asdict() for path in paths}

    def _balance_groups(self, protocol: str, fold: int | None) -> dict[str, str]:
        """Return the paths of a protocol's balances by name."""
        return {
            facts["name"]: path
            for path, facts in self.balance_facts.items()
            if (facts["protocol"], facts["fold"]) == (protocol, fold)
        }

    def _values(self, array: zarr.Array[Any]) -> NDArray[Any]:
        with damage_named(self.location):
            return np.asarray(array[:])

    def _names(self, group: str) -> list[str]:
        member = self.group.get(group)
        return sorted(member.array_keys()) if isinstance(member, zarr.Group) else []

    def _known(self, kind: str, name: str, known: list[str]) -> str:
        if name not in known:
            raise UnknownNameError(f"{kind} of {self.name}", name, known)
        return name

    def _array(self, path: str) -> zarr.Array[Any]:
        check_not_forked()
        with _codecs_for(self.location):  # an array takes the pipeline of the moment in which it is opened
            array = self.group[path]
        assert isinstance(array, zarr.Array)
        self._check_files(path, array)
        return array

    def check_unchanged(self, path: str, files: Iterable[str]) -> None:
        """Raise if an array of a folder was removed or replaced since the store was opened.

        Zarr reads files that are gone as fill value without a word. A URL is not asked: there reading itself raises.

        Parameters
        ----------
        path : str
            The array, such as ``signal``.
        files : iterable of str
            Files of it that were just read, by their names in the manifest.

        Raises
        ------
        DamagedStoreError
            If the manifest is gone or lists other files of the array, or one of the files is gone.
        """
        identity = _identity(self.location)
        if identity is not None:
            for file in files:
                if not os.path.exists(f"{self.location}/{file}") and file not in self.manifest.empty:
                    raise DamagedStoreError(f"{self.location}: {file} is gone; build the store again")
        if identity == self._identity:
            return
        if identity is None or not _same_files(path, self.manifest, _read_manifest(self.location)):
            raise DamagedStoreError(
                f"{self.location}: was removed or built anew while it was read; start again from a store that stays"
            )
        self._identity = identity  # pictures or a balance were added

    def _check_files(self, path: str, array: zarr.Array[Any]) -> None:
        """Raise if a file of an array, or its line, is gone: Zarr would read it as fill value without a word."""
        if unlisted := self.manifest.unlisted(path, array.shape, array.shards or array.chunks):
            raise DamagedStoreError(
                f"{self.location}: {unlisted[0]} has no line in {MANIFEST_NAME}; build the store again"
            )
        files = [name for name in self.manifest.digests if name.startswith(f"{path}/")]
        with _host_named(self.location):
            missing = _missing(self.location, path, files)
        if missing:
            raise DamagedStoreError(
                f"{self.location}: {missing[0]} is missing ({len(missing)} files of {path}); "
                "see `ecgprep verify`, and build the store again"
            )


def _missing(location: str, path: str, files: Sequence[str]) -> list[str]:
    """Return which files of an array are gone: a bucket lists a thousand a request, else each is asked for."""
    import fsspec

    fs, root = fsspec.core.url_to_fs(location, use_listings_cache=False)
    names = {f"{root.rstrip('/')}/{file}": file for file in files}
    listed: set[str] = set()
    if "://" in location and not location.startswith(("http://", "https://")):  # web servers list nothing
        with suppress(FileNotFoundError, PermissionError):  # none is here, or they may be read but not listed
            listed = set(fs.find(f"{root.rstrip('/')}/{path}"))
    asked = [name for name in names if name not in listed]
    with ThreadPoolExecutor() as pool:
        return [names[name] for name, here in zip(asked, pool.map(fs.exists, asked), strict=True) if not here]


def open_store(location: str | Path) -> Store:
    """Return the complete store at a path or URL; see `Store`."""
    return Store(location)


@contextmanager
def damage_named(location: str) -> Iterator[None]:
    """Turn what the codecs raise when they read a changed byte into an error that says so.

    Parameters
    ----------
    location : str
        The store that is read within.

    Raises
    ------
    DamagedStoreError
        If what is read fails its checksum.
    ResourceError
        If the host of a URL does not answer.
    """
    with _host_named(location):
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:  # of zarrs, and of Zarr's own codecs
            if isinstance(error, EcgError) or not _is_of_a_codec(error):
                raise
            raise DamagedStoreError(
                f"{location}: damaged ({' '.join(str(error).split())}); see `ecgprep verify`, and build the store again"
            ) from error


def _host_named(location: str) -> AbstractContextManager[None]:
    return unanswered_named(location) if "://" in location else nullcontext()


def _is_of_a_codec(error: Exception) -> bool:
    """Tell a codec's error from one of the disk or the network: zarrs raises a bare OSError without a number."""
    return not isinstance(error, OSError) or (type(error) is OSError and error.errno is None)


def check_patients(split: Split, patients: NDArray[Any]) -> None:
    """Raise if one patient is on two sides of a split.

    Parameters
    ----------
    split : Split
        The split.
    patients : ndarray of str, shape (n_rows,)
        Whose row it is.

    Raises
    ------
    LeakError
        Naming some of the patients.
    """
    parts = np.unique(split.values[split.values >= 0]) if split.kind == "folds" else (TRAIN, VALIDATION, TEST)
    seen: dict[str, int] = {}
    shared: set[str] = set()
    for part in parts:
        here = set(patients[split.values == part].tolist())
        shared |= {patient for patient in here if seen.setdefault(patient, int(part)) != int(part)}
    if shared:
        some = ", ".join(sorted(shared)[:3])
        raise LeakError(
            f"split {split.protocol!r} has {len(shared)} patients on two sides ({some}) and does not declare it; "
            "build the store again"
        )


def _codecs_for(location: str) -> AbstractContextManager[object]:
    """Return a context in which arrays of a folder are opened with native codecs, and those of a URL with Zarr's."""
    return nullcontext() if "://" in location else native_codecs(READ_THREADS)


class _ListedFiles(WrapperStore[ZarrStore]):
    """A Zarr store that raises where a file that the manifest lists is gone: Zarr would take it for fill value."""

    def __init__(self, store: ZarrStore, location: str, listed: Mapping[str, str]) -> None:
        super().__init__(store)
        self.location, self.listed = location, listed

    def _with_store(self, store: ZarrStore) -> Self:
        return type(self)(store, self.location, self.listed)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        if found is None and key in self.listed:
            raise DamagedStoreError(f"{self.location}: {key} has gone while the store was read; build it again")
        return found


def _open_group(location: str, manifest: Manifest) -> zarr.Group:
    with _host_named(location):
        try:
            files: str | _ListedFiles = location
            if "://" in location:
                files = _ListedFiles(FsspecStore.from_url(location, read_only=True), location, manifest.digests)
            with _codecs_for(location):
                return zarr.open_group(files, mode="r", use_consolidated=True)
        except (ValueError, KeyError, TypeError, OSError) as error:  # Zarr raises whatever the damage trips
            raise DamagedStoreError(
                f"{location}: zarr.json cannot be opened ({' '.join(str(error).split())}); see `ecgprep verify`, "
                "and build the store again"
            ) from error


def _identity(location: str) -> tuple[int, int] | None:
    """Return what a manifest of a folder is known by, which costs no reading; None if it is gone or at a URL."""
    try:
        facts = (Path(location) / MANIFEST_NAME).stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _same_files(path: str, before: Manifest, now: Manifest) -> bool:
    """Tell whether two manifests list the same files of an array."""

    def files(manifest: Manifest) -> dict[str, str]:
        listed = {**manifest.digests, **dict.fromkeys(manifest.empty, "")}
        return {name: digest for name, digest in listed.items() if name.startswith(f"{path}/")}

    return files(before) == files(now)


def _read_manifest(location: str) -> Manifest:
    try:
        return Manifest.parse(place_at(location).read_text(MANIFEST_NAME))
    except FileNotFoundError as error:
        raise IncompleteStoreError(
            f"{location}: no complete store here ({MANIFEST_NAME} is absent); finish it with `ecgprep build`"
        ) from error
    except UserError:  # also a ValueError: of the URL, not of the text
        raise
    except ValueError as error:
        raise DamagedStoreError(f"{location}: {error}; build the store again") from error
