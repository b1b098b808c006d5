"""The figures of a block, each from its scored runs by a function on arrays of `ecgeval.figures`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ecgeval import calibration, figures
from ecgeval.block import BestRows, Block, read_rows
from ecgeval.config import Evaluate
from ecgeval.errors import RunFileError
from ecgeval.explanations import Explanations, read_explanations
from ecgeval.features import MOST_ROWS, choose_rows, project, read_features
from ecgeval.figures.curves import NAMED
from ecgeval.metrics import METRICS, confusion_matrix, count_by_group, divide
from ecgeval.tables.comparison import MACRO, pretraining_curves
from ecgeval.tables.table import format_number

HEATMAPS = {"f1": "f1_score", "sensitivity": "sensitivity", "specificity": "specificity", "auroc": "auc_roc"}
MOST_MODELS = 20  # in bars and heatmaps; the tables hold all
MOST_CELLS, FEWEST_MODELS, FEWEST_RECORDS = 300, 4, 8  # of a heatmap: 71 classes of four models take two printed pages
WORST_RECORDS = 25


def draw(block: Block, best: BestRows, config: Evaluate) -> Iterator[tuple[str, Any]]:
    """Yield file name and figure of each figure of a block, one at a time so that memory stays flat.

    Parameters
    ----------
    block : Block
        The runs.
    best : BestRows
        The rows of its best run.
    config : Evaluate
        How the runs were scored.
    """
    note = _note(block)
    yield "06_model_comparison_bars", _bars(block, note)
    for metric, name in HEATMAPS.items():
        yield f"07_heatmap_{name}", _heatmap(block, metric, note)
    yield "08_confusion_matrices", _confusion(block, best, note)
    yield from _curves(block, best, note)
    yield "calibration_curve", _calibration(best, note)
    if len(best.rows.records) > 1 and best.wrong.any():
        yield "error_map", _error_map(best, note)
    trainings = [figures.Training(label, run.run.history) for label, run in block.labelled()]
    if trainings := [training for training in trainings if len(training.history) > 1]:  # one epoch has no curve
        yield "training_curves", figures.training_curves(trainings, trainings[0].label, block.header.classes, note)
    yield from _pretraining(block, note)
    yield from _features(block, best, note, config)
    yield from _explanations(block, best, note, config)


def _first_with(block: Block, best: BestRows, pattern: str, config: Evaluate) -> BestRows | None:
    """Return the rows of the best of the runs that hold such files: a baseline may be ahead and have none."""
    for label, run in block.labelled():
        if any(run.run.path.glob(pattern)):
            return best if label == best.label else read_rows(label, run, config)
    return None


def _note(block: Block) -> str:
    sample = block.best.sample
    sizes = f"{sample.n_rows:,} rows of {sample.n_patients:,} patients"
    note = f"{block.header.store.name}, test: {sizes}; {block.protocol}"
    return f"SYNTHETIC recordings. {note}" if block.synthetic else note


def _drawn(block: Block, note: str, most: int = MOST_MODELS) -> tuple[list[str], list[Any], str]:
    """Return labels and runs that fit a figure, and the foot that says what was left out."""
    labels, runs = list(block.labels[:most]), list(block.evaluations[:most])
    if len(block.labels) > most:
        note = f"The best {most} of {len(block.labels)} runs by macro F1; the tables hold all. {note}"
    return labels, runs, note


def _bars(block: Block, note: str) -> Any:
    labels, runs, note = _drawn(block, note)
    values, low, high = (
        {METRICS[m].title: [getattr(run.of(m), part) for run in runs] for m in MACRO}
        for part in ("value", "low", "high")
    )
    return figures.bars(labels, values, low, high, note)


def _heatmap(block: Block, metric: str, note: str) -> Any:
    classes = block.header.classes
    labels, runs, note = _drawn(block, note, min(MOST_MODELS, max(FEWEST_MODELS, MOST_CELLS // len(classes))))
    values = [[run.of(metric, "class", c).value for c in classes] for run in runs]
    return figures.heatmap(labels, classes, values, f"{METRICS[metric].title} of each class", note)


def _confusion(block: Block, best: BestRows, note: str) -> Any:
    title = f"{block.best_label}: {block.best.rule}"
    classes = block.header.classes
    if block.header.task == "single":
        return figures.confusion(classes, confusion_matrix(best.rows.y, best.predicted), title, note)
    return figures.two_by_two(classes, np.stack(block.best.counts, axis=1), title, note)


def _curves(block: Block, best: BestRows, note: str) -> Iterator[tuple[str, Any]]:
    classes, scored, name = block.header.classes, block.header.scored, block.best_label
    of = {m: [format_number(block.best.of(m, "class", c)) for c in classes] for m in ("auroc", "auprc")}
    macro = f"macro {format_number(block.best.of('auroc'))}"
    y, p = best.rows.y, best.rows.p
    yield "09_roc_curves", figures.roc(classes, y, p, of["auroc"], scored, macro, f"ROC curves, {name}", note)
    yield "10_pr_curves", figures.pr(classes, y, p, of["auprc"], f"Precision–recall curves, {name}", note)


def _calibration(best: BestRows, note: str) -> Any:
    rows = best.rows
    support = rows.y.sum(axis=0)
    n_classes = len(support)  # a few keep the colours that they have in the other curves
    order = np.argsort(-support, kind="stable") if n_classes > NAMED else range(n_classes)
    bins = {rows.header.classes[i]: calibration.bin_equal_width(rows.p[:, i], rows.y[:, i]) for i in order}
    if n_classes > NAMED:
        note = f"The most frequent classes come first. {note}"
    return figures.calibration(bins, f"Calibration of each class, {best.label}", note)


def _error_map(best: BestRows, note: str) -> Any:
    """Draw the share of each class's rows that are missed, of the records with the most wrong rows."""
    rows = best.rows
    n_records = len(rows.records)
    counts = count_by_group(rows.y, best.predicted, rows.record, n_records)
    n_wrong = np.bincount(rows.record, weights=best.wrong, minlength=n_records)
    most = min(WORST_RECORDS, max(FEWEST_RECORDS, MOST_CELLS // len(rows.header.classes)), np.count_nonzero(n_wrong))
    chosen = np.argsort(-n_wrong, kind="stable")[:most]
    names = [f"{_short_name(rows.records[i])} ({int(n_wrong[i]):,} wrong)" for i in chosen]
    missed = divide(counts.fn[chosen], counts.support[chosen])
    title = f"Share of each label's rows that is missed, worst records, {best.label}"
    return figures.heatmap(names, rows.header.classes, missed, title, f"Hatched: no such label. {note}")


def _short_name(record: str) -> str:
    """Return a record's database and own name, without the folders between."""
    parts = record.split("/")
    return record if len(parts) < 3 else f"{parts[0]}/…/{parts[-1]}"


def _pretraining(block: Block, note: str) -> Iterator[tuple[str, Any]]:
    scores: dict[str, dict[float, list[float]]] = {}
    for name, curve in pretraining_curves(block).items():
        for run in curve:
            assert run.header.pretraining is not None
            by_fraction = scores.setdefault(name, {})
            by_fraction.setdefault(run.header.pretraining.fraction, []).append(run.of("f1").value)
    if len({fraction for by_fraction in scores.values() for fraction in by_fraction}) > 1:
        title = "Macro F1 against pre-training, mean ± SD over trials"
        yield "pretraining_fraction", figures.pretraining_fraction(scores, title, note)


def _features(block: Block, best: BestRows, note: str, config: Evaluate) -> Iterator[tuple[str, Any]]:
    shown = _first_with(block, best, "features/test.parquet", config)
    if shown is None:
        return
    path = shown.evaluation.run.path / "features" / "test.parquet"
    saved = read_features(path)
    _, at, of = np.intersect1d(shown.rows.row, saved.row, return_indices=True)
    if not len(at):
        again = f"write it again with `ecgtrain features {shown.evaluation.run.name}`"
        raise RunFileError(f"{path}: none of its rows is a test row of the run; {again}")
    label = np.where(shown.rows.y.any(axis=1), shown.rows.y.argmax(axis=1), -1)[at]
    chosen = choose_rows(label, MOST_ROWS, config.seed)
    xy, method = project(saved.values[of[chosen]], config.seed)
    title = f"{method} of the features of {len(chosen):,} test rows, {shown.label}"
    if shown.rows.header.task == "multi":
        note = f"Coloured by the first of a row's labels. {note}"
    drawn = figures.features(xy, label[chosen], shown.rows.header.classes, shown.wrong[at][chosen], title, note)
    yield "features", drawn


def _explanations(block: Block, best: BestRows, note: str, config: Evaluate) -> Iterator[tuple[str, Any]]:
    shown = _first_with(block, best, "explain/*.npz", config)
    if shown is None:
        return
    for file in sorted((shown.evaluation.run.path / "explain").glob("*.npz")):
        explained = read_explanations(file)
        yield from ((name, figures.strips(pieces, f"{foot} {note}")) for name, pieces, foot in _pages(explained, shown))


def _pages(explained: Explanations, shown: BestRows) -> Iterator[tuple[str, list[Any], str]]:
    for i, label in enumerate(shown.rows.header.classes):
        if pieces := explained.strips(label):
            foot = f"{explained.method.replace('_', ' ')} of class {label}, darker: mattered more; {shown.label}."
            yield f"explanation_{explained.method}_{i + 1}", pieces, foot
