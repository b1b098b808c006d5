"""PTB Diagnostic ECG Database: 549 recordings of 290 subjects, twelve leads and Frank's three, with a diagnosis.

References
----------
.. [1] Bousseljot, Kreiseler, Schnabel, Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das Internet,
   Biomedizinische Technik 40, suppl. 1:S317, 1995.
.. [2] Kachuee, Fazeli, Sarrafzadeh, ECG heartbeat classification: a deep transferable representation, ICHI 2018:
   normal against infarction, on beats of lead II.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, patient_protocols, random_rows, strata
from ecgprep.wfdb_files import read_header_text
from store.plan import Values
from store.vocabulary import MI_CLASSES, STANDARD_LEADS

SUFFIXES = (".hea", ".dat", ".xyz")
PATIENT = re.compile(r"patient\d{3}")  # a copy of such a folder is no other patient
DIAGNOSIS = "Reason for admission"
CLASS_OF_DIAGNOSIS = {"healthy control": "normal", "myocardial infarction": "infarction"}


class PtbDb(Database):
    """PTB Diagnostic ECG Database 1.0.0."""

    name = "ptbdb"
    folder = "ptbdb"
    title = "PTB Diagnostic ECG Database"
    licence = "ODC-By 1.0"
    citation = (
        "Bousseljot R, Kreiseler D, Schnabel A. Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das Internet. "
        "Biomed Tech 40(s1):S317, 1995."
    )
    url = "https://physionet.org/content/ptbdb/1.0.0/"
    published_records = 549
    download_size = "1.7 GB"
    mean_record_bytes = 3_100_000
    rates_hz = (1000.0,)
    leads = (*STANDARD_LEADS, "Vx", "Vy", "Vz")
    default_leads = ("II",)
    all_leads = (*STANDARD_LEADS, "Vx", "Vy", "Vz")
    default_unit = "record"
    label_rules = ("admission",)

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here, with what their headers say of the patient."""
        here = {path.with_suffix("") for path in folder.glob("patient*/s*") if path.suffix in SUFFIXES}
        refs = [_ref(folder, path) for path in here if PATIENT.fullmatch(path.parent.name)]
        refs.sort(key=lambda ref: ref.record.encode())
        synthetic = is_synthetic(folder)
        return Found(tuple(refs), self.published_records, "(synthetic)" if synthetic else "1.0.0", synthetic)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the header's comments."""
        age, sex = ref.facts.get("age", ""), ref.facts.get("sex", "")
        return {"age": float(age) if age.isdigit() else float("nan"), "sex": sex if sex in ("male", "female") else ""}

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return ``mi``."""
        return ("mi",)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return normal or infarction by the reason for admission; every other diagnosis is unknown."""
        named = [CLASS_OF_DIAGNOSIS.get(fact.get(DIAGNOSIS, "").lower()) for fact in facts]
        values = np.array([MI_CLASSES.index(name) if name else -1 for name in named], dtype=np.int8)
        rule = f"{DIAGNOSIS}: {', '.join(f'{said} is {name}' for said, name in CLASS_OF_DIAGNOSIS.items())}"
        return {"mi": Values(values, {"classes": list(MI_CLASSES), "multilabel": False, "rule": rule})}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the draws by patient, and rows at random for comparison with papers."""
        row = str(prepare.unit).partition(":")[0]
        at_random = Protocol(
            name="intrapatient",
            values=random_rows(strata(rows.labels["mi"]), (0.16, 0.20), prepare.seed),
            scheme="mi",
            score_classes=MI_CLASSES,
            rule=f"{row}s drawn at random, class by class, 64/16/20 %, seed {prepare.seed}",
            unit=row,
            leaks=("patient", "neighbour"),
            leak_note=f"{row}s of one patient are on both sides",
        )
        usable = self.usable(rows, facts, prepare)
        return [*patient_protocols(rows, "mi", MI_CLASSES, usable, prepare.seed), at_random]


def _ref(folder: Path, path: Path) -> RecordRef:
    name = path.relative_to(folder).as_posix()
    return RecordRef(f"ptbdb/{name}", f"ptbdb/{path.parent.name}", folder, SUFFIXES, _comments(path))


def _comments(path: Path) -> dict[str, str]:
    """Return the header's comments of the form ``# key: value``; none where the header is missing."""
    header = path.with_name(f"{path.name}.hea")
    if not header.is_file():
        return {}
    lines = read_header_text(header).splitlines()
    pairs = (line.lstrip("# ").partition(":") for line in lines if line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


DATABASE = PtbDb()
