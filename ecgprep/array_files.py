"""Reading the beats and records that other projects keep as plain arrays; nothing is ever unpickled.

Four layouts, told apart by the names of their files (docs/arrays.md):

- ``*.csv``: the public beat tables, 187 samples and a label a line [1];
- ``X_*.npy`` with ``y_*.npy`` beside it: signals and labels;
- ``*.pt``: a dict of the tensors ``samples`` and ``labels``, as ECGTransForm keeps them [2];
- ``<part>/signals/*.npy`` with ``<part>/labels/*.npy``: batches of signals and multi-hot labels.

References
----------
.. [1] Kachuee, Fazeli, Sarrafzadeh, ECG heartbeat classification: a deep transferable representation, ICHI 2018.
.. [2] El-Ghaish, Eldele, ECGTransForm, Biomedical Signal Processing and Control 89:105714, 2024.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
from numpy.typing import NDArray

from ecgprep.folders import files_below
from store.errors import RecordError

CSV_COLUMNS = 188
MOST_CLASSES = 1000
PART_OF_WORD = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation"} | {
    "test": "test"
}


def find_array_files(folder: Path) -> list[Path]:
    """Return the files that hold signals, in byte order of their paths.

    Parameters
    ----------
    folder : Path
        Searched with all folders below it.
    """
    found = [path for path in files_below(folder) if path.suffix in (".csv", ".npy", ".pt") and _holds_signals(path)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix().encode())


def _holds_signals(path: Path) -> bool:
    if path.name.startswith("."):  # other systems leave hidden files beside those of a disk
        return False
    return path.suffix != ".npy" or path.name.startswith("X_") or path.parent.name == "signals"


def label_file(path: Path) -> Path:
    """Return the file that holds the labels of a file of signals; for tables and tensors itself."""
    if path.suffix != ".npy":
        return path
    if path.parent.name == "signals":
        return path.parent.with_name("labels") / path.name
    return path.with_name(f"y_{path.name.removeprefix('X_')}")


def named_part(path: Path, folder: Path) -> str:
    """Return ``train``, ``validation`` or ``test`` as a file's path below `folder` says, or nothing."""
    words = re.split(r"[^a-z]+", path.relative_to(folder).as_posix().lower())
    return next((PART_OF_WORD[word] for word in words if word in PART_OF_WORD), "")


def read_signals(path: Path) -> NDArray[np.float64]:
    """Return the rows of a file, shape (n_rows, n_leads, n_samples).

    Of the last two axes of a file the longer one is time.

    Raises
    ------
    RecordError
        If the file cannot be read, or holds no rows of signals.
    """
    rows = _read(path)["samples"]
    if rows.ndim == 2:
        rows = rows[:, None, :]
    if rows.ndim != 3 or rows.size == 0 or rows.dtype.kind not in "fiu":
        raise RecordError("read", f"{path.name} holds {rows.dtype} of shape {rows.shape}, not rows of signals")
    time_last = rows if rows.shape[2] >= rows.shape[1] else rows.transpose(0, 2, 1)
    return np.ascontiguousarray(time_last, dtype=np.float64)


def read_labels(path: Path) -> NDArray[np.int64]:
    """Return the labels of a file's rows: class numbers (n_rows,), or zeros and ones (n_rows, n_classes).

    Raises
    ------
    RecordError
        If they cannot be read, or are no whole numbers from 0.
    """
    source = label_file(path)
    labels = _read(source)["labels" if source == path else "samples"]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "fiub":
        raise RecordError("label", f"{source.name} holds {labels.dtype} of shape {labels.shape}, not class numbers")
    number = labels.astype(np.float64)
    wrong = ~((number >= 0) & (number <= MOST_CLASSES) & (number == np.rint(number)))
    if wrong.any():
        raise RecordError("label", f"{source.name} holds a label {number[wrong][0]:g}, which is no class number")
    return labels.astype(np.int64)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a file by what they mean; a .npy file has ``samples`` alone."""
    try:
        stat = path.stat()
        return _read_once(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError as error:
        raise RecordError("read", f"{path.parent.name}/{path.name} is missing") from error
    except RecordError:
        raise
    except Exception as error:  # each library raises whatever a damaged file trips
        why = " ".join(str(error).split()).replace(f"{path.parent}/", "")[:200]  # a store names no folder
        raise RecordError("read", f"{path.name} cannot be read: {type(error).__name__}: {why}") from error


@lru_cache(maxsize=2)  # signals and labels of a file are asked for one after the other, the rows of tasks too
def _read_once(path: Path, mtime_ns: int, n_bytes: int) -> dict[str, NDArray[np.generic]]:
    readers = {".csv": _read_csv, ".npy": _read_npy, ".pt": _read_pt}
    return readers[path.suffix](path)


def _read_csv(path: Path) -> dict[str, NDArray[np.generic]]:
    import pandas as pd

    with path.open(encoding="utf-8-sig") as file:
        header = 0 if _names_columns(file.readline()) else None
    table = pd.read_csv(path, header=header, dtype=np.float32).to_numpy()
    if table.shape[1] != CSV_COLUMNS:
        raise RecordError("read", f"{path.name} has {table.shape[1]} columns, not 187 samples and a label")
    return {"samples": table[:, :-1], "labels": table[:, -1]}


def _names_columns(line: str) -> bool:
    """Tell whether the first line of a table numbers the columns from 0, or has a word for that of the labels."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    try:
        float(cells[-1] or 0)
    except ValueError:
        return True
    return cells == [str(i) for i in range(len(cells))]


def _read_npy(path: Path) -> dict[str, NDArray[np.generic]]:
    return {"samples": np.load(path, allow_pickle=False)}


def _read_pt(path: Path) -> dict[str, NDArray[np.generic]]:
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # whose message tells how to unpickle it all the same
        raise RecordError(
            "read", f"{path.name} cannot be read: it holds more than tensors, and nothing is unpickled"
        ) from error
    tensors = {name: held.get(name) for name in ("samples", "labels")} if isinstance(held, dict) else {}
    plain = {name: one.detach().numpy() for name, one in tensors.items() if isinstance(one, torch.Tensor)}
    if len(plain) < 2:
        raise RecordError("read", f"{path.name} is no dict of the tensors samples and labels")
    return plain
