"""What every database says of itself, and what the build asks it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecgprep.annotations import Annotations, read_annotations
from ecgprep.beats import BeatPreset
from ecgprep.config import Prepare
from ecgprep.label_table import age_in_years
from ecgprep.records import Record, read_record
from ecgprep.rpeaks import DEFAULT_DETECTOR, DETECTORS
from ecgprep.splits import Protocol, Rows, strata
from ecgprep.units import EXAMPLES, GivenRows, Unit, parse_unit
from store.errors import RecordError, UnknownNameError, UserError
from store.patients import choose_patients
from store.plan import Values
from store.vocabulary import SYNTHETIC_MARK, lead_key, same_leads


@dataclass(frozen=True, slots=True)  # a large database has millions, and each is kept while its store is built
class RecordRef:
    """A record that is here, before it is read.

    Parameters
    ----------
    record : str
        Its name in the store, ``<database>/<path without suffix>``.
    patient : str
        ``<database>/<id>``.
    folder : Path
        The database's folder.
    suffixes : tuple of str
        The files that it consists of.
    facts : mapping
        What the database's own tables say of it.
    beside : tuple of Path
        Files that it consists of and whose names differ.
    """

    record: str
    patient: str
    folder: Path
    suffixes: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        """Where it lies, without a suffix."""
        return self.folder / self.record.partition("/")[2]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it consists of."""
        path = self.path
        return (*(path.with_name(path.name + suffix) for suffix in self.suffixes), *self.beside)

    def stamp(self) -> int:
        """Return a number that is another one when a file has changed; the same in every process."""
        stats = [file.stat() for file in self.files if file.is_file()]
        return hash(tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))  # hashes of numbers are not salted


