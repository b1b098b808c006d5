"""MIT-BIH Noise Stress Test Database: two records of MIT-BIH with noise at six ratios, and three records of noise.

The noise records ``bw``, ``em`` and ``ma`` give no rows: a build adds them to other recordings (``noise=ma@6``).

References
----------
.. [1] Moody, Muldrow, Mark, A noise stress test for arrhythmia detectors, Computers in Cardiology 11:381-384, 1984.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import ATR_SUFFIXES, AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, score_classes
from store.vocabulary import TEST

NOISY_RECORD = re.compile(r"(?P<source>118|119)e(?P<snr_db>24|18|12|06|00|_6)")
PERSON_OF_SOURCE = {"118": (69, "male"), "119": (51, "female")}  # as the headers of mitdb say


class NoiseStressTest(AnnotatedDatabase):
    """MIT-BIH Noise Stress Test Database 1.0.0."""

    name = "nstdb"
    folder = "nstdb"
    title = "MIT-BIH Noise Stress Test Database"
    licence = "ODC-By 1.0"
    citation = (
        "Moody GB, Muldrow WE, Mark RG. A noise stress test for arrhythmia detectors. Comput Cardiol 11:381-384, 1984."
    )
    url = "https://physionet.org/content/nstdb/1.0.0/"
    published_records = 12
    download_size = "31 MB"
    mean_record_bytes = 2_500_000
    optional_files = ("*.xws",)
    rates_hz = (360.0,)
    leads = ("MLII", "V1")
    default_leads = ("MLII",)
    all_leads = ("MLII", "V1")
    default_unit = "beat:centred186"

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the noisy recordings that are here; the patients are those of mitdb's records 118 and 119."""
        here = {path.stem for path in folder.iterdir() if path.suffix in ATR_SUFFIXES}
        sources = {name: match["source"] for name in here if (match := NOISY_RECORD.fullmatch(name))}
        refs = tuple(
            RecordRef(f"nstdb/{name}", f"mitdb/{sources[name]}", folder, ATR_SUFFIXES, {"name": name})
            for name in sorted(sources)
        )
        synthetic = is_synthetic(folder)
        return Found(refs, self.published_records, "(synthetic)" if synthetic else "1.0.0", synthetic)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex of the patient, whom the headers here do not describe."""
        age, sex = PERSON_OF_SOURCE[ref.patient.removeprefix("mitdb/")]
        return {"age": age, "sex": sex}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return every row as a test of what was trained elsewhere: there are two patients, too few to split."""
        scheme = self.schemes(prepare)[0]
        values = np.full(rows.n, TEST, np.int8)
        rule = "every row tests a model that was trained on other recordings"
        return [Protocol("noise-test", values, scheme, score_classes(rows.labels[scheme]), rule)]


DATABASE = NoiseStressTest()
