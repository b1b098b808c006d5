"""PTB-XL: 21,799 clinical 12-lead recordings of 10 s with SCP-ECG statements and ten recommended folds.

References
----------
.. [1] Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7:154, 2020.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, patient_protocols, strata
from store.errors import MissingDataError, UserError
from store.plan import Values
from store.vocabulary import STANDARD_LEADS, SUPERCLASS_OF, SUPERCLASSES, TEST, TRAIN, UNUSED, VALIDATION

TABLE = "ptbxl_database.csv"
TABLE_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
VERSION_OF_ROWS = {21837: "1.0.1", 21799: "1.0.3"}
FILE_COLUMN = {100.0: "filename_lr", 500.0: "filename_hr"}
MIN_LIKELIHOOD = {"present": 0.0, "likely": 1e-9, "likelihood50": 50.0, "certain": 100.0}
OLDEST_AGE = 90.0  # from version 1.0.2 on, ages above 89 are published as 300
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
        table = _read_table(folder / TABLE)
        here = _records_here(folder)
        refs = [_ref(folder, row, rate) for row in table if row[FILE_COLUMN[rate]] in here]
        synthetic = is_synthetic(folder)
        version = "(synthetic)" if synthetic else VERSION_OF_ROWS.get(len(table), "of unknown version")
        refs.sort(key=lambda ref: ref.record.encode())
        return Found(tuple(refs), len(table), version, synthetic)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the table."""
        return {"age": ref.facts["age"], "sex": ref.facts["sex"]}

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the levels of the statements."""
        return ("superclass",)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the diagnostic superclasses; a row of zeros has none."""
        assert prepare.label_rule is not None
        least = MIN_LIKELIHOOD[prepare.label_rule]
        values = np.zeros((len(facts), len(SUPERCLASSES)), np.uint8)
        for row, fact in enumerate(facts):
            for statement, likelihood in fact["scp_codes"].items():
                if statement in SUPERCLASS_OF and likelihood >= least:
                    values[row, SUPERCLASSES.index(SUPERCLASS_OF[statement])] = 1
        rule = f"{prepare.label_rule}: any diagnostic statement of the superclass"
        rule += ", likelihood ignored" if least == 0 else f" with likelihood ≥ {max(least, 1):g}"
        return {"superclass": Values(values, {"classes": list(SUPERCLASSES), "multilabel": True, "rule": rule})}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the recommended folds, and the draws by patient; records without a superclass take no part."""
        labelled = strata(rows.labels["superclass"]) >= 0
        fold = np.array([fact["fold"] for fact in facts])
        part = np.where(fold <= 8, TRAIN, np.where(fold == 9, VALIDATION, TEST))
        official = Protocol(
            name="ptbxl-folds",
            values=np.where(labelled, part, UNUSED).astype(np.int8),
            scheme="superclass",
            score_classes=SUPERCLASSES,
            rule="recommended folds 1-8 train, 9 validates, 10 tests; records without a superclass unused",
        )
        return [official, *patient_protocols(rows, "superclass", SUPERCLASSES, labelled, prepare.seed)]


def _read_table(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise MissingDataError(f"{path} is missing; it comes with PTB-XL and holds its labels and folds")
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a table: {error}") from error
    if absent := [column for column in TABLE_COLUMNS if column not in table.columns]:
        raise UserError(f"{path}: column {absent[0]!r} is missing; is this PTB-XL's own table?")
    if (twice := table["ecg_id"].duplicated()).any():
        raise UserError(f"{path}: ecg_id {table['ecg_id'][twice].iloc[0]} is there twice")
    rows = table[list(TABLE_COLUMNS)]
    for column in ("ecg_id", "patient_id", "strat_fold", "age"):
        wrong = pd.to_numeric(rows[column], errors="coerce").isna()
        if column == "age":  # may be unknown
            wrong &= rows[column].notna()
        if wrong.any():
            line = int(wrong.to_numpy().argmax()) + 2
            raise UserError(f"{path}, line {line}: {column} is {rows[column][wrong].iloc[0]}, which is no number")
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _records_here(folder: Path) -> set[str]:
    """Return the records that have any file here, as paths without suffix."""
    files = (path for rate in ("records100", "records500") for path in (folder / rate).glob("*/*"))
    return {path.relative_to(folder).with_suffix("").as_posix() for path in files if path.suffix in SUFFIXES}


def _ref(folder: Path, row: Mapping[str, Any], fs_hz: float) -> RecordRef:
    name = row[FILE_COLUMN[fs_hz]]
    facts = {
        "age": min(float(row["age"]), OLDEST_AGE) if row["age"] == row["age"] else float("nan"),
        "sex": {0: "male", 1: "female"}.get(row["sex"], ""),
        "scp_codes": _statements(row, folder),
        "fold": int(row["strat_fold"]),
    }
    return RecordRef(f"ptbxl/{name}", f"ptbxl/{int(row['patient_id'])}", folder / name, SUFFIXES, facts)


def _statements(row: Mapping[str, Any], folder: Path) -> dict[str, float]:
    try:
        statements = ast.literal_eval(row["scp_codes"])
        return {str(code): float(likelihood) for code, likelihood in statements.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise UserError(
            f"{folder / TABLE}: ecg_id {row['ecg_id']}: scp_codes {row['scp_codes']!r} is no dict"
        ) from error


DATABASE = PtbXl()
