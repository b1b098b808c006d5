"""Tables of the best run of a block: each class, the worst records, and subgroups of patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgeval.block import BestRows, Block
from ecgeval.metrics import METRICS, confusion_matrix
from ecgeval.scoring import score_rows
from ecgeval.tables.table import Row, Table

DETAIL = tuple(METRICS)
WORST = 20
SUBGROUP_METRICS = ("f1", "sensitivity", "specificity", "precision", "auroc")
AGE_BANDS = ((0, 40, "under 40"), (40, 60, "40–59"), (60, 80, "60–79"), (80, np.inf, "80 and over"))
QUALITY_BANDS = ((0, 0.7, "under 0.7"), (0.7, 0.9, "0.7–0.9"), (0.9, np.inf, "0.9 and over"))
MOST_LEVELS = 20  # of a text column; beyond, the rarer ones are left out


def best_model_detailed(block: Block) -> Table:
    """Return counts and metrics of each class of the best run, with the macro mean in the last row."""
    best = block.best
    metrics = tuple(METRICS[metric].title for metric in DETAIL)
    columns = ("Class", "TP", "FP", "FN", "TN", *metrics, "Support", "Prevalence", "Threshold", "Scored")
    rows: list[Row] = []
    for i, label in enumerate(best.header.classes):
        tp, fp, fn, tn = (int(cell[i]) for cell in best.counts)
        figures = (best.of(metric, "class", label) for metric in DETAIL)
        scored = "yes" if label in best.header.score_classes else "no"
        prevalence = (tp + fn) / best.sample.n_rows
        rows.append((label, tp, fp, fn, tn, *figures, tp + fn, prevalence, best.decision.threshold_of(i), scored))
    means = (best.of(metric) for metric in DETAIL)
    rows.append(("macro", "", "", "", "", *means, best.sample.n_rows, "", "", ""))
    return Table("05_best_model_detailed", f"{block.best_label} in detail", columns, tuple(rows))


def confusion(best: BestRows) -> Table:
    """Return the confusion matrix of a single-label task, labels down, predictions across."""
    classes = best.rows.header.classes
    matrix = confusion_matrix(best.rows.y, best.predicted)
    rows: list[Row] = [(label, *map(int, counts)) for label, counts in zip(classes, matrix, strict=True)]
    columns = ("Label", *(f"predicted {label}" for label in classes))
    return Table("confusion_matrix", f"Confusion matrix of {best.label}", columns, tuple(rows))


def worst_records(best: BestRows) -> Table:
    """Return the records with the most wrong rows, then with the labels that were given the least probability."""
    rows = best.rows
    n_records = len(rows.records)
    n = np.bincount(rows.record, minlength=n_records)
    n_wrong = np.bincount(rows.record, weights=best.wrong, minlength=n_records).astype(int)
    miss = np.abs(rows.p - rows.y).max(axis=1)
    mean_miss = np.bincount(rows.record, weights=miss, minlength=n_records) / np.maximum(n, 1)
    order = np.lexsort((-mean_miss, -n_wrong))[:WORST]
    patient_of = np.zeros(n_records, dtype=np.int64)
    patient_of[rows.record] = rows.patient
    table: list[Row] = [
        (rows.records[i], rows.patients[patient_of[i]], int(n[i]), int(n_wrong[i]), n_wrong[i] / n[i], mean_miss[i])
        for i in order.tolist()
        if n_wrong[i]
    ]
    columns = ("Record", "Patient", "Rows", "Wrong", "Share wrong", "Mean greatest miss")
    note = "A miss is the distance of a probability from its label; the last column is the mean of each row's greatest."
    return Table("worst_records", f"Worst records of {best.label}", columns, tuple(table), note)


def subgroups(best: BestRows) -> Table:
    """Return macro figures of the best run by sex, age, database and quality, each with its interval.

    A mean is over the classes where the figure is defined in that subgroup, which may be fewer than in all rows;
    the number's reason says which are left out.
    """
    rows: list[Row] = []
    for group, level, chosen in levels(best):
        part = replace(best.rows, about={}).take(chosen)
        n_patients = len(np.unique(part.patient))
        source = best.evaluation.source
        n_resamples = source.resamples if n_patients > 1 else 0
        source = replace(
            source, n_rows=len(part), n_records=len(np.unique(part.record)), n_patients=n_patients,
            split_digest=part.digest(), resamples=n_resamples,
        )  # fmt: skip
        numbers = score_rows(part, best.predicted[chosen], source).numbers
        macro = {key.metric: number for key, number in numbers.items() if key.average == "macro"}
        rows.append((group, level, len(part), n_patients, *(macro[metric] for metric in SUBGROUP_METRICS)))
    columns = ("Group", "Level", "Rows", "Patients", *(METRICS[metric].title for metric in SUBGROUP_METRICS))
    note = "Macro means over the classes defined in the subgroup; rows of unknown sex, age or quality are left out."
    return Table("subgroups", f"Subgroups, {best.label}", columns, tuple(rows), note)


def levels(best: BestRows) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield group, level and mask of rows of each subgroup, of groups with at least two levels."""
    about = best.rows.about
    groups = {
        "sex": _text_levels(about.get("sex")),
        "age": _bands(about.get("age"), AGE_BANDS),
        "database": _text_levels(about.get("database")),
        "quality": _bands(about.get("quality"), QUALITY_BANDS),
    }
    for group, of_level in groups.items():
        if len(of_level) > 1:
            yield from ((group, level, chosen) for level, chosen in of_level.items())


def _text_levels(values: NDArray[Any] | None) -> dict[str, NDArray[np.bool_]]:
    if values is None:
        return {}
    known = values[values == values]  # without NaN
    common = [name for name, _ in Counter(known.tolist()).most_common() if name != ""][:MOST_LEVELS]
    return {str(name): values == name for name in sorted(common)}


def _bands(values: NDArray[Any] | None, bounds: Sequence[tuple[float, float, str]]) -> dict[str, NDArray[np.bool_]]:
    if values is None:
        return {}
    bands = {name: (values >= low) & (values < high) for low, high, name in bounds}
    return {name: chosen for name, chosen in bands.items() if chosen.any()}
