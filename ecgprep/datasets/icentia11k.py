"""Icentia11k: single-lead recordings of 11,000 patients in segments of 70 minutes, with beats and rhythms marked.

References
----------
.. [1] Tan et al., Icentia11k: an unsupervised representation learning dataset for arrhythmia subtype discovery,
   Computing in Cardiology, 2021.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import ATR_SUFFIXES, AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic
from ecgprep.records import Record
from store.errors import UserError
from store.patients import choose_patients

N_PATIENTS = 11_000
SEGMENT = re.compile(r"p(\d\d)/p(\1\d{3})/p\2_s\d\d")
LAYOUT = "p00/p00000/p00000_s00"
FRAME_S = 16.384  # 4096 samples


class Icentia11k(AnnotatedDatabase):
    """Icentia11k 1.0; a row is a frame of 4096 samples. Non-commercial: so is what is trained on it."""

    name = "icentia11k"
    folder = "icentia11k-continuous-ecg"
    title = "Icentia11k Single Lead Continuous Raw Electrocardiogram Dataset"
    licence = "CC BY-NC-SA 4.0 (non-commercial)"
    citation = (
        "Tan S, et al. Icentia11k: an unsupervised representation learning dataset for arrhythmia subtype discovery. "
        "Computing in Cardiology, 2021. doi:10.13026/kk0v-r952"
    )
    url = "https://physionet.org/content/icentia11k-continuous-ecg/1.0/"
    published_records = 541_794
    download_size = "1.1 TB; by --patients 1% about 11 GB"
    mean_record_bytes = 2_110_000
    patients_by_path = True
    rates_hz = (250.0,)
    leads = ("ECG",)
    default_leads = ("ECG",)
    all_leads = ("ECG",)
    default_unit = f"window:{FRAME_S}"

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the segments that are here."""
        files = (file for file in folder.glob("p??/p?????/*") if file.suffix in ATR_SUFFIXES)
        shown = (file for file in files if not file.name.startswith("."))  # other systems leave hidden ones beside them
        names = {file.relative_to(folder).with_suffix("").as_posix() for file in shown}
        segments = sorted(filter(_is_segment, names))
        refs = tuple(self._ref(folder, name) for name in segments)
        synthetic = is_synthetic(folder)
        version, note = "(synthetic)" if synthetic else "1.0", _unknown_note(names.difference(segments))
        return Found(refs, self.published_records, version, synthetic, note)

    def _ref(self, folder: Path, name: str) -> RecordRef:
        patient = name.split("/")[1].removeprefix("p")
        return RecordRef(f"{self.name}/{name}", f"{self.name}/{patient}", folder, ATR_SUFFIXES)

    def patients(self, records: Sequence[RecordRef]) -> Sequence[str]:
        """Return all 11,000, whoever is here, so that a share is the same one everywhere."""
        return [f"{self.name}/{number:05d}" for number in range(N_PATIENTS)]

    def how_to_get(self, options: str = "") -> str:
        """Return what a folder has to look like, and where the recordings come from."""
        how = super().how_to_get(options)
        return f"Its segments are {LAYOUT}.hea, .dat and .atr and so on, no .pkl.gz or .npz. {how}"

    def wants(self, path: str, prepare: Prepare) -> bool:
        """Leave out the segments of patients who are not asked for."""
        segment = SEGMENT.match(path)
        return segment is None or prepare.patients is None or int(segment[2]) in _chosen(prepare.patients)

    def expected_records(self, prepare: Prepare) -> int:
        """Return how many segments are at least published of the patients who are asked for: one each."""
        return self.published_records if prepare.patients is None else len(_chosen(prepare.patients))

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return nothing but that age and sex are unknown."""
        return {"age": float("nan"), "sex": ""}


def _is_segment(name: str) -> bool:
    segment = SEGMENT.fullmatch(name)
    return segment is not None and int(segment[2]) < N_PATIENTS


def _unknown_note(names: Collection[str]) -> str:
    """Return which records here are no segments of the database; "" if none."""
    if not names:
        return ""
    last = f"p{N_PATIENTS - 1:05d}"
    return f"left alone are {len(names)} records of other names than {LAYOUT} up to {last}, such as {min(names)!r}"


@lru_cache(maxsize=4)
def _chosen(which: str) -> frozenset[int]:
    if not len(chosen := choose_patients(which, N_PATIENTS)):
        raise UserError(f"--patients {which}: Icentia11k has patients 0 to {N_PATIENTS - 1}")
    return frozenset(chosen.tolist())


DATABASE = Icentia11k()
