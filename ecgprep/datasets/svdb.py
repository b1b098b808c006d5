"""MIT-BIH Supraventricular Arrhythmia Database: 78 half-hour two-lead recordings with annotated beats.

The headers name both leads ``ECG``, and nothing says where they lay. They are called ``ECG1`` and ``ECG2`` here, by
their place in the file. Beside databases with named leads ECG1 stands in for lead II, and is flagged.

References
----------
.. [1] Greenwald, Patil, Mark, Improved detection and classification of arrhythmias in noise-corrupted
   electrocardiograms using contextual information, Computers in Cardiology, 1990.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import ATR_SUFFIXES, AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic
from ecgprep.records import Record

RECORD_NAME = re.compile(r"8\d\d")


class Supraventricular(AnnotatedDatabase):
    """MIT-BIH Supraventricular Arrhythmia Database 1.0.0; each record is of another patient."""

    name = "svdb"
    folder = "svdb"
    title = "MIT-BIH Supraventricular Arrhythmia Database"
    licence = "ODC-By 1.0"
    citation = (
        "Greenwald SD, Patil RS, Mark RG. Improved detection and classification of arrhythmias in noise-corrupted "
        "electrocardiograms using contextual information. Computers in Cardiology, 1990."
    )
    url = "https://physionet.org/content/svdb/1.0.0/"
    published_records = 78
    download_size = "75 MB"
    optional_files = ("*.xws", "*.at_")
    mean_record_bytes = 700_000
    rates_hz = (128.0,)
    leads = ("ECG1", "ECG2")
    default_leads = ("ECG1",)
    all_leads = ("ECG1", "ECG2")
    substitutes: ClassVar[Mapping[str, str]] = {"II": "ECG1"}
    default_unit = "beat:centred186"

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the records that are here."""
        paths = {path.stem for path in folder.iterdir() if path.suffix in ATR_SUFFIXES}
        names = sorted(name for name in paths if RECORD_NAME.fullmatch(name))
        refs = tuple(RecordRef(f"{self.name}/{name}", f"{self.name}/{name}", folder, ATR_SUFFIXES) for name in names)
        synthetic = is_synthetic(folder)
        return Found(refs, self.published_records, "(synthetic)" if synthetic else "1.0.0", synthetic)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return nothing but that age and sex are unknown."""
        return {"age": float("nan"), "sex": ""}


DATABASE = Supraventricular()
