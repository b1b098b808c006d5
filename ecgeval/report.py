"""The report of some runs: scored, drawn, written beside the old one, and put in its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ecgeval import figures, tables
from ecgeval.block import Block, make_blocks
from ecgeval.config import Evaluate
from ecgeval.errors import RequestError
from ecgeval.evaluation import evaluate
from ecgeval.metrics import METRICS, confusion_matrix
from ecgeval.page import Section, render
from ecgeval.passport import as_data
from ecgeval.runs import Run, group_runs

PAGE, DATA = "report.html", "report.json"
SCHEMA = 1
HEATMAPS = {"f1": "f1_score", "sensitivity": "sensitivity", "specificity": "specificity", "auroc": "auc_roc"}


def score(runs: Sequence[Run], config: Evaluate) -> list[Block]:
    """Return runs scored and ranked in blocks, the block of the run that finished last first.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    config : Evaluate
        How to score.
    """
    return make_blocks([[evaluate(run, config) for run in group] for group in group_runs(runs)])


def report(blocks: Sequence[Block], config: Evaluate, out: Path) -> Path:
    """Write the report of scored runs.

    All files are made in a folder beside `out` and then moved, the page last; files of the former report that
    this one does not have are removed, any other file in the folder is left alone.

    Parameters
    ----------
    blocks : sequence of Block
        From `score`; the first one's files lie in `out`, each other's in a subfolder.
    config : Evaluate
        How they were scored.
    out : Path
        The report's folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RequestError
        If `out` is a file, or a folder that holds files but no report.
    """
    former = _former_files(out)
    building = out.parent / f".building-{out.name}"
    shutil.rmtree(building, ignore_errors=True)  # a report that was stopped
    building.mkdir(parents=True)
    try:
        _write(blocks, config, building)
        _move(building, out, former)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out / PAGE


def _write(blocks: Sequence[Block], config: Evaluate, folder: Path) -> None:
    created = datetime.now(UTC)
    sections = [_write_block(block, folder / block.folder, created) for block in blocks]
    notes = {"ecgeval": _version(), "evaluate": config.model_dump(mode="json")}
    page = render(sections, blocks[0].header.store.name, created, notes)
    (folder / PAGE).write_text(page, encoding="utf-8")
    data = _data(blocks, created, notes) | {"files": sorted([*_files(folder), DATA])}
    (folder / DATA).write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")


def _write_block(block: Block, folder: Path, created: datetime) -> Section:
    (folder / "visualizations").mkdir(parents=True)
    made = tables.block_tables(block)
    for table in made:
        tables.write_csv(table, folder / f"{table.name}.csv")
    (folder / "EVALUATION_SUMMARY.txt").write_text(tables.evaluation_summary(block, created), encoding="utf-8")
    (folder / "DETAILED_METRICS_REPORT.txt").write_text(tables.detailed_report(block, created), encoding="utf-8")
    drawn = {name: figures.save(figure, folder / "visualizations" / name)[0] for name, figure in _draw(block).items()}
    return Section(block, made, drawn)


def _draw(block: Block) -> dict[str, Any]:
    """Return the figures of a block by file name."""
    best, header = block.best, block.header
    sizes = f"{len(best.test):,} rows of {len(best.test.patients):,} patients"
    note = f"{header.store.name}, test: {sizes}; {block.protocol}"
    if block.synthetic:
        note = f"SYNTHETIC recordings. {note}"
    drawn = {"06_model_comparison_bars": _draw_bars(block, note)}
    for metric, name in HEATMAPS.items():
        values = [[run.of(metric, "class", c).value for c in header.classes] for run in block.evaluations]
        title = f"{METRICS[metric].title} of each class"
        drawn[f"07_heatmap_{name}"] = figures.heatmap(block.labels, header.classes, values, title, note)
    title = f"{block.best_label}: {best.rule}"
    if header.task == "single":
        matrix = confusion_matrix(best.test.y, best.predicted)
        drawn["08_confusion_matrices"] = figures.confusion(header.classes, matrix, title, note)
    else:
        drawn["08_confusion_matrices"] = figures.two_by_two(header.classes, np.stack(best.counts, axis=1), title, note)
    drawn |= _draw_curves(block, note)
    trainings = [figures.Training(label, run.run.history) for label, run in block.labelled() if run.run.history]
    if trainings:
        drawn["training_curves"] = figures.training_curves(trainings, block.best_label, header.classes, note)
    return drawn


def _draw_bars(block: Block, note: str) -> Any:
    values, low, high = (
        {METRICS[m].title: [getattr(run.of(m), part) for run in block.evaluations] for m in tables.MACRO}
        for part in ("value", "low", "high")
    )
    return figures.bars(block.labels, values, low, high, note)


def _draw_curves(block: Block, note: str) -> dict[str, Any]:
    best, header = block.best, block.header
    y, p, name = best.test.y, best.test.p, block.best_label
    roc_areas, pr_areas = (
        [tables.format_number(best.of(metric, "class", c)) for c in header.classes] for metric in ("auroc", "auprc")
    )
    macro = f"macro {tables.format_number(best.of('auroc'))}"
    return {
        "09_roc_curves": figures.roc(
            header.classes, y, p, roc_areas, header.scored, macro, f"ROC curves, {name}", note
        ),
        "10_pr_curves": figures.pr(header.classes, y, p, pr_areas, f"Precision–recall curves, {name}", note),
    }


def _data(blocks: Sequence[Block], created: datetime, notes: dict[str, Any]) -> dict[str, Any]:
    """Return what ``report.json`` holds besides the list of files."""
    return {
        "schema": SCHEMA,
        "created": created.isoformat(timespec="seconds"),
        "synthetic": any(block.synthetic for block in blocks),
        **notes,
        "blocks": [_block_data(block) for block in blocks],
    }


def _block_data(block: Block) -> dict[str, Any]:
    header = block.header
    return {
        "folder": block.folder,
        "task": header.task,
        "classes": header.classes,
        "score_classes": header.score_classes,
        "scheme": header.scheme,
        "protocol": header.protocol,
        "leaks": header.leaks,
        "leak_note": header.leak_note,
        "best": block.best_label,
        "chosen_by_validation": block.chosen_by_validation or None,
        "card": header.card,
        "runs": [_run_data(label, run) for label, run in block.labelled()],
    }


def _run_data(label: str, run: Any) -> dict[str, Any]:
    return {
        "label": label,
        "run": run.run.name,
        "header": run.header.model_dump(mode="json", by_alias=True, exclude={"card"}),
        "rule": run.rule,
        "thresholds": dict(zip(run.header.classes, run.thresholds.tolist(), strict=True))
        if run.thresholds is not None
        else None,
        "validation_f1": None if np.isnan(run.validation_f1) else run.validation_f1,
        "environment": run.run.environment,
        "config": run.run.config,
        "numbers": [as_data(number) for number in run.numbers.values()],
        "numbers_at_half": [as_data(number) for number in run.at_half.values()],
    }


def _former_files(out: Path) -> set[str]:
    """Return the files of the report that `out` holds, by their paths inside it."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise RequestError(f"{out} is a file; name a folder for the report with --out")
    if not (out / DATA).is_file():
        if any(out.iterdir()):
            raise RequestError(f"{out} holds files but no report; name an empty or new folder with --out")
        return set()
    try:
        files = json.loads((out / DATA).read_text(encoding="utf-8"))["files"]
        return {name for name in files if (out / name).resolve().is_relative_to(out.resolve())}
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{out / DATA} is not a report of ecgeval; move that folder away") from error


def _move(building: Path, out: Path, former: set[str]) -> None:
    files = _files(building)
    for name in sorted(files, key=lambda name: (name == PAGE, name)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(building / name, out / name)
    for name in former - set(files):
        (out / name).unlink(missing_ok=True)
        _remove_empty((out / name).parent, out)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _version() -> str:
    try:
        return version("ecgprep")
    except PackageNotFoundError:
        return "not installed"
