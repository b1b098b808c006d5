"""What ``report.json`` holds of a block: every number with its whole passport, and every table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ecgeval.block import Block
from ecgeval.evaluation import Evaluation
from ecgeval.passport import Number, as_data
from ecgeval.tables.table import Cell, Table


def block_data(block: Block, tables: Sequence[Table]) -> dict[str, Any]:
    """Return a block as plain data, without any NaN: an undefined figure is None.

    Parameters
    ----------
    block : Block
        The runs.
    tables : sequence of Table
        Its tables.
    """
    header = block.header
    return {
        "folder": block.folder,
        "apart": block.apart or None,
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
        "tables": {table.name: table_data(table) for table in tables},
    }


def table_data(table: Table) -> dict[str, Any]:
    """Return a table as plain data: a number as value, low and high.

    Parameters
    ----------
    table : Table
        The table.
    """
    rows = [[_cell_data(cell) for cell in row] for row in table.rows]
    return {"title": table.title, "columns": table.columns, "rows": rows, "note": table.note}


def _run_data(label: str, run: Evaluation) -> dict[str, Any]:
    thresholds = {
        str(fold): dict(zip(run.header.classes, values.tolist(), strict=True))
        for fold, values in run.decision.thresholds.items()
    }
    return {
        "label": label,
        "run": run.run.name,
        "header": run.header.model_dump(mode="json", by_alias=True, exclude={"card"}),
        "rule": run.rule,
        "thresholds_by_fold": thresholds or None,
        "validation_f1": _plain(run.validation_f1),
        "folds": {fold: {name: _plain(v) for name, v in figures.items()} for fold, figures in run.folds.items()},
        "windows": {how: {name: _plain(v) for name, v in figures.items()} for how, figures in run.by_windows.items()},
        "calibration": {how: {n: _plain(v) for n, v in figures.items()} for how, figures in run.calibration.items()},
        "environment": run.run.environment,
        "config": run.run.config,
        "passport": asdict(run.source),
        "numbers": [as_data(number) for number in run.numbers.values()],
        "at_half": [[*number.key, _plain(number.value)] for number in run.at_half.values()],
    }


def _cell_data(cell: Cell) -> Any:
    if isinstance(cell, Number):
        return {"value": _plain(cell.value), "low": _plain(cell.low), "high": _plain(cell.high)}
    return _plain(cell) if isinstance(cell, float) else cell


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
