"""Synthetic recordings in the file layout of the PhysioNet/CinC Challenge 2017: one lead, 9 to 61 s, MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgprep.synth.files import COMMENT, database_folder
from ecgprep.synth.heart import (
    NORMAL,
    Floats,
    disturbance,
    heart_vector,
    leads_of,
    patient_variant,
    ventricular,
    without_p,
)
from ecgprep.synth.twelve_leads import draw_r_peaks
from store.errors import UserError

FOLDER = "challenge-2017"
FS = 300
GAIN = 1000.0
SHORTEST_S, LONGEST_S, USUAL_S = 9.3, 60.9, 30.0
USUAL_SHARE = 0.7
CLASSES = ("N", "O", "N", "A", "N", "O", "N", "N", "~", "A")
PREMATURE = 0.65  # of the usual RR interval
NOISE_MV = 0.8
MAT_HEADER_BYTES = 24  # of a MATLAB 4 file with one variable of a three-letter name


def write_cinc2017(folder: Path, *, n_records: int = 60, seed: int = 0) -> Path:
    """Write synthetic recordings in the layout of the PhysioNet/CinC Challenge 2017.

    Parameters
    ----------
    folder : Path
        The folder that holds databases; ``challenge-2017/`` is made in it.
    n_records : int, optional
        How many; of ten, five are normal, two have atrial fibrillation, two extrasystoles, one is noisy.
    seed : int, optional
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If there is no record, or the folder holds recordings that are not synthetic.
    """
    if not 1 <= n_records <= 99_999:
        raise UserError(f"{n_records} records: ask for 1 to 99999")
    origin = f"ecgprep synth, in the layout of challenge-2017: {n_records} records, seed {seed}"
    with database_folder(folder, FOLDER, origin) as database:
        lines = []
        for number in range(1, n_records + 1):
            name, label = f"A{number:05d}", CLASSES[(number - 1) % len(CLASSES)]
            place = database / "training" / f"A{number // 1000:02d}"
            place.mkdir(parents=True, exist_ok=True)
            _write_record(place, name, _draw_signal(label, np.random.default_rng([seed, 5, number])))
            lines.append(f"{name},{label}\n")
        (database / "REFERENCE-v3.csv").write_text("".join(lines), encoding="utf-8")
    return folder / FOLDER


def _draw_signal(label: str, rng: np.random.Generator) -> NDArray[np.int16]:
    usual = rng.random() < USUAL_SHARE
    n_samples = round(FS * (USUAL_S if usual else rng.uniform(SHORTEST_S, LONGEST_S)))
    normal = patient_variant(NORMAL, rng)
    fibrillates = label == "A"
    r_s = draw_r_peaks(60.0 / rng.uniform(55.0, 100.0), n_samples / FS, fibrillates, rng)
    beats = [without_p(normal) if fibrillates else normal] * len(r_s)
    if label == "O":
        extra = range(2, len(r_s), 4)
        r_s = _premature(r_s, extra)
        for beat in extra:
            beats[beat] = ventricular((-0.7, -1.2, -1.1))
    vector = heart_vector(beats, r_s, FS, n_samples, rng)
    signal_mv = leads_of(vector, ["I"]) + disturbance(1, n_samples, FS, rng)
    if label == "~":
        signal_mv += NOISE_MV * rng.standard_normal((1, n_samples))
    return np.clip(np.rint(GAIN * signal_mv), -32767, 32767).astype(np.int16)


def _premature(r_s: Floats, beats: range) -> Floats:
    """Return the times with some beats early; the beat after keeps its time."""
    early = r_s.copy()
    for beat in beats:
        early[beat] = r_s[beat - 1] + PREMATURE * (r_s[beat] - r_s[beat - 1])
    return early


def _write_record(place: Path, name: str, digital: NDArray[np.int16]) -> None:
    """Write a MATLAB 4 file and the header that lets WFDB read it; as in the challenge, its checksum is 0."""
    from scipy.io import savemat

    savemat(place / f"{name}.mat", {"val": digital}, format="4")
    header = (
        f"{name} 1 {FS} {digital.shape[1]} 05:05:15 1/05/2000 \r\n"
        f"{name}.mat 16+{MAT_HEADER_BYTES} {GAIN:g}/mV 16 0 {digital[0, 0]} 0 0 ECG \r\n# {COMMENT}\r\n"
    )
    (place / f"{name}.hea").write_bytes(header.encode())
