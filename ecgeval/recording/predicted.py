"""The folder that ``ecgtrain predict`` leaves of a recording; its files are described in docs/run-files.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecgeval.errors import RunFileError, RunNotFoundError, validation_faults

ABOUT, BEATS, REFERENCE, SIGNAL = "recording.json", "beats.parquet", "reference.parquet", "signal.npz"


class Gap(BaseModel):
    """A part of the recording that was not analysed."""

    model_config = ConfigDict(frozen=True)

    start_s: float = Field(ge=0)
    end_s: float
    reason: str = ""


class About(BaseModel):
    """What is known of a predicted recording."""

    model_config = ConfigDict(frozen=True)

    version: int = Field(alias="schema")
    record: str
    duration_s: float = Field(gt=0)
    fs_hz: float = Field(gt=0)
    leads: tuple[str, ...] = ()
    start_time: datetime | None = None
    classes: tuple[str, ...] = Field(min_length=1)
    scheme: str = ""
    run: str
    model: str
    protocol: str = ""
    leaks: tuple[str, ...] = ()
    synthetic: bool = False
    gaps: tuple[Gap, ...] = ()
    versions: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Beats:
    """Beats of a recording in the order of time.

    Parameters
    ----------
    t_s : ndarray of float64, shape (n,)
        Times of the R peaks from the recording's start.
    label : ndarray of int64, shape (n,)
        Position of each beat's class.
    p : ndarray of float64, shape (n,)
        Probability of that class; 1 for reference beats.
    classes : tuple of str
        Names.
    """

    t_s: NDArray[np.float64]
    label: NDArray[np.int64]
    p: NDArray[np.float64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.t_s)

    def is_class(self, name: str) -> NDArray[np.bool_]:
        """Return which beats are of a class; none where there is no such class."""
        return np.asarray(self.label == (self.classes.index(name) if name in self.classes else -1))


@dataclass(frozen=True)
class Recording:
    """A predicted recording.

    Parameters
    ----------
    path : Path
        Its folder.
    about : About
        What is known of it.
    beats : Beats
        What the model says.
    reference : Beats or None
        What an expert says, where there is such a file.
    signal_mv : ndarray of float32, shape (n_leads, n_samples), or None
        The signal at ``about.fs_hz``, where it was kept.
    """

    path: Path
    about: About
    beats: Beats
    reference: Beats | None
    signal_mv: NDArray[np.float32] | None


def read_recording(path: Path) -> Recording:
    """Read the folder of a predicted recording.

    Raises
    ------
    RunNotFoundError
        If it is not there.
    RunFileError
        If one of its files is damaged or breaks the contract.
    """
    if not (path / ABOUT).is_file():
        raise RunNotFoundError(f"{path}: no {ABOUT} in it, so it is no predicted recording; make one: ecgtrain predict")
    try:
        about = About.model_validate_json((path / ABOUT).read_bytes())
    except ValidationError as error:
        raise RunFileError(f"{path / ABOUT}: {validation_faults(error)}; predict the recording again") from error
    beats = _read_beats(path / BEATS, about, [f"p_{name}" for name in about.classes])
    reference = path / REFERENCE
    return Recording(
        path=path,
        about=about,
        beats=beats,
        reference=_read_beats(reference, about, ["label"]) if reference.is_file() else None,
        signal_mv=_read_signal(path / SIGNAL, about),
    )


def _read_beats(path: Path, about: About, columns: list[str]) -> Beats:
    try:
        table = pq.read_table(path, columns=["t_s", *columns])
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: damaged ({error}); predict the recording again") from error
    if missing := [name for name in ("t_s", *columns) if name not in table.column_names]:
        raise RunFileError(f"{path}: no column {', '.join(missing)}; predict the recording again")
    t_s = table["t_s"].to_numpy().astype(np.float64)
    if columns == ["label"]:
        names = table["label"].to_pylist()
        if unknown := sorted(set(names) - set(about.classes)):
            raise RunFileError(f"{path}: labels {', '.join(map(str, unknown))}; known are {', '.join(about.classes)}")
        label, p = np.array([about.classes.index(name) for name in names], dtype=np.int64), np.ones(len(names))
    else:
        probabilities = np.stack([table[name].to_numpy() for name in columns], axis=1).astype(np.float64)
        if not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise RunFileError(f"{path}: probabilities that are NaN or outside 0–1; predict the recording again")
        label, p = probabilities.argmax(axis=1), probabilities.max(axis=1)
    if not (np.diff(t_s) > 0).all() or (len(t_s) and not 0 <= t_s[0] <= t_s[-1] <= about.duration_s):
        raise RunFileError(f"{path}: beats are not in the order of time, or outside the recording")
    return Beats(t_s, label, p, about.classes)


def _read_signal(path: Path, about: About) -> NDArray[np.float32] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            signal = file["signal_mv"]
    except (ValueError, KeyError, OSError) as error:
        raise RunFileError(f"{path}: damaged ({error}); predict the recording again") from error
    if signal.ndim != 2 or len(signal) != len(about.leads):
        raise RunFileError(f"{path}: signal_mv has shape {signal.shape}, but there are {len(about.leads)} leads")
    return np.asarray(signal, dtype=np.float32)
