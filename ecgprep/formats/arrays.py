"""NumPy batches, NumPy pairs and torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ecgprep.export import Batch, Part
from store.schema import SCALE_MV

TENSOR_NAMES = {"train": "train.pt", "validation": "val.pt", "test": "test.pt"}


def to_mv(counts: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return counts in mV."""
    return counts.astype(np.float32) * np.float32(SCALE_MV)


def write_npy(folder: Path, part: Part, advance: Callable[[int], None]) -> None:
    """Write ``<part>/signals``, ``<part>/labels`` and ``<part>/images/<name>``, a file a batch.

    Signals are (n, n_samples, n_leads) float32 in mV, labels (n, n_classes) zeros and ones, images
    (n, n_leads, height, width) float32, from 0 to 1 where the picture's values are bounded.
    """
    for number, batch in enumerate(part.batches()):
        pictures = {f"images/{name}": _spread(part, name, planes) for name, planes in part.draw(batch).items()}
        arrays = {"signals": to_mv(batch.counts).transpose(0, 2, 1), "labels": batch.labels, **pictures}
        for name, array in arrays.items():
            place = folder / part.name / name / f"batch_{number:05d}.npy"
            place.parent.mkdir(parents=True, exist_ok=True)
            np.save(place, np.ascontiguousarray(array))
        advance(len(batch.rows))


def _spread(part: Part, name: str, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    rep = next(rep for rep in part.pictures if rep.name == name)
    if rep.value_range is None:
        return planes
    low, high = rep.value_range
    return ((planes - low) / (high - low)).astype(np.float32)


def write_pairs(folder: Path, part: Part, advance: Callable[[int], None]) -> None:
    """Write ``X_<part>.npy`` in mV and ``y_<part>.npy``.

    Signals of one lead are (n, n_samples), of several (n, n_leads, n_samples). Labels are class numbers (n,), or
    zeros and ones (n, n_classes) where a row has several.
    """
    _fill(folder / f"X_{part.name}.npy", folder / f"y_{part.name}.npy", part, advance, drop_lead=True)


def write_tensors(folder: Path, part: Part, advance: Callable[[int], None]) -> None:
    """Write ``train.pt``, ``val.pt`` and ``test.pt``: dicts of ``samples`` (n, n_leads, n_samples) and ``labels``."""
    import torch

    signals, labels = folder / f".{part.name}-samples.npy", folder / f".{part.name}-labels.npy"
    _fill(signals, labels, part, advance, drop_lead=False)
    arrays: dict[str, Any] = {"samples": np.load(signals, mmap_mode="r+"), "labels": np.load(labels)}
    with (folder / TENSOR_NAMES[part.name]).open("wb") as file:  # its own writer would not say that the disk is full
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, file)
    signals.unlink()
    labels.unlink()


def _fill(signals: Path, labels: Path, part: Part, advance: Callable[[int], None], *, drop_lead: bool) -> None:
    """Fill a file of signals and one of labels, batch by batch, without holding either in memory."""
    n_leads, n_samples = part.store.signal.shape[1:]
    shape = (part.n_rows, n_samples) if drop_lead and n_leads == 1 else (part.n_rows, n_leads, n_samples)
    several = (len(part.label.classes),) if part.label.multilabel else ()
    with signals.open("wb") as x, labels.open("wb") as y:  # no memory map: on a full disk it would kill the process
        _write_header(x, np.dtype(np.float32), shape)
        _write_header(y, np.dtype(np.int64), (part.n_rows, *several))
        for batch in part.batches():
            x.write(to_mv(batch.counts).tobytes())
            y.write(targets(part, batch).astype(np.int64).tobytes())
            advance(len(batch.rows))


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the head of a .npy file whose values follow in C order."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )


def targets(part: Part, batch: Batch) -> NDArray[Any]:
    """Return class numbers, or zeros and ones where rows have several labels."""
    return batch.labels if part.label.multilabel else batch.classes
