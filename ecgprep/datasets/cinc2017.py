"""PhysioNet/CinC Challenge 2017: 8,528 single-lead recordings of 9 to 61 s, each normal, AF, other or noisy.

References
----------
.. [1] Clifford et al., AF classification from a short single lead ECG recording: the PhysioNet/Computing in Cardiology
   Challenge 2017, Computing in Cardiology 44:1-4, 2017.
.. [2] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021: the split.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic, unnamed_note
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, patient_parts, patient_protocols, strata
from store.errors import MissingDataError, RecordError, UserError
from store.plan import Values
from store.vocabulary import RHYTHM4_CLASSES, RHYTHM4_SCORE_CLASSES

SUFFIXES = (".hea", ".mat")
MAT_HEADER_BYTES = 24
LAYOUTS = ("training/*/A*", "training2017/A*")  # as published, and as its archive unpacks
LABEL_FOLDERS = (".", "training", "training2017")
LABEL_FILES = {
    "v3": "REFERENCE-v3.csv",
    "v2": "REFERENCE-v2.csv",
    "v1": "REFERENCE-v1.csv",
    "v0": "REFERENCE-v0.csv",  # the challenge's first labels
    "archive": "REFERENCE.csv",  # beside the records of the archive; it states no version
}


class Cinc2017(Database):
    """The public training set of the challenge, 1.0.0, in either layout."""

    name = "cinc2017"
    folder = "challenge-2017"
    title = "AF Classification from a Short Single Lead ECG Recording: PhysioNet/CinC Challenge 2017"
    licence = "ODC-By 1.0"
    citation = "Clifford GD, et al. AF classification from a short single lead ECG recording. Comput Cardiol 44, 2017."
    url = "https://physionet.org/content/challenge-2017/1.0.0/"
    published_records = 8528
    download_size = "165 MB"
    mean_record_bytes = 19_600
    optional_files = ("*.zip", "sample2017/*", "validation/*")
    rates_hz = (300.0,)
    leads = ("ECG",)
    default_leads = ("ECG",)
    all_leads = ("ECG",)
    default_unit = "record"
    label_rules = tuple(LABEL_FILES)

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here; one that lies in both layouts is read as published, else the first."""
        assert prepare.label_rule is not None
        class_of = read_labels(folder, prepare.label_rule)
        here: dict[str, Path] = {}
        for layout in LAYOUTS:
            for path in sorted(folder.glob(layout)):
                if path.suffix in SUFFIXES:
                    here.setdefault(path.stem, path.with_suffix(""))
        refs = [_ref(folder, path, class_of) for path in here.values()]
        refs.sort(key=lambda ref: ref.record.encode())
        file, unnamed = LABEL_FILES[prepare.label_rule], here.keys() - class_of.keys()
        if here and len(unnamed) == len(here):
            raise UserError(f"{folder}: {file} names none of the {len(here)} records here, such as {min(here)!r}")
        synthetic = is_synthetic(folder)
        return Found(
            tuple(refs), len(class_of), "(synthetic)" if synthetic else "1.0.0", synthetic, unnamed_note(file, unnamed)
        )

    def read(self, ref: RecordRef, prepare: Prepare) -> Record:
        """Return a record's signal; its file has to be as long as the header says, which has no checksum.

        Raises
        ------
        RecordError
            If the record cannot be read, or the file is of another length: then it is another record's.
        """
        record = super().read(ref, prepare)
        file = ref.path.with_name(f"{ref.path.name}.mat")
        n_samples = (file.stat().st_size - MAT_HEADER_BYTES) // 2
        if n_samples != record.n_samples:
            raise RecordError("read", f"{file.name} holds {n_samples} samples, the header says {record.n_samples}")
        return record

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return unknown age and sex: the challenge gives none."""
        return {"age": float("nan"), "sex": ""}

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return ``rhythm4``."""
        return ("rhythm4",)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the class that the chosen label file gives; −1 for a record that it does not name."""
        assert prepare.label_rule is not None
        values = np.array([_number(fact["class"]) for fact in facts], dtype=np.int8)
        rule = f"{prepare.label_rule}: {LABEL_FILES[prepare.label_rule]}"
        return {"rhythm4": Values(values, {"classes": list(RHYTHM4_CLASSES), "multilabel": False, "rule": rule})}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the split of reference 2 and the usual draws; every record counts as its own patient."""
        usable = self.usable(rows, facts, prepare)
        drawn = patient_protocols(rows, "rhythm4", RHYTHM4_SCORE_CLASSES, usable, prepare.seed)
        shares, patients = (0.75, 0.05, 0.20), rows.columns["patient"]
        values = patient_parts(strata(rows.labels["rhythm4"]), patients, usable, shares, prepare.seed)
        if values is None:
            return drawn
        rule = f"records drawn at random into 75/5/20 %, classes spread evenly, seed {prepare.seed}"
        return [Protocol("record-75-5-20", values, "rhythm4", RHYTHM4_SCORE_CLASSES, rule, unit="record"), *drawn]


def read_labels(folder: Path, rule: str) -> dict[str, str]:
    """Return the class of every record that a version of the label file names.

    Parameters
    ----------
    folder : Path
        The database's folder; the file may lie beside the records.
    rule : str
        A key of `LABEL_FILES`.

    Raises
    ------
    MissingDataError
        If the file is not there; says which versions are.
    UserError
        If a line is not a record and one of the four classes, or gives a record another class than one before it.
    """
    places = [folder / place / LABEL_FILES[rule] for place in LABEL_FOLDERS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        others = [
            other for other, name in LABEL_FILES.items() if any((folder / at / name).is_file() for at in LABEL_FOLDERS)
        ]
        advice = f"; here is --label-rule {' or '.join(others)}" if others else ""
        raise MissingDataError(f"{places[0]} is missing; it holds the labels{advice}")
    class_of: dict[str, str] = {}
    for number, line in enumerate(_csv_lines(path), start=1):
        if len(line) != 2 or line[1] not in RHYTHM4_CLASSES:
            raise UserError(f"{path}, line {number}: {','.join(line)[:40]!r} is not RECORD,CLASS (N, A, O or ~)")
        if class_of.setdefault(line[0], line[1]) != line[1]:
            raise UserError(f"{path}, line {number}: {line[0]} is {line[1]!r}, and {class_of[line[0]]!r} further up")
    return class_of


def _csv_lines(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table of text: {error}") from error


def _ref(folder: Path, path: Path, class_of: Mapping[str, str]) -> RecordRef:
    record = f"cinc2017/{path.relative_to(folder).as_posix()}"
    return RecordRef(record, f"cinc2017/{path.name}", folder, SUFFIXES, {"class": class_of.get(path.name)})


def _number(name: str | None) -> int:
    return -1 if name is None else RHYTHM4_CLASSES.index(name)


DATABASE = Cinc2017()
