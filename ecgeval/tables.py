"""Tables of a block of runs, for CSV files, the terminal and the page alike, and the two text reports."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgeval.block import Block
from ecgeval.evaluation import Evaluation
from ecgeval.metrics import (
    EXACT_MATCH,
    METRICS,
    OF_COUNTS,
    Array,
    Counts,
    confusion_matrix,
    count_by_group,
    divide,
    rates,
)
from ecgeval.passport import AVERAGES, Key, Number

UNDEFINED = "–"
MACRO = ("sensitivity", "specificity", "precision", "f1", "accuracy", "auroc", "auprc")
DETAIL = tuple(METRICS)
DOMINANT_RECORD = "mitdb/232"  # it alone holds three quarters of the S beats of DS2

Cell = str | int | float | Number
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with a name for its file.

    Parameters
    ----------
    name : str
        File name without suffix.
    title : str
        Heading.
    columns : tuple of str
        Column headings.
    rows : tuple of tuple
        Cells; a `Number` has its interval with it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def format_value(value: float) -> str:
    """Return a figure with three decimals, or a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"


def format_number(number: Number) -> str:
    """Return a number with its interval, such as ``0.812 [0.790–0.831]``."""
    if math.isnan(number.low):
        return format_value(number.value)
    return f"{number.value:.3f} [{number.low:.3f}–{number.high:.3f}]"


def format_compact(cell: Cell) -> str:
    """Return a cell for a terminal: a number with its interval on a line of its own, to two decimals."""
    if not isinstance(cell, Number) or math.isnan(cell.low):
        return format_cell(cell)
    low, high = (f"{bound:.2f}".removeprefix("0") for bound in (cell.low, cell.high))
    return f"{cell.value:.3f}\n{low}–{high}"


def format_cell(cell: Cell) -> str:
    """Return a cell as a person reads it."""
    if isinstance(cell, Number):
        return format_number(cell)
    if isinstance(cell, float):
        return format_value(cell)
    return f"{cell:,}" if isinstance(cell, int) else cell