@dataclass(frozen=True)
class Found:
    """The part of a database that is here, and what its user should know of it, such as labels of absent records."""

    records: tuple[RecordRef, ...]
    published: int
    version: str
    synthetic: bool
    note: str = ""


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
    patients_by_path: ClassVar[bool] = False  # whether a published file's path says whose it is: see `wants`
    optional_files: ClassVar[tuple[str, ...]] = ()  # patterns of published files that no build reads
    rates_hz: tuple[float, ...]
    leads: tuple[str, ...]
    default_leads: tuple[str, ...]
    all_leads: tuple[str, ...] | None = None
    described_by_folder: ClassVar[bool] = False  # leads or rates are known when its folder is: see `at`
    takes_labels: ClassVar[bool] = False  # by --labels or --annotator
    substitutes: ClassVar[Mapping[str, str]] = {}
    record_s: ClassVar[float | None] = None  # where all records have one length
    default_unit: ClassVar[str]
    ready_cut: ClassVar[bool] = False  # whether its files hold rows, not recordings
    label_rules: ClassVar[tuple[str, ...]]

    @abstractmethod
    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are in the database's folder, in byte order of their names.

        A record is here when any of its files is.
        """

    def read(self, ref: RecordRef, prepare: Prepare) -> Record:
        """Return a record's signals.

        Raises
        ------
        RecordError
            If the record cannot be read, or its header names the files of another.
        """
        record = read_record(ref.path, ref.suffixes)
        own = {file.name for file in ref.files}
        if other := next((file for file in record.files if file not in own), None):
            raise RecordError("read", f"{ref.path.name}.hea names {other}: it is the header of another record")
        return record

    def row_lengths(self, ref: RecordRef) -> tuple[int, NDArray[np.int32]]:
        """Return, of a record whose file holds rows ready cut, their length and how much of each is no padding."""
        raise UserError(f"{self.name} holds recordings, not rows ready cut")

    @abstractmethod
    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return ``age`` (years, NaN unknown) and ``sex`` (``male``, ``female`` or empty)."""

    @abstractmethod
    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the names of the label schemes of these rows, the default one first."""

    @abstractmethod
    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the labels by scheme.

        Parameters
        ----------
        facts : sequence of mapping
            What the database's tables say of each row's record.
        marks : mapping of str to ndarray
            What the annotations say of each row: ``symbol`` of beats, or the classes of frames by
            `ecgprep.annotations.label_frames`; empty where the database has no annotations.
        prepare : Prepare
            The resolved recipe.
        """

    @abstractmethod
    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return every split protocol that applies to these rows, the default one first."""

    def usable(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> NDArray[np.bool_]:
        """Return which rows take part in splits by patient: by default those with a label of the default scheme."""
        return strata(rows.labels[self.schemes(prepare)[0]]) >= 0

    def unknown_patients(self, facts: Sequence[Mapping[str, Any]]) -> str:
        """Return, in words, why splits by patient leak all the same; empty where all patients are known."""
        return ""

    def patients(self, records: Sequence[RecordRef]) -> Sequence[str]:
        """Return the database's patients in order: by default those who are here, in byte order."""
        return sorted({ref.patient for ref in records}, key=str.encode)

    def annotator(self, prepare: Prepare) -> str | None:
        """Return the suffix of the annotation files that mark the beats; None where a detector has to find them."""
        return None

    def annotations(self, ref: RecordRef, prepare: Prepare) -> Annotations | None:
        """Return the annotated beats and rhythms of a record; None in a database without any.

        Raises
        ------
        RecordError
            If they cannot be read.
        """
        annotator = self.annotator(prepare)
        return None if annotator is None else read_annotations(ref.path, annotator)

    def at(self, folder: Path) -> Self:
        """Return the database as a folder describes it; a published one is the same in every folder."""
        return self

    def raw_places(self, raw: Path, source: Path | None) -> list[Path]:
        """Return where the database's folder may be: in the workspace's, or in the one that was named, or is it."""
        if source is None:
            return [raw / self.folder]
        return [source / self.folder, *([source] if source.resolve().name == self.folder else [])]

    def make_raw(self, raw: Path) -> None:
        """Write the recordings into the workspace, where they are computed and not yet there."""
        return

    def how_to_get(self, options: str = "") -> str:
        """Return, for an error message, where the recordings come from; by which options those that are wanted."""
        return (
            f"Get them ({self.download_size}, {self.licence}; {self.url}) by `ecgprep download {self.name}{options}`, "
            f"or name the folder that holds {self.folder}/ by --from DIR; or make synthetic ones: "
            f"ecgprep synth DIR --like {self.name}{options}"
        )

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

    def resolve(self, prepare: Prepare) -> Prepare:
        """Return `prepare` with this database's defaults in place of None, after a look at every name.

        Raises
        ------
        UserError
            If a unit, rate, lead or rule is not one that this database has, or part of the patients is named wrongly.
        """
        if prepare.patients is not None:
            choose_patients(prepare.patients, 0)
        unit = parse_unit(prepare.unit or self.default_unit)
        if isinstance(unit, GivenRows) != self.ready_cut:
            holds = "rows ready cut; leave --unit out" if self.ready_cut else f"recordings; write {EXAMPLES}"
            raise UserError(f"--unit {unit}: {self.name} holds {holds}")
        rule = self._known("label rule", prepare.label_rule or self.label_rules[0], self.label_rules)
        return prepare.model_copy(
            update={
                "unit": str(unit),
                "fs": self._resolve_rate(prepare.fs, unit),
                "label_rule": rule,
                "leads": self._resolve_leads(prepare.leads or self.default_leads),
                "detector": self._resolve_detector(prepare, unit),
            }
        )

    def _resolve_detector(self, prepare: Prepare, unit: Unit) -> str | None:
        """Return who finds the R peaks: nobody where rows are no beats, or beats are annotated."""
        if not isinstance(unit, BeatPreset) or self.annotator(prepare):
            return None
        return self._known("R-peak detector", prepare.detector or DEFAULT_DETECTOR, tuple(DETECTORS))

    def _resolve_rate(self, fs: float | None, unit: Unit) -> float:
        if not isinstance(unit, BeatPreset):
            return fs or self.rates_hz[0]
        if fs is not None and fs != unit.fs_hz:
            raise UserError(f"--fs {fs:g}: {unit} is cut at {unit.fs_hz:g} Hz; leave --fs out")
        return unit.fs_hz

    def raw_rate(self, fs_hz: float) -> float:
        """Return the published rate to read for a wanted one: itself, else the next higher, else the highest."""
        return min((rate for rate in self.rates_hz if rate >= fs_hz), default=max(self.rates_hz))

    def has_lead(self, lead: str) -> bool:
        """Tell whether records have a lead, also by another name, or one that stands in for it."""
        spelling = {lead_key(name) for name in self.leads}
        return any(lead_key(name) in spelling or name in self.substitutes for name in same_leads(lead))

    def _resolve_leads(self, wanted: Sequence[str]) -> tuple[str, ...]:
        if tuple(wanted) == ("all",):
            if self.all_leads is None:
                raise UserError(f"--leads all: the records of {self.name} have different leads; name them")
            return self.all_leads
        for lead in wanted:
            if not self.has_lead(lead):
                with_comma = next((name for name in self.leads if "," in name), None)
                hint = f"One with a comma is named by --set 'leads=[\"{with_comma}\"]'" if with_comma else ""
                raise UnknownNameError(f"lead of {self.name}", lead, self.leads, hint)
        spelling = {lead_key(lead): lead for lead in self.leads}
        leads = tuple(spelling.get(lead_key(lead), lead) for lead in wanted)
        if len(set(leads)) < len(leads):
            raise UserError(f"--leads {','.join(wanted)}: a lead is named twice")
        return leads

    def _known(self, kind: str, name: str, known: Sequence[str]) -> str:
        if name not in known:
            raise UnknownNameError(f"{kind} of {self.name}", name, known)
        return name


# on one line: the next may begin with a number of its own; of years, and not below zero, which stands for unknown
AGE = re.compile(
    r"\bage\b[^\w\n]*(?<!-)(\d+(?:\.\d+)?)(?![\d.]*\s*(?:mo(?:nth)?s?|w(?:ee)?ks?|days?)\b)", re.IGNORECASE
)
SEX = re.compile(r"\bsex\b[^\w\n]*(male|female|M|F)\b", re.IGNORECASE)


def person_in(comments: str) -> dict[str, Any]:
    """Return age and sex from a header's comments such as ``<age>: 65 <sex>: F``."""
    age, sex = AGE.search(comments), SEX.search(comments)
    said = {"m": "male", "f": "female"}
    return {"age": age_in_years(age[1]) if age else float("nan"), "sex": said[sex[1][0].lower()] if sex else ""}


def is_synthetic(folder: Path) -> bool:
    """Tell whether a database's folder says that its recordings are synthetic."""
    return (folder / SYNTHETIC_MARK).exists()


def unnamed_note(table: str, unnamed: Collection[str]) -> str:
    """Return which records here a database's table does not name, as a table does that was cut short; "" if none."""
    if not unnamed:
        return ""
    return f"{table} does not name {len(unnamed)} of the records here, such as {min(unnamed)!r}"
