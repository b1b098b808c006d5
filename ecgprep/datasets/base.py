"""What every database says of itself, and what the build asks it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import PRESETS, BeatPreset
from ecgprep.config import Prepare
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows
from store.errors import UnknownNameError, UserError
from store.plan import Values
from store.vocabulary import SYNTHETIC_MARK, lead_key


@dataclass(frozen=True)
class RecordRef:
    """A record that is here, before it is read.

    Parameters
    ----------
    record : str
        Its name in the store, ``<database>/<path without suffix>``.
    patient : str
        ``<database>/<id>``.
    path : Path
        Where it lies, without a suffix.
    suffixes : tuple of str
        The files that it consists of.
    facts : mapping
        What the database's own tables say of it.
    """

    record: str
    patient: str
    path: Path
    suffixes: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The part of a database that is here."""

    records: tuple[RecordRef, ...]
    published: int
    version: str
    synthetic: bool


@dataclass(frozen=True)
class Annotated:
    """The beats of a record, as its annotator marked them.

    Parameters
    ----------
    r_peaks : ndarray of int64
        Raw sample numbers, ascending.
    symbols : ndarray of str
        One for each.
    n_dropped : mapping
        Annotations that mark no beat, counted by symbol.
    """

    r_peaks: NDArray[np.int64]
    symbols: NDArray[np.str_]
    n_dropped: Mapping[str, int]


class Database(ABC):
    """A database: its facts as class attributes, its layout and labels as methods."""

    name: ClassVar[str]
    folder: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    url: ClassVar[str]
    published_records: ClassVar[int]
    download_size: ClassVar[str]
    mean_record_bytes: ClassVar[int] = 0  # of a record's files, for the size of a download
    optional_files: ClassVar[tuple[str, ...]] = ()  # patterns of published files that no build reads
    rates_hz: ClassVar[tuple[float, ...]]
    leads: ClassVar[tuple[str, ...]]
    default_leads: ClassVar[tuple[str, ...]]
    all_leads: ClassVar[tuple[str, ...] | None] = None
    substitutes: ClassVar[Mapping[str, str]] = {}
    record_s: ClassVar[float | None] = None  # where all records have one length
    units: ClassVar[tuple[str, ...]]
    label_rules: ClassVar[tuple[str, ...]]
    default_protocol: ClassVar[str]
    default_scheme: ClassVar[str]

    @abstractmethod
    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are in the database's folder, in byte order of their names.

        A record is here when any of its files is.
        """

    @abstractmethod
    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return ``age`` (years, NaN unknown) and ``sex`` (``male``, ``female`` or empty)."""

    @abstractmethod
    def labels(self, facts: Sequence[Mapping[str, Any]], symbols: NDArray[Any], prepare: Prepare) -> dict[str, Values]:
        """Return the labels by scheme, from the facts of each row's record and the symbol of each row."""

    @abstractmethod
    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return every split protocol that applies to these rows."""

    @property
    def published_path(self) -> str | None:
        """PhysioNet's name and version of the database, such as ``mitdb/1.0.0``; None if it is not published there."""
        _, found, path = self.url.partition("physionet.org/content/")
        return path.strip("/") if found else None

    def wants(self, path: str, prepare: Prepare) -> bool:
        """Tell whether a published file, by its path below the database's folder, is part of what a recipe asks for."""
        return True

    def expected_records(self, prepare: Prepare) -> int:
        """Return how many records, each with a header, are at least published of what a recipe asks for."""
        return self.published_records

    def record_bytes(self, prepare: Prepare) -> int:
        """Return the mean size of a record's files."""
        return self.mean_record_bytes

    def beats(self, ref: RecordRef) -> Annotated:
        """Return the annotated beats of a record."""
        raise UserError(f"{self.name} has no beat annotations; build it with --unit record")

    def resolve(self, prepare: Prepare) -> Prepare:
        """Return `prepare` with this database's defaults in place of None, after a look at every name.

        Raises
        ------
        UserError
            If a unit, rate, lead or rule is not one that this database has.
        """
        unit = self._known("unit", prepare.unit or self.units[0], self.units)
        fs = self._resolve_rate(prepare.fs, unit)
        rule = self._known("label rule", prepare.label_rule or self.label_rules[0], self.label_rules)
        leads = self._resolve_leads(prepare.leads or self.default_leads)
        return prepare.model_copy(update={"unit": unit, "fs": fs, "label_rule": rule, "leads": leads})

    def _resolve_rate(self, fs: float | None, unit: str) -> float:
        preset = preset_of(unit)
        if preset is not None:
            if fs is not None and fs != preset.fs_hz:
                raise UserError(f"--fs {fs:g}: {unit} is cut at {preset.fs_hz:g} Hz; leave --fs out")
            return preset.fs_hz
        if fs is not None and fs not in self.rates_hz:
            rates = " or ".join(f"{rate:g}" for rate in self.rates_hz)
            raise UserError(f"--fs {fs:g}: {self.name} comes at {rates} Hz")
        return fs or self.rates_hz[0]

    def _resolve_leads(self, wanted: Sequence[str]) -> tuple[str, ...]:
        if tuple(wanted) == ("all",):
            if self.all_leads is None:
                raise UserError(f"--leads all: the records of {self.name} have different leads; name them")
            return self.all_leads
        spelling = {lead_key(lead): lead for lead in self.leads}
        for lead in wanted:
            if lead_key(lead) not in spelling:
                raise UnknownNameError(f"lead of {self.name}", lead, self.leads)
        leads = tuple(spelling[lead_key(lead)] for lead in wanted)
        if len(set(leads)) < len(leads):
            raise UserError(f"--leads {','.join(wanted)}: a lead is named twice")
        return leads

    def _known(self, kind: str, name: str, known: Sequence[str]) -> str:
        if name not in known:
            raise UnknownNameError(f"{kind} of {self.name}", name, known)
        return name


def preset_of(unit: str) -> BeatPreset | None:
    """Return the preset that ``beat:PRESET`` names, or None for another unit."""
    kind, _, name = unit.partition(":")
    return PRESETS[name] if kind == "beat" else None


def is_synthetic(folder: Path) -> bool:
    """Tell whether a database's folder says that its recordings are synthetic."""
    return (folder / SYNTHETIC_MARK).exists()