def write_csv(table: Table, path: Path) -> None:
    """Write a table; columns ``*_low`` and ``*_high`` of the intervals follow the columns of the table.

    Parameters
    ----------
    table : Table
        The table.
    path : Path
        The file.
    """
    with_interval = [i for i in range(len(table.columns)) if any(isinstance(row[i], Number) for row in table.rows)]
    header = [
        *table.columns,
        *(f"{table.columns[i]}_{end}" for i in with_interval for end in ("low", "high")),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in table.rows:
            ends = [bound for i in with_interval for bound in _bounds(row[i])]
            writer.writerow([_csv_cell(cell) for cell in (*row, *ends)])


def macro_comparison(block: Block) -> Table:
    """Return the macro means of all runs, best first by F1."""
    columns = ("Model", *(METRICS[metric].title for metric in MACRO), "Exact-Match", "Input", "Run")
    rows: list[Row] = [
        (
            label,
            *(run.of(metric) for metric in MACRO),
            run.of("exact", "rows"),
            run.header.input,
            run.run.name,
        )
        for label, run in block.labelled()
    ]
    return Table("01_macro_comparison", "Macro comparison, best first by F1", columns, tuple(rows))


def per_class_comparison(block: Block, metric: str) -> Table:
    """Return one metric of each class (columns) for all runs (rows).

    Parameters
    ----------
    block : Block
        The runs.
    metric : {"f1", "sensitivity", "auroc"}
        The metric.
    """
    name = {
        "f1": "02_per_class_f1_comparison",
        "sensitivity": "03_per_class_sensitivity_comparison",
        "auroc": "04_per_class_auc_roc_comparison",
    }[metric]
    rows: list[Row] = [
        (label, *(run.of(metric, "class", c) for c in block.header.classes)) for label, run in block.labelled()
    ]
    return Table(name, f"{METRICS[metric].title} of each class", ("Model", *block.header.classes), tuple(rows))


def best_model_detailed(block: Block) -> Table:
    """Return counts and metrics of each class of the best run, with the macro mean in the last row."""
    best = block.best
    metrics = tuple(METRICS[metric].title for metric in DETAIL)
    columns = ("Class", "TP", "FP", "FN", "TN", *metrics, "Support", "Prevalence", "Threshold", "Scored")
    rows: list[Row] = []
    for i, label in enumerate(best.header.classes):
        tp, fp, fn, tn = (int(cell[i]) for cell in best.counts)
        threshold = format_value(best.thresholds[i]) if best.thresholds is not None else "argmax"
        figures = (best.of(metric, "class", label) for metric in DETAIL)
        scored = "yes" if label in best.header.score_classes else "no"
        prevalence = (tp + fn) / len(best.test)
        rows.append((label, tp, fp, fn, tn, *figures, tp + fn, prevalence, threshold, scored))
    means = (best.of(metric) for metric in DETAIL)
    rows.append(("macro", "", "", "", "", *means, len(best.test), "", "", ""))
    return Table("05_best_model_detailed", f"{block.best_label} in detail", columns, tuple(rows))


def confusion(block: Block) -> Table:
    """Return the confusion matrix of the best run of a single-label task, labels down, predictions across."""
    classes = block.header.classes
    matrix = confusion_matrix(block.best.test.y, block.best.predicted)
    rows: list[Row] = [(label, *map(int, counts)) for label, counts in zip(classes, matrix, strict=True)]
    columns = ("Label", *(f"predicted {label}" for label in classes))
    return Table("confusion_matrix", f"Confusion matrix of {block.best_label}", columns, tuple(rows))


def thresholds_beside_half(block: Block) -> Table:
    """Return the macro means of all runs at the thresholds in use, with those at 0.5 beside them."""
    metrics = ("f1", "sensitivity", "specificity", "precision")
    pairs = [f"{METRICS[metric].title}{at}" for metric in metrics for at in ("", " at 0.5")]
    rows: list[Row] = [
        (label, run.rule, *(n for m in metrics for n in (run.of(m), run.at_half[Key(m, "macro")])))
        for label, run in block.labelled()
    ]
    return Table("thresholds", "Thresholds, with 0.5 beside them", ("Model", "Rule", *pairs), tuple(rows))


def has_beats(evaluation: Evaluation) -> bool:
    """Return whether a run labels beats by AAMI classes, S and V among them."""
    header = evaluation.header
    return header.task == "single" and header.scheme.startswith("aami") and {"S", "V"} <= set(header.classes)


def beats_per_record(block: Block) -> Table:
    """Return sensitivity and PPV of the best run's S and V beats for each record, gross and as an average.

    Parameters
    ----------
    block : Block
        Runs on beats, see `has_beats`.

    Returns
    -------
    Table
        Gross pools the counts; an average is the plain mean over the records where the figure is defined.
        Where record 232 of MIT-BIH is in the test, both follow without it.
    """
    best = block.best
    names = np.array(best.test.records)
    counts = count_by_group(best.test.y, best.predicted, best.test.record, len(names))
    columns = [best.header.classes.index(label) for label in ("S", "V")]
    s_and_v = Counts(*(cell[:, columns] for cell in counts))
    beats = np.bincount(best.test.record, minlength=len(names))
    rows = [(str(name), int(beats[i]), *_beat_cells(_records(s_and_v, [i]))) for i, name in enumerate(names)]
    rows += _record_summary(s_and_v, beats, np.ones(len(names), dtype=bool), "")
    if DOMINANT_RECORD in names:
        rows += _record_summary(s_and_v, beats, names != DOMINANT_RECORD, f" without {DOMINANT_RECORD}")
    headings = [f"{label} {what}" for label in ("S", "V") for what in ("beats", "Sensitivity", "PPV")]
    title = f"S and V beats of each record, {block.best_label}"
    return Table("beats_per_record", title, ("Record", "Beats", *headings), tuple(rows))


def block_tables(block: Block) -> list[Table]:
    """Return the tables that a block has files of, in the order of their names."""
    tables = [
        macro_comparison(block),
        *(per_class_comparison(block, metric) for metric in ("f1", "sensitivity", "auroc")),
        best_model_detailed(block),
    ]
    if block.header.task == "multi":
        return [*tables, thresholds_beside_half(block)]
    if has_beats(block.best):
        tables.append(beats_per_record(block))
    return [*tables, confusion(block)]


def evaluation_summary(block: Block, created: datetime) -> str:
    """Return the text of ``EVALUATION_SUMMARY.txt``.

    Parameters
    ----------
    block : Block
        The runs.
    created : datetime
        When the report was made.
    """
    best, header = block.best, block.header
    lines = [
        "EVALUATION SUMMARY",
        *_stamp(block, created),
        f"Models: {len(block.evaluations)}",
        f"Classes: {', '.join(header.classes)}; macro means over {', '.join(header.score_classes)}",
        "",
        f"Best on test by macro F1: {block.best_label} (run {best.run.name})",
        *(f"  {METRICS[m].title:<12} {format_number(best.of(m))}" for m in MACRO),
        *_left_out(best),
        "",
        "Ranking by macro F1 on test:",
        *(f"  {i}. {label}  {format_number(run.of('f1'))}" for i, (label, run) in enumerate(block.labelled(), 1)),
        "",
        *selection_note(block),
    ]
    return "\n".join(lines) + "\n"


def detailed_report(block: Block, created: datetime) -> str:
    """Return the text of ``DETAILED_METRICS_REPORT.txt``.

    Parameters
    ----------
    block : Block
        The runs.
    created : datetime
        When the report was made.
    """
    best = block.best
    lines = [
        f"DETAILED METRICS: {block.best_label} (run {best.run.name})",
        *_stamp(block, created),
        f"Decision: {best.rule}",
        f"Exact match: {format_number(best.of('exact', 'rows'))} ({EXACT_MATCH.definition})",
    ]
    for i in range(len(best.header.classes)):
        lines += ["", *_class_lines(best, i)]
    for average, meaning in AVERAGES.items():
        lines += ["", f"{average} ({meaning})"]
        lines += [f"  {METRICS[m].title:<12} {_at_half_beside(best, Key(m, average))}" for m in _metrics(average)]
    lines += ["", *_left_out(best)]
    return "\n".join(lines).rstrip() + "\n"


def selection_note(block: Block) -> list[str]:
    """Return what the ranking is worth: a choice made on test is no selection."""
    chosen = block.chosen_by_validation
    return [
        "To name the best model by test describes this test and selects nothing; its figures are optimistic.",
        f"Validation would choose {chosen}." if chosen else "No run has validation predictions to choose by.",
    ]


def _stamp(block: Block, created: datetime) -> list[str]:
    header, test = block.header, block.best.test
    lines = [
        f"Date: {created:%Y-%m-%d %H:%M} UTC",
        f"Store: {header.store.name} (digest {header.store.digest[:12]})",
        f"Split: test, {block.protocol}",
        f"Rows: {len(test):,} of {len(test.records):,} records and {len(test.patients):,} patients",
    ]
    if header.leak_note:
        lines.append(f"Leak: {header.leak_note}")
    if block.synthetic:
        lines.insert(0, "SYNTHETIC recordings: these figures say nothing about patients.")
    return lines


def _left_out(evaluation: Evaluation) -> list[str]:
    """Return a line for each macro mean that leaves a class out."""
    numbers = [(metric, evaluation.of(metric)) for metric in DETAIL]
    return [f"Macro {METRICS[metric].title}: {number.reason}" for metric, number in numbers if number.reason]


def _class_lines(best: Evaluation, i: int) -> list[str]:
    label = best.header.classes[i]
    tp, fp, fn, tn = (int(cell[i]) for cell in best.counts)
    n = len(best.test)
    threshold = "" if best.thresholds is None else f", threshold {best.thresholds[i]:.3f}"
    apart = "" if label in best.header.score_classes else ", not in the averages"
    lines = [
        f"Class {label}: {tp + fn:,} of {n:,} rows (prevalence {(tp + fn) / n:.3f}){threshold}{apart}",
        f"  TP {tp:,}  FP {fp:,}  FN {fn:,}  TN {tn:,}",
    ]
    for metric in DETAIL:
        reason = best.of(metric, "class", label).reason
        figure = _at_half_beside(best, Key(metric, "class", label))
        lines.append(f"  {METRICS[metric].title:<12} {figure}{f'  ({reason})' if reason else ''}")
    return lines


def _at_half_beside(best: Evaluation, key: Key) -> str:
    text = format_number(best.numbers[key])
    if key.metric in OF_COUNTS and key in best.at_half:
        text += f"   at 0.5: {format_value(best.at_half[key].value)}"
    return text


def _metrics(average: str) -> tuple[str, ...]:
    return OF_COUNTS if average == "micro" else DETAIL


def _records(counts: Counts, index: Sequence[int] | NDArray[np.bool_]) -> Counts:
    """Return the counts pooled over some records."""
    return Counts(*(cell[index].sum(axis=0) for cell in counts))


def _beat_cells(counts: Counts) -> list[Cell]:
    """Return beats, sensitivity and PPV of S, then of V."""
    rate = rates(counts)
    triples = zip(counts.support, rate["sensitivity"], rate["precision"], strict=True)
    return [cell for n, se, ppv in triples for cell in (int(n), float(se), float(ppv))]


def _record_summary(counts: Counts, beats: NDArray[np.int64], chosen: NDArray[np.bool_], suffix: str) -> list[Row]:
    n_beats = int(beats[chosen].sum())
    rate = rates(Counts(*(cell[chosen] for cell in counts)))
    pairs = zip(_means(rate["sensitivity"]), _means(rate["precision"]), strict=True)
    average = [cell for pair in pairs for cell in ("", *pair)]
    return [
        (f"gross{suffix}", n_beats, *_beat_cells(_records(counts, chosen))),
        (f"average{suffix}", "", *average),
    ]


def _means(values: Array) -> list[float]:
    """Return the mean of each column over the records where it is defined."""
    defined = ~np.isnan(values)
    return [float(mean) for mean in divide(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))]


def _bounds(cell: Cell) -> tuple[Cell, Cell]:
    return (cell.low, cell.high) if isinstance(cell, Number) else ("", "")


def _csv_cell(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Number) else cell
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.6f}"
    return str(value)
