"""What a finished run says of recordings of one's own, in folders that ecgeval reads; see docs/run-files.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from ecgprep.recording import CSV, PreparedRecording, RowShape, find_recording, prepare_recording
from ecgtrain.environment import versions
from ecgtrain.predictions import read_predictions, write_table
from store.errors import RecordError, UserError
from store.files import write_whole
from store.vocabulary import SYNTHETIC_MARK

RECORDING_SCHEMA = 1


class Predictor(Protocol):
    """A finished run or ensemble."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its ``preprocessing.json`` says."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    def predict(
        self,
        signal_mv: ArrayLike,
        *,
        record_mv: tuple[ArrayLike, ArrayLike] | None = None,
        rr_s: tuple[ArrayLike, ArrayLike] | None = None,
        valid_n: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Return the probability of each class for the rows of one recording."""


@dataclass(frozen=True)
class FileFacts:
    """What a person says of the files of their recordings.

    Parameters
    ----------
    fs_hz : float or None
        Sampling rate of CSV files.
    unit : str or None
        Unit of CSV files; mV by default.
    annotator : str or None
        Suffix of the annotation files that mark the beats of WFDB records.
    """

    fs_hz: float | None = None
    unit: str | None = None
    annotator: str | None = None


@dataclass(frozen=True)
class Predicted:
    """A recording with the probability of each class for its rows, shape (n, n_classes)."""

    recording: PreparedRecording
    probability: NDArray[np.float32]
    synthetic: bool


def predict_recording(run: Predictor, path: Path, file_facts: FileFacts | None = None) -> Predicted:
    """Return what a run says of a recording.

    Parameters
    ----------
    run : Predictor
        The run or ensemble.
    path : Path
        The recording: WFDB, EDF or CSV.
    file_facts : FileFacts, optional
        What the file does not say.

    Raises
    ------
    UserError
        If the recording is not there or of an unknown format, or the run does not say how its rows were prepared.
    RecordError
        If the recording cannot be used.
    """
    facts = run.facts
    if facts.get("recipe") is None:
        raise UserError("this run does not hold the recipe of its store; train it again on a store that ecgprep built")
    shape = RowShape(facts["row"]["leads"], facts["row"]["n_samples"], facts["padded"])
    recording = prepare_recording(path, facts["recipe"], shape, **vars(file_facts or FileFacts()))
    probability = run.predict(
        recording.rows_mv, record_mv=recording.moments_mv, rr_s=recording.rr_s, valid_n=recording.valid_n
    )
    return Predicted(recording, probability, synthetic=(path.parent / SYNTHETIC_MARK).exists())


def predict_all(
    run: Predictor, run_folder: Path, paths: Sequence[Path], folder: Path, file_facts: FileFacts | None = None
) -> Iterator[Path | str]:
    """Predict recordings one after the other; yield the folder of each, or a line on why it has none.

    Where some are CSV files, rate and unit are theirs alone.

    Raises
    ------
    UserError
        If two recordings have one name, an option does not fit a file, or a file is not there.
    """
    files = [find_recording(path) for path in paths]
    names = [file.stem for file in files]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"two recordings are called {min(repeated)!r}, and so would be their folders; name one at once")
    facts = file_facts or FileFacts()
    are_csv = [file.suffix.lower() in CSV for file in files]
    of_others = replace(facts, fs_hz=None, unit=None) if any(are_csv) else facts
    for path, is_csv in zip(paths, are_csv, strict=True):
        try:
            predicted = predict_recording(run, path, facts if is_csv else of_others)
        except RecordError as error:
            yield f"{path}: {error.stage}: {error.reason}"
        else:
            yield write_predicted(predicted, run_folder, run.facts["row"]["leads"], folder)


def write_predicted(predicted: Predicted, run_folder: Path, leads: Sequence[str], folder: Path) -> Path:
    """Write a predicted recording as ``ecgeval recording`` reads it, and return its folder.

    Parameters
    ----------
    predicted : Predicted
        The recording.
    run_folder : Path
        Of the run that predicted it; its predictions say what the classes are.
    leads : sequence of str
        The leads of the recording's signal.
    folder : Path
        Where the recording's own folder is made.
    """
    _, footer = read_predictions(run_folder / "predictions" / "test.parquet")
    recording, place = predicted.recording, folder / predicted.recording.name
    place.mkdir(parents=True, exist_ok=True)
    kept = {f"p_{name}": predicted.probability[:, c] for c, name in enumerate(footer["classes"])}
    labels = _labels(predicted.probability, footer, run_folder)
    write_table(place / "beats.parquet", pa.table({"t_s": recording.t_s, "label": labels, **kept}))
    reference = recording.labels(footer["scheme"])
    (place / "reference.parquet").unlink(missing_ok=True)
    if reference is not None:
        write_table(place / "reference.parquet", pa.table({"t_s": recording.t_s, "label": reference}))
    aside = place / ".signal.npz"
    np.savez_compressed(aside, signal_mv=recording.signal_mv)
    aside.replace(place / "signal.npz")
    write_whole(place / "recording.json", json.dumps(_about(predicted, leads, footer), indent=2) + "\n")
    return place


def _about(predicted: Predicted, leads: Sequence[str], footer: Mapping[str, Any]) -> dict[str, Any]:
    recording = predicted.recording
    return {
        "schema": RECORDING_SCHEMA,
        "record": recording.name,
        "duration_s": recording.signal_mv.shape[1] / recording.fs_hz,
        "fs_hz": recording.fs_hz,
        "leads": list(leads),
        "start_time": recording.start_time,
        **{name: footer[name] for name in ("classes", "scheme", "run", "model", "protocol", "leaks")},
        "synthetic": predicted.synthetic or footer["store"]["synthetic"],
        "versions": versions(),
        "gaps": [],
    }


def _labels(probability: NDArray[np.float32], footer: Mapping[str, Any], run_folder: Path) -> list[str]:
    """Return the most probable class of each row, or all above their thresholds, joined by ``+``."""
    classes = footer["classes"]
    if footer["task"] == "single":
        return [classes[best] for best in probability.argmax(axis=1).tolist()]
    thresholds = json.loads((run_folder / "calibration.json").read_text(encoding="utf-8"))["thresholds"]
    above = probability >= np.array([thresholds[name] for name in classes])
    return ["+".join(name for name, has in zip(classes, row, strict=True) if has) for row in above.tolist()]
