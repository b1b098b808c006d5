"""Tables of beats: each record, and the counts of the standard EC57."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgeval import ec57
from ecgeval.block import BestRows
from ecgeval.header import Header
from ecgeval.metrics import Array, Counts, count_by_group, divide, rates
from ecgeval.tables.table import Cell, Row, Table

SHOWN = ("S", "V")


def has_beats(header: Header) -> bool:
    """Return whether a run labels beats by AAMI classes."""
    return header.task == "single" and header.scheme.startswith("aami") and set(ec57.BEATS) >= set(header.classes)


def beats_per_record(best: BestRows) -> Table:
    """Return one-vs-rest sensitivity and PPV of S and V beats for each record, gross and as an average.

    Returns
    -------
    Table
        Gross pools the counts; an average is the plain mean over the records where the figure is defined. Both
        follow without the record that holds the most beats of a class, where that is more than half of them.
    """
    names = np.array(best.rows.records)
    shown = [label for label in SHOWN if label in best.rows.header.classes]
    columns = [best.rows.header.classes.index(label) for label in shown]
    counts = count_by_group(best.rows.y, best.predicted, best.rows.record, len(names))
    counts = Counts(*(cell[:, columns] for cell in counts))
    beats = np.bincount(best.rows.record, minlength=len(names))
    rows = [(str(name), int(beats[i]), *_beat_cells(_pool(counts, [i]))) for i, name in enumerate(names)]
    rows += _summary(counts, beats, np.ones(len(names), dtype=bool), "")
    for i in largest_contributors(counts.support):
        rows += _summary(counts, beats, np.arange(len(names)) != i, f" without {names[i]}")
    headings = [f"{label} {what}" for label in shown for what in ("beats", "Sensitivity", "PPV")]
    title = f"S and V beats of each record, {best.label}"
    note = "One class against the rest, whole records; EC57 counts otherwise, see its own table."
    return Table("beats_per_record", title, ("Record", "Beats", *headings), tuple(rows), note)


def largest_contributors(support: Array) -> list[int]:
    """Return the records that hold more than half of a class's beats, such as 232 of the S beats of DS2.

    Parameters
    ----------
    support : ndarray, shape (n_records, n_classes)
        Beats of each class.
    """
    top = support.argmax(axis=0)
    more_than_half = support.max(axis=0) > support.sum(axis=0) / 2
    return sorted({int(i) for i, over in zip(top, more_than_half, strict=True) if over and len(support) > 1})


def ec57_per_record(best: BestRows, learning_s: float) -> Table:
    """Return S and V statistics as EC57 counts them, for each record, gross and as an average.

    Parameters
    ----------
    best : BestRows
        A run on beats, see `has_beats`.
    learning_s : float
        Start of each record that is left out, in seconds; needs the column ``t_s``.
    """
    matrices = ec57_matrices(best, learning_s)
    used = matrices.sum(axis=(1, 2)) > 0
    names = np.array(best.rows.records)[used]
    kinds = {"S": ec57.supraventricular(matrices[used]), "V": ec57.ventricular(matrices[used])}
    pooled = matrices.sum(axis=0, keepdims=True)
    gross = {"S": ec57.supraventricular(pooled), "V": ec57.ventricular(pooled)}
    n = matrices[used].sum(axis=(1, 2))
    rows: list[Row] = [
        (str(name), int(n[i]), *(cell for kind in kinds.values() for cell in _ec57_cells(kind, i)))
        for i, name in enumerate(names)
    ]
    rows.append(("gross", int(n.sum()), *(cell for kind in gross.values() for cell in _ec57_cells(kind, 0))))
    rows.append(("average", "", *(cell for kind in kinds.values() for cell in _ec57_means(kind))))
    headings = [f"{label} {what}" for label in kinds for what in ("TP", "FN", "FP", "Se", "PPV", "FPR")]
    title = f"EC57 beat statistics, {best.label}"
    note = (
        f"The first {learning_s:g} s of each record are left out. F and Q beats called v, and Q beats called s, count "
        "for nothing. R positions are given, so there are no rows of detection. Map of beats: "
        f"{best.rows.header.scheme}."
    )
    return Table("ec57_per_record", title, ("Record", "Beats", *headings), tuple(rows), note)


def ec57_confusion(best: BestRows, learning_s: float) -> Table:
    """Return the 5×5 matrix of EC57, reference beats down and the algorithm's across.

    Parameters
    ----------
    best : BestRows
        A run on beats.
    learning_s : float
        Start of each record that is left out, in seconds.
    """
    matrix = ec57_matrices(best, learning_s).sum(axis=0)[:5, :5]
    rows: list[Row] = [(label, *map(int, counts)) for label, counts in zip(ec57.BEATS, matrix, strict=True)]
    note = f"The first {learning_s:g} s of each record are left out."
    title = f"EC57 confusion matrix, {best.label}"
    return Table("ec57_confusion", title, ("Reference", *ec57.BEATS.lower()), tuple(rows), note)


def ec57_matrices(best: BestRows, learning_s: float) -> NDArray[np.int64]:
    """Return the EC57 matrix of each record, shape (n_records, 7, 7)."""
    position = np.array([ec57.BEATS.index(label) for label in best.rows.header.classes])
    scored = np.ones(len(best.rows), dtype=bool)
    if learning_s:
        scored = best.rows.about["t_s"] >= learning_s
    truth, said = (position[a[scored].argmax(axis=1)] for a in (best.rows.y, best.predicted))
    return ec57.matrices_by_record(truth, said, best.rows.record[scored], len(best.rows.records))


def _pool(counts: Counts, index: Sequence[int] | NDArray[np.bool_]) -> Counts:
    """Return the counts pooled over some records."""
    return Counts(*(cell[index].sum(axis=0) for cell in counts))


def _beat_cells(counts: Counts) -> list[Cell]:
    rate = rates(counts)
    triples = zip(counts.support, rate["sensitivity"], rate["precision"], strict=True)
    return [cell for n, se, ppv in triples for cell in (int(n), float(se), float(ppv))]


def _summary(counts: Counts, beats: NDArray[np.int64], chosen: NDArray[np.bool_], suffix: str) -> list[Row]:
    n_beats = int(beats[chosen].sum())
    rate = rates(Counts(*(cell[chosen] for cell in counts)))
    pairs = zip(_means(rate["sensitivity"]), _means(rate["precision"]), strict=True)
    average = [cell for pair in pairs for cell in ("", *pair)]
    return [
        (f"gross{suffix}", n_beats, *_beat_cells(_pool(counts, chosen))),
        (f"average{suffix}", "", *average),
    ]


def _ec57_cells(kind: ec57.BeatStatistics, i: int) -> list[Cell]:
    counts = [int(cell[i]) for cell in (kind.tp, kind.fn, kind.fp)]
    return [*counts, *(float(share[i]) for share in (kind.sensitivity, kind.ppv, kind.false_positive_rate))]


def _ec57_means(kind: ec57.BeatStatistics) -> list[Cell]:
    shares = (kind.sensitivity, kind.ppv, kind.false_positive_rate)
    return ["", "", "", *(_means(share[:, None])[0] for share in shares)]


def _means(values: Array) -> list[float]:
    """Return the mean of each column over the records where it is defined."""
    defined = ~np.isnan(values)
    return [float(mean) for mean in divide(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))]
