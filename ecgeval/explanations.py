"""What a run says it looked at: signals with attributions, as ``ecgtrain explain`` leaves them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgeval.errors import RunFileError
from ecgeval.figures.paper import Strip

KINDS = {"right": "most confident right", "wrong": "most confident wrong", "borderline": "borderline"}
NEEDED = ("row", "signal_mv", "attribution", "leads", "fs_hz", "explained", "kind", "label", "probability")


@dataclass(frozen=True)
class Explanations:
    """Rows explained by one method.

    Parameters
    ----------
    method : str
        Such as ``integrated_gradients``; the file's name.
    row : ndarray of int64, shape (n,)
        Rows of the store.
    signal_mv, attribution : ndarray of float32, shape (n, n_leads, n_samples)
        Voltage, NaN where a row is shorter, and how much each sample mattered.
    leads : list of str
        Their names.
    fs_hz : float
        Samples a second.
    explained, kind, label : list of str
        The class whose probability is explained, why the row was chosen, and its labels in words.
    probability : ndarray of float64, shape (n,)
        That the model gives to the class explained.
    """

    method: str
    row: NDArray[np.int64]
    signal_mv: NDArray[np.float32]
    attribution: NDArray[np.float32]
    leads: list[str]
    fs_hz: float
    explained: list[str]
    kind: list[str]
    label: list[str]
    probability: NDArray[np.float64]

    def strips(self, explained: str) -> list[Strip]:
        """Return the rows in which a class is explained, ready to draw."""
        chosen = [i for i, name in enumerate(self.explained) if name == explained]
        order = sorted(chosen, key=lambda i: (list(KINDS).index(self.kind[i]), -self.probability[i]))
        return [
            Strip(
                self.signal_mv[i],
                self.fs_hz,
                self.leads,
                f"{KINDS[self.kind[i]]}\nlabel {self.label[i]}, p({explained}) {self.probability[i]:.3f}",
                self.attribution[i],
            )
            for i in order
        ]


def read_explanations(path: Path) -> Explanations:
    """Read one of the files ``explain/<method>.npz`` of a run; they are described in docs/run-files.md.

    Raises
    ------
    RunFileError
        If it is damaged, lacks an array, or the arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise RunFileError(f"{path}: damaged ({error}); write it again with `ecgtrain explain`") from error
    if missing := [name for name in NEEDED if name not in arrays]:
        raise RunFileError(f"{path}: no array {', '.join(missing)}; write it again with `ecgtrain explain`")
    _check(arrays, path)
    return Explanations(
        method=path.stem,
        row=arrays["row"],
        signal_mv=arrays["signal_mv"],
        attribution=arrays["attribution"],
        leads=arrays["leads"].tolist(),
        fs_hz=float(arrays["fs_hz"]),
        explained=arrays["explained"].tolist(),
        kind=arrays["kind"].tolist(),
        label=arrays["label"].tolist(),
        probability=arrays["probability"].astype(np.float64),
    )


def _check(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    n = len(arrays["row"])
    faults = [name for name in ("explained", "kind", "label", "probability") if len(arrays[name]) != n]
    faults += [name for name in ("attribution", "signal_mv") if arrays[name].shape != arrays["signal_mv"].shape]
    if arrays["signal_mv"].ndim != 3 or arrays["signal_mv"].shape[:2] != (n, len(arrays["leads"])):
        faults.append("signal_mv")
    if unknown := set(arrays["kind"].tolist()) - set(KINDS):
        raise RunFileError(f"{path}: kind is {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")
    if faults or not float(arrays["fs_hz"]) > 0:
        raise RunFileError(f"{path}: {', '.join(faults) or 'fs_hz'} does not fit the other arrays")
