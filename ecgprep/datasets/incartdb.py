"""St Petersburg INCART 12-lead Arrhythmia Database: 75 half-hour recordings of 32 patients with annotated beats.

References
----------
.. [1] Tihonenko, Khaustov, Ivanov, Rivin, Yakushenko, St Petersburg INCART 12-lead Arrhythmia Database, PhysioBank,
   PhysioToolkit and PhysioNet, 2008.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import ATR_SUFFIXES, AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic, person_in
from ecgprep.records import Record
from ecgprep.wfdb_files import read_header_text
from store.errors import RecordError
from store.vocabulary import STANDARD_LEADS

RECORD_NAME = re.compile(r"I\d\d")
PATIENT = re.compile(r"^#.*\bpatient\D{0,3}(\d+)", re.IGNORECASE | re.MULTILINE)


class Incart(AnnotatedDatabase):
    """St Petersburg INCART 12-lead Arrhythmia Database 1.0.0."""

    name = "incartdb"
    folder = "incartdb"
    title = "St Petersburg INCART 12-lead Arrhythmia Database"
    licence = "ODC-By 1.0"
    citation = (
        "Tihonenko V, Khaustov A, Ivanov S, Rivin A, Yakushenko E. St Petersburg INCART 12-lead Arrhythmia Database. "
        "PhysioNet, 2008. doi:10.13026/C2V88N"
    )
    url = "https://physionet.org/content/incartdb/1.0.0/"
    published_records = 75
    download_size = "0.8 GB"
    mean_record_bytes = 11_110_000
    rates_hz = (257.0,)
    leads = STANDARD_LEADS
    default_leads = ("II",)  # the first lead of the files is I
    all_leads = STANDARD_LEADS
    default_unit = "beat:centred186"

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here; the patient is in a comment of the header."""
        paths = {path.stem for path in folder.iterdir() if path.suffix in ATR_SUFFIXES}
        names = sorted(name for name in paths if RECORD_NAME.fullmatch(name))
        refs = tuple(self._ref(folder, name) for name in names)
        synthetic = is_synthetic(folder)
        return Found(refs, self.published_records, "(synthetic)" if synthetic else "1.0.0", synthetic)

    def _ref(self, folder: Path, name: str) -> RecordRef:
        header = folder / f"{name}.hea"
        text = read_header_text(header) if header.is_file() else ""
        number = PATIENT.search(text)
        patient = f"{int(number[1]):02d}" if number else "unknown"
        return RecordRef(f"{self.name}/{name}", f"{self.name}/{patient}", folder, ATR_SUFFIXES)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the header's comments.

        Raises
        ------
        RecordError
            If they name no patient: records of one patient could come on two sides of a split.
        """
        if ref.patient.endswith("/unknown"):
            raise RecordError("read", "the header's comments name no patient")
        return person_in("\n".join(record.comments))


DATABASE = Incart()
