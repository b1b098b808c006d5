"""PTB-XL: 21,799 clinical 12-lead recordings of 10 s with SCP-ECG statements and ten recommended folds.

References
----------
.. [1] Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7:154, 2020.
.. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE J. Biomed. Health
   Inform. 25(5):1519-1528, 2021: the levels of labels.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic, unnamed_note
from ecgprep.label_table import SEXES
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, patient_protocols
from store.errors import MissingDataError, UserError
from store.plan import Values
from store.vocabulary import (
    STANDARD_LEADS,
    STATEMENT_CLASSES,
    STATEMENT_SCHEMES,
    SUPERCLASSES,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
)

TABLE = "ptbxl_database.csv"
TABLE_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
RANGES = {"ecg_id": (0, 10**9), "patient_id": (0, 10**9), "strat_fold": (1, 10), "age": (0, 300)}
VERSION_OF_ROWS = {21837: "1.0.1", 21799: "1.0.3"}
FILE_COLUMN = {100.0: "filename_lr", 500.0: "filename_hr"}
MIN_LIKELIHOOD = {"present": 0.0, "likely": 1e-9, "likelihood50": 50.0, "certain": 100.0}
OLDEST_AGE = 90.0  # from version 1.0.2 on, ages above 89 are published as 300
SEX_OF = {"0": "male", "1": "female", **SEXES}  # copies of the table that others wrote have words
SUFFIXES = (".hea", ".dat")


class PtbXl(Database):
    """PTB-XL, either version, either rate."""

    name = "ptbxl"
    folder = "ptb-xl"
    title = "PTB-XL, a large publicly available electrocardiography dataset"
    licence = "CC BY 4.0"
    citation = "Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. Sci Data 7:154, 2020."
    url = "https://physionet.org/content/ptb-xl/1.0.3/"
    published_records = 21799
    download_size = "3.0 GB (1.7 GB compressed)"
    optional_files = ("example_physionet.py",)
    rates_hz = (100.0, 500.0)
    leads = STANDARD_LEADS
    default_leads = ("II", "V1", "V5")
    all_leads = STANDARD_LEADS
    record_s = 10.0
    default_unit = "record"
    label_rules = tuple(MIN_LIKELIHOOD)

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records of the table that are here at the wanted rate."""
        assert prepare.fs is not None
        rate = self.raw_rate(prepare.fs)
        table = read_table(folder / TABLE)
        here = _records_here(folder)
        refs = [record_ref(folder, row, rate) for row in table if row[FILE_COLUMN[rate]] in here]
        synthetic = is_synthetic(folder)
        version = "(synthetic)" if synthetic else VERSION_OF_ROWS.get(len(table), "of unknown version")
        refs.sort(key=lambda ref: ref.record.encode())
        unnamed = here.difference(row[column] for row in table for column in FILE_COLUMN.values())
        return Found(tuple(refs), len(table), version, synthetic, unnamed_note(TABLE, unnamed))

    def wants(self, path: str, prepare: Prepare) -> bool:
        """Leave out the records of the other rate."""
        unwanted = "records500/" if self.raw_rate(prepare.fs or 0) == min(self.rates_hz) else "records100/"
        return not path.startswith(unwanted)

    def record_bytes(self, prepare: Prepare) -> int:
        """Return the mean size of a record's files at the rate that is read."""
        return 24_700 if self.raw_rate(prepare.fs or 0) == min(self.rates_hz) else 120_700

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the table."""
        return {"age": ref.facts["age"], "sex": ref.facts["sex"]}

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the levels of the statements."""
        return tuple(STATEMENT_SCHEMES)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the statements at every level, from superclasses to all 71; a row of zeros has none."""
        assert prepare.label_rule is not None
        statements = [fact["scp_codes"] for fact in facts]
        return {scheme: _multi_hot(scheme, statements, prepare.label_rule) for scheme in STATEMENT_SCHEMES}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the recommended folds for every level of labels, and the draws by patient for superclasses."""
        fold = np.array([fact["fold"] for fact in facts])
        official = [_recommended_folds(scheme, rows.labels[scheme], fold) for scheme in STATEMENT_SCHEMES]
        usable = self.usable(rows, facts, prepare)
        return [*official, *patient_protocols(rows, "superclass", SUPERCLASSES, usable, prepare.seed)]


