"""The two text reports of a block: a summary of all runs, and every figure of the best one."""

from __future__ import annotations

from datetime import datetime

from ecgeval.block import Block
from ecgeval.evaluation import Evaluation
from ecgeval.metrics import METRICS, OF_COUNTS, OF_ROWS
from ecgeval.passport import AVERAGES, Key
from ecgeval.tables.comparison import MACRO
from ecgeval.tables.detail import DETAIL
from ecgeval.tables.table import format_number, format_value


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
    of_rows = [(key, number) for key, number in best.numbers.items() if key.average == "rows"]
    lines = [
        f"DETAILED METRICS: {block.best_label} (run {best.run.name})",
        *_stamp(block, created),
        f"Decision: {best.rule}",
        *(f"{OF_ROWS[k.metric].title}: {format_number(n)} ({OF_ROWS[k.metric].definition})" for k, n in of_rows),
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
    header, sample = block.header, block.best.sample
    lines = [
        f"Date: {created:%Y-%m-%d %H:%M} UTC",
        f"Store: {header.store.name} (digest {header.store.digest[:12]})",
        f"Split: test, {block.protocol}",
        f"Rows: {sample.n_rows:,} of {sample.n_records:,} records and {sample.n_patients:,} patients",
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
    n = best.sample.n_rows
    threshold = f", threshold {best.decision.threshold_of(i)}" if best.decision.thresholds else ""
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
