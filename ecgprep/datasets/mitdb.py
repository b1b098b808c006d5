"""MIT-BIH Arrhythmia Database: 48 half-hour two-lead recordings of 47 subjects with annotated beats.

References
----------
.. [1] Moody, Mark, The impact of the MIT-BIH Arrhythmia Database, IEEE Eng. Med. Biol. 20(3):45-50, 2001.
.. [2] de Chazal, O'Dwyer, Reilly, Automatic classification of heartbeats using ECG morphology and heartbeat interval
   features, IEEE Trans. Biomed. Eng. 51(7):1196-1206, 2004: the records of DS1 and DS2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import ATR_SUFFIXES, AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, random_rows, score_classes, strata
from store.vocabulary import TEST, TRAIN, UNUSED, VALIDATION

DS1 = "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230"
DS2 = "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234"
DS1_VALIDATION = "114 118 205 207 223"  # holds N, S, V and F; 208, with 373 of DS1's 415 F beats, trains
PACED = "102 104 107 217"
SAME_SUBJECT = {"202": "201"}  # the header of 202: cut from the same analogue tape as 201


class MitBih(AnnotatedDatabase):
    """MIT-BIH Arrhythmia Database 1.0.0."""

    name = "mitdb"
    folder = "mitdb"
    title = "MIT-BIH Arrhythmia Database"
    licence = "ODC-By 1.0"
    citation = "Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng Med Biol 20(3):45-50, 2001."
    url = "https://physionet.org/content/mitdb/1.0.0/"
    published_records = 48
    download_size = "98 MB"
    mean_record_bytes = 1_960_000
    optional_files = ("102-0.atr", "*.xws", "*.at_", "*.at-", "mitdbdir/*", "x_mitdb/*")
    rates_hz = (360.0,)
    leads = ("MLII", "V1", "V2", "V4", "V5")
    default_leads = ("MLII",)
    substitutes: ClassVar[Mapping[str, str]] = {"MLII": "V5"}  # 102 and 104 have no MLII
    default_unit = "beat:centred186"

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here."""
        records = f"{DS1} {DS2} {PACED}".split()
        names = sorted({path.stem for path in folder.iterdir() if path.suffix in ATR_SUFFIXES and path.stem in records})
        refs = tuple(self._ref(folder, name) for name in names)
        synthetic = is_synthetic(folder)
        return Found(refs, self.published_records, "(synthetic)" if synthetic else "1.0.0", synthetic)

    def _ref(self, folder: Path, name: str) -> RecordRef:
        patient = f"{self.name}/{SAME_SUBJECT.get(name, name)}"
        return RecordRef(f"{self.name}/{name}", patient, folder, ATR_SUFFIXES, {"name": name})

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the header's first comment, such as ``69 M 1085 1629 x1``."""
        age, sex, *_ = [*" ".join(record.comments[:1]).split(), "", ""]
        years = float(age) if age.isdigit() else float("nan")
        return {"age": years, "sex": {"M": "male", "F": "female"}.get(sex, "")}

    def usable(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> NDArray[np.bool_]:
        """Return the labelled rows of records that are not paced and have the lead itself."""
        name = np.array([fact["name"] for fact in facts])
        own_lead = ~rows.columns["lead_substituted"].astype(bool)
        paced = np.isin(name, PACED.split())
        return np.asarray(super().usable(rows, facts, prepare) & own_lead & ~paced)

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return DS1/DS2 in both forms, random beats, and the draws by patient without the paced records."""
        scheme = self.schemes(prepare)[0]
        scored = score_classes(rows.labels[scheme])
        name = np.array([fact["name"] for fact in facts])
        own_lead = ~rows.columns["lead_substituted"].astype(bool)
        classic = np.where(
            np.isin(name, DS1_VALIDATION.split()), VALIDATION, np.where(np.isin(name, DS1.split()), TRAIN, UNUSED)
        )
        classic = np.where(np.isin(name, DS2.split()), TEST, classic)
        classic = np.where(own_lead, classic, UNUSED)
        rule = f"train and validate on DS1 (validation: records {DS1_VALIDATION}), test on DS2; paced records unused"
        both = {"201", "202"} <= set(name)
        row = str(prepare.unit).partition(":")[0]
        protocols = [
            Protocol(
                name="interpatient",
                values=classic.astype(np.int8),
                scheme=scheme,
                score_classes=scored,
                rule=rule,
                unit="record",
                leaks=("patient",) if both else (),
                leak_note="records 201 (training) and 202 (test) are one subject; interpatient-strict leaves 201 out"
                if both
                else "",
            ),
            Protocol(
                name="interpatient-strict",
                values=np.where(name == "201", UNUSED, classic).astype(np.int8),
                scheme=scheme,
                score_classes=scored,
                rule=f"{rule}; 201, the same subject as 202, unused",
            ),
            Protocol(
                name="intrapatient",
                values=random_rows(strata(rows.labels[scheme]), (0.16, 0.20), prepare.seed),
                scheme=scheme,
                score_classes=rows.labels[scheme].attributes["classes"],
                rule=f"{row}s drawn at random, class by class, 64/16/20 %, seed {prepare.seed}",
                unit=row,
                leaks=("patient", "neighbour"),
                leak_note=f"{row}s of one patient, and neighbouring {row}s, are on both sides",
            ),
        ]
        return protocols + super().protocols(rows, facts, prepare)


DATABASE = MitBih()
