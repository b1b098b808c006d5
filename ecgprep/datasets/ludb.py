"""Lobachevsky University Database: 200 twelve-lead recordings of 10 s with P, QRS and T marked in every lead.

References
----------
.. [1] Kalyakulina et al., LUDB: a new open-access validation tool for electrocardiogram delineation algorithms, IEEE
   Access 8:186181-186190, 2020.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.annotations import Annotations, load_annotation
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic, unnamed_note
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, patient_protocols
from store.errors import MissingDataError, UserError
from store.plan import Values
from store.vocabulary import LUDB_AXES, LUDB_DIAGNOSES, LUDB_RHYTHMS, STANDARD_LEADS

TABLE = "ludb.csv"
SURPLUS = ""  # column of the cells behind the last one
AXIS = "Electric axis of the heart"
SUFFIXES = (".hea", ".dat", *(f".{lead.lower()}" for lead in STANDARD_LEADS))
BEAT_LEAD = "II"  # whose QRS complexes are the beats
WAVE_OF_SYMBOL = {"p": "P", "N": "QRS", "t": "T"}
OLDEST_AGE = 90.0  # what is published as >89


@dataclass(frozen=True)
class Wave:
    """One wave of one lead, in raw sample numbers; −1 where a boundary is not marked."""

    kind: str
    onset: int
    peak: int
    offset: int


class Ludb(Database):
    """Lobachevsky University Database 1.0.1."""

    name = "ludb"
    folder = "ludb"
    title = "Lobachevsky University Electrocardiography Database"
    licence = "ODC-By 1.0"
    citation = (
        "Kalyakulina AI, et al. LUDB: a new open-access validation tool for electrocardiogram delineation algorithms. "
        "IEEE Access 8:186181-186190, 2020."
    )
    url = "https://physionet.org/content/ludb/1.0.1/"
    published_records = 200
    download_size = "25 MB"
    mean_record_bytes = 125_000
    rates_hz = (500.0,)
    leads = STANDARD_LEADS
    default_leads = ("II", "V1", "V5")
    all_leads = STANDARD_LEADS
    record_s = 10.0
    default_unit = "record"
    label_rules = ("table",)

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here, with their line of the table."""
        table = read_table(folder / TABLE)
        here = {path.with_suffix("") for path in (folder / "data").glob("*") if path.stem.isdigit()}
        refs = [
            RecordRef(f"ludb/data/{path.name}", f"ludb/{path.name}", folder, SUFFIXES, table.get(path.name, {}))
            for path in here
        ]
        refs.sort(key=lambda ref: ref.record.encode())
        synthetic = is_synthetic(folder)
        note = unnamed_note(TABLE, {path.name for path in here} - table.keys())
        return Found(tuple(refs), self.published_records, "(synthetic)" if synthetic else "1.0.1", synthetic, note)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the table."""
        age = ref.facts.get("Age", "")
        years = OLDEST_AGE if age.startswith(">") else float(age) if age.isdigit() else float("nan")
        return {"age": years, "sex": {"M": "male", "F": "female"}.get(ref.facts.get("Sex", ""), "")}

    def annotator(self, prepare: Prepare) -> str:
        """Return the annotator of lead II."""
        return BEAT_LEAD.lower()

    def annotations(self, ref: RecordRef, prepare: Prepare) -> Annotations:
        """Return the QRS complexes of lead II as beats of no class."""
        peaks = [wave.peak for wave in read_waves(ref.path, BEAT_LEAD) if wave.kind == "QRS"]
        return Annotations(np.array(peaks, np.int64), np.zeros(0, np.str_))

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return rhythm, electrical axis and groups of diagnoses."""
        return ("ludb_rhythm", "ludb_axis", "ludb_diagnosis")

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the first rhythm, the axis, and which groups of diagnoses the table names."""
        rhythms = [_first_line(fact.get("Rhythms", "")) for fact in facts]
        axes = [_first_line(fact.get(AXIS, "")).removeprefix(f"{AXIS}: ") for fact in facts]
        groups = np.array([[bool(fact.get(column)) for column in LUDB_DIAGNOSES] for fact in facts], dtype=np.uint8)
        groups[[not fact for fact in facts]] = 255
        rule = "any entry of the group's column; none: a row of zeros"
        diagnosis = {"classes": list(LUDB_DIAGNOSES.values()), "multilabel": True, "rule": rule}
        return {
            "ludb_rhythm": _single_label(rhythms, LUDB_RHYTHMS, "the table's first rhythm"),
            "ludb_axis": _single_label(axes, LUDB_AXES, "the table's axis; none in paced patients"),
            "ludb_diagnosis": Values(groups, diagnosis),
        }

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the draws by patient, rhythms spread evenly."""
        usable = self.usable(rows, facts, prepare)
        return patient_protocols(rows, "ludb_rhythm", LUDB_RHYTHMS, usable, prepare.seed)


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """Return the lines of ``ludb.csv`` by record; several entries of a cell stand on lines of their own.

    Raises
    ------
    MissingDataError
        If the table is not there.
    UserError
        If it is no table, lacks a column, has a line of more cells, or names a record twice.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is missing; it comes with LUDB and holds its labels")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file, restkey=SURPLUS, restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of text: {error}") from error
    for column in ("ID", "Sex", "Age", "Rhythms", AXIS, *LUDB_DIAGNOSES):
        if not lines or column not in lines[0]:
            raise UserError(f"{path}: column {column!r} is missing; is this LUDB's own table?")
    table: dict[str, dict[str, str]] = {}
    for line in lines:
        record = line["ID"].strip()
        if SURPLUS in line:
            raise UserError(f"{path}: the line of ID {record} has more cells than there are columns")
        if record in table:
            raise UserError(f"{path}: ID {record} is there twice")
        table[record] = {column: cell.strip() for column, cell in line.items()}
    return table


def read_waves(path: Path, lead: str) -> list[Wave]:
    """Return the waves that a cardiologist marked in one lead.

    Parameters
    ----------
    path : Path
        The record's path without a suffix.
    lead : str
        The lead's name; its annotation file is called after it.

    Returns
    -------
    list of Wave
        In time order. Boundaries are those directly before and after a peak; a few are not marked.

    Raises
    ------
    RecordError
        If the annotation file is missing, damaged or cut short.
    """
    marked = load_annotation(path, lead.lower())
    samples = [-1, *(int(sample) for sample in marked.sample), -1]
    symbols = ["", *marked.symbol, ""]
    return [
        Wave(
            kind=WAVE_OF_SYMBOL[symbol],
            onset=samples[i - 1] if symbols[i - 1] == "(" else -1,
            peak=samples[i],
            offset=samples[i + 1] if symbols[i + 1] == ")" else -1,
        )
        for i, symbol in enumerate(symbols)
        if symbol in WAVE_OF_SYMBOL
    ]


def _single_label(names: Sequence[str], classes: Sequence[str], rule: str) -> Values:
    values = np.array([classes.index(name) if name in classes else -1 for name in names], dtype=np.int8)
    return Values(values, {"classes": list(classes), "multilabel": False, "rule": rule})


def _first_line(cell: str) -> str:
    return cell.partition("\n")[0].strip()


DATABASE = Ludb()
