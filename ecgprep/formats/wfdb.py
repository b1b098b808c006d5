"""WFDB records: the rows of each record one after another, each marked at its R peak or its middle."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import BeatPreset
from ecgprep.export import Batch, Part
from ecgprep.units import parse_unit
from store.errors import UserError
from store.schema import SCALE_MV

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
NOTE = '"'  # the symbol of a comment, for rows that are no beats


def write_wfdb(folder: Path, part: Part, advance: Callable[[int], None]) -> None:
    """Write ``<part>/<record>.hea``, ``.dat`` and ``.atr``, and list the records in ``<part>/RECORDS``.

    A beat is annotated at its R peak by its own symbol, any other row at its middle by a comment; the auxiliary text
    is the classes. Signals have 1000 counts a mV, as in the store. Padding is left out: no recording holds it.

    Raises
    ------
    UserError
        If rows are synthetic: no record holds them.
    """
    if part.n_synthetic:
        raise UserError("--to wfdb writes recordings, and synthetic rows are in none; leave --balance out")
    place = folder / part.name
    place.mkdir(parents=True)
    record = part.store.column("record")
    names: dict[str, None] = {}  # a set that keeps its order
    for batch in part.batches_by(record):
        name = _free_name(str(record[batch.rows[0]]), names)
        names[name] = None
        _write_record(place, name, part, batch)
        advance(len(batch.rows))
    (place / "RECORDS").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _free_name(record: str, taken: Container[str]) -> str:
    """Return a name that WFDB allows and no other record has: ``a/b_1`` and ``a_b/1`` both become ``a_b_1``."""
    name = NOT_IN_NAMES.sub("_", record)
    while name in taken:
        name += "_"
    return name


def _write_record(place: Path, name: str, part: Part, batch: Batch) -> None:
    import wfdb

    store = part.store
    n_leads, n_samples = batch.counts.shape[1:]
    lengths = np.full(len(batch.rows), n_samples) if part.valid_n is None else part.valid_n[batch.rows]
    held = np.arange(n_samples) < lengths[:, None]
    symbols = _symbols(part, batch)
    marks = np.cumsum(lengths) - lengths + _mark(store.attributes["unit"], lengths)
    marks[0] = max(marks[0], symbols[0] == NOTE)  # a comment at sample 0 is a definition, which wfdb drops
    wfdb.wrsamp(
        name,
        fs=store.fs_hz,
        units=["mV"] * n_leads,
        sig_name=list(store.leads),
        d_signal=batch.counts.transpose(0, 2, 1)[held],
        fmt=["16"] * n_leads,
        adc_gain=[1 / SCALE_MV] * n_leads,
        baseline=[0] * n_leads,
        comments=[f"{len(batch.rows)} rows of {store.name}, from row {batch.rows[0]}, {_lengths_said(lengths)}"],
        write_dir=str(place),
    )
    wfdb.wrann(
        name,
        "atr",
        sample=marks,
        symbol=symbols,
        aux_note=list(_class_names(part, batch)),
        fs=store.fs_hz,
        write_dir=str(place),
    )


def _mark(unit: str, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sample of each row that is annotated."""
    kind = parse_unit(unit)
    return np.full(len(lengths), kind.before) if isinstance(kind, BeatPreset) else lengths // 2


def _lengths_said(lengths: NDArray[np.int64]) -> str:
    least, most = lengths.min(), lengths.max()
    return f"{most} samples each" if least == most else f"{least} to {most} samples each"


def _symbols(part: Part, batch: Batch) -> list[str]:
    if "symbol" not in part.store.columns:
        return [NOTE] * len(batch.rows)
    symbols: Any = part.store.column("symbol")[batch.rows]
    return [symbol or NOTE for symbol in symbols]


def _class_names(part: Part, batch: Batch) -> Iterator[str]:
    for labels in batch.labels:
        yield "+".join(part.label.classes[i] for i in np.flatnonzero(labels))