def _multi_hot(scheme: str, statements: Sequence[Mapping[str, float]], rule: str) -> Values:
    """Return which classes of a scheme each record has.

    The rule looks at diagnoses alone: the likelihood of a form or a rhythm is next to never given.
    """
    class_of, classes = STATEMENT_SCHEMES[scheme], STATEMENT_CLASSES[scheme]
    least = MIN_LIKELIHOOD[rule]
    values = np.zeros((len(statements), len(classes)), np.uint8)
    for row, likelihood_of in zip(values, statements, strict=True):
        for code, likelihood in likelihood_of.items():
            if code in class_of and (likelihood >= least or code not in STATEMENT_SCHEMES["diagnostic"]):
                row[classes.index(class_of[code])] = 1
    said = "likelihood ignored" if least == 0 else f"diagnoses with likelihood ≥ {max(least, 1):g}"
    attributes = {"classes": list(classes), "multilabel": True, "rule": f"{rule}: any statement of the class, {said}"}
    return Values(values, attributes)


def _recommended_folds(scheme: str, label: Values, fold: NDArray[np.int64]) -> Protocol:
    """Return the recommended folds of the records that have a label, as the benchmark of PTB-XL uses them."""
    part = np.where(fold <= 8, TRAIN, np.where(fold == 9, VALIDATION, TEST))
    return Protocol(
        name="ptbxl-folds" if scheme == "superclass" else f"ptbxl-folds-{scheme}",
        values=np.where(label.values.any(axis=1), part, UNUSED).astype(np.int8),
        scheme=scheme,
        score_classes=STATEMENT_CLASSES[scheme],
        rule=f"recommended folds 1-8 train, 9 validates, 10 tests; records without a {scheme} label unused",
    )


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of ``ptbxl_database.csv``, with the columns that are used.

    Raises
    ------
    MissingDataError
        If the table is not there.
    UserError
        If it is no table, lacks a column, names a record twice, or holds what no number of a column can be.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is missing; it comes with PTB-XL and holds its labels and folds")
    import pandas as pd

    try:
        table = pd.read_csv(path, usecols=TABLE_COLUMNS.__contains__)  # the reports are most of its bytes
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table: {error}") from error
    if absent := [column for column in TABLE_COLUMNS if column not in table.columns]:
        raise UserError(f"{path}: column {absent[0]!r} is missing; is this PTB-XL's own table?")
    for column in ("ecg_id", *FILE_COLUMN.values()):
        if (twice := table[column].duplicated() & table[column].notna()).any():
            raise UserError(f"{path}: {column} {table[column][twice].iloc[0]} is there twice")
    rows = table[list(TABLE_COLUMNS)]
    for column, (lowest, highest) in RANGES.items():
        number = pd.to_numeric(rows[column], errors="coerce")
        wrong = ~(number.between(lowest, highest) & ((number % 1 == 0) | (column == "age")))
        if column == "age":  # may be unknown
            wrong &= rows[column].notna()
        if wrong.any():
            line = int(wrong.to_numpy().argmax()) + 2
            what = f"no {'number' if column == 'age' else 'whole number'} from {lowest} to {highest}"
            raise UserError(f"{path}, line {line}: {column} is {rows[column][wrong].iloc[0]}, which is {what}")
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _records_here(folder: Path) -> set[str]:
    """Return the records that have any file here, as paths without suffix."""
    files = (path for rate in ("records100", "records500") for path in (folder / rate).glob("*/*"))
    return {path.relative_to(folder).with_suffix("").as_posix() for path in files if path.suffix in SUFFIXES}


def record_ref(folder: Path, row: Mapping[str, Any], fs_hz: float) -> RecordRef:
    """Return the record that a row of the table names, at one of the two rates.

    Raises
    ------
    UserError
        If its statements are not a dict of numbers.
    """
    name = row[FILE_COLUMN[fs_hz]]
    facts = {
        "age": min(float(row["age"]), OLDEST_AGE) if row["age"] == row["age"] else float("nan"),
        "sex": SEX_OF.get(str(row["sex"]).strip().removesuffix(".0").lower(), ""),
        "scp_codes": _statements(row, folder),
        "fold": int(row["strat_fold"]),
    }
    return RecordRef(f"ptbxl/{name}", f"ptbxl/{int(row['patient_id'])}", folder, SUFFIXES, facts)


def _statements(row: Mapping[str, Any], folder: Path) -> Mapping[str, float]:
    try:
        return _parse_statements(row["scp_codes"])
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise UserError(
            f"{folder / TABLE}: ecg_id {row['ecg_id']}: scp_codes {row['scp_codes']!r} is no dict"
        ) from error


@lru_cache(maxsize=8192)  # 21,837 records have 5,466 different ones, and those of equal ones are kept once
def _parse_statements(text: str) -> Mapping[str, float]:
    return {str(code): float(likelihood) for code, likelihood in ast.literal_eval(text).items()}


DATABASE = PtbXl()
