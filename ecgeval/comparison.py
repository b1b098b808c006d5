"""Two runs on the same rows: every difference with its interval, and a plain verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecgeval.comparable import differences
from ecgeval.config import Evaluate
from ecgeval.errors import ProtocolError
from ecgeval.evaluation import Evaluation, evaluate, read_test
from ecgeval.passport import Key
from ecgeval.predictions import Predictions
from ecgeval.runs import Run
from ecgeval.statistics.delong import delong
from ecgeval.statistics.paired import McNemar, Verdict, holm, mcnemar, verdict
from ecgeval.tables.pairs import as_number, difference, metric_name
from ecgeval.tables.table import Row, Table, format_value

METRICS = ("f1", "auroc", "sensitivity")


@dataclass(frozen=True)
class Comparison:
    """What two runs differ by.

    Parameters
    ----------
    table : Table
        Every figure of both, and the difference.
    verdict : {"better", "worse", "not distinguishable"}
        Of the second run, by macro F1.
    sentence : str
        The same in words, with its figures.
    mcnemar : McNemar
        Of rows with all labels right.
    """

    table: Table
    verdict: Verdict
    sentence: str
    mcnemar: McNemar


def compare(run_a: Run, run_b: Run, config: Evaluate) -> Comparison:
    """Return what run b has over run a.

    Parameters
    ----------
    run_a, run_b : Run
        The runs.
    config : Evaluate
        How to score.

    Raises
    ------
    ProtocolError
        If they differ in rows, labels or protocol.
    """
    a, b = (evaluate(run, config) for run in (run_a, run_b))
    if found := differences(a, b):
        rows = _row_differences(*(read_test(run, config) for run in (run_a, run_b)))
        names = f"{run_a.name} and {run_b.name}"
        raise ProtocolError(f"{names} cannot be compared: they differ in {'; '.join([*found, *rows])}")
    return _compare(a, b, config)


def _compare(a: Evaluation, b: Evaluation, config: Evaluate) -> Comparison:
    keys = [Key(m, "macro") for m in METRICS] + [Key(m, "class", c) for m in METRICS for c in a.header.classes]
    found = {key: difference(a, b, key) for key in keys}
    corrected = dict(zip(keys, holm([found[key].p for key in keys]), strict=True))
    areas = _delong(a, b, config) if a.sample.one_row_a_patient else {}
    rows: list[Row] = [
        (metric_name(key), a.numbers[key], b.numbers[key], as_number(found[key], key, b, f"to {a.run.name}"),
         found[key].p, float(corrected[key]), areas.get(key, ""), verdict(found[key], float(corrected[key])))
        for key in keys
    ]  # fmt: skip
    right = mcnemar(a.right_rows(), b.right_rows())
    columns = ("Figure", a.run.name, b.run.name, "Difference", "p", "p (Holm)", "DeLong p", "Verdict")
    note = (
        f"Difference: {b.run.name} − {a.run.name}, paired resamples of the patients; Holm over all {len(keys)} rows. "
        + ("" if areas else "DeLong is left out: it needs one row a patient.")
    )
    table = Table("comparison", f"{b.run.name} beside {a.run.name}", columns, tuple(rows), note)
    main = found[Key("f1", "macro")]
    sentence = (
        f"{b.run.name} is {_say(verdict(main))} {a.run.name} in macro F1: difference {format_value(main.value)} "
        f"[{format_value(main.low)}, {format_value(main.high)}], p = {format_value(main.p)}; McNemar p = "
        f"{format_value(right.p)} ({right.only_b:,} rows right in {b.run.name} alone, {right.only_a:,} in {a.run.name})"
    )
    return Comparison(table, verdict(main), sentence, right)


def _say(found: Verdict) -> str:
    return {"better": "better than", "worse": "worse than"}.get(found, "not distinguishable from")


def _delong(a: Evaluation, b: Evaluation, config: Evaluate) -> dict[Key, float]:
    """Return DeLong's p value of each class's AUROC."""
    test_a, test_b = (read_test(run.run, config) for run in (a, b))
    return {
        Key("auroc", "class", label): delong(test_a.y[:, i], test_a.p[:, i], test_b.p[:, i]).p
        for i, label in enumerate(a.header.classes)
    }


def _row_differences(a: Predictions, b: Predictions) -> list[str]:
    """Return how many rows only one of two runs has, and how many of the common ones differ in their label."""
    keys_a, keys_b = (rows.fold.astype(np.int64) * (1 << 40) + rows.row for rows in (a, b))
    common, at_a, at_b = np.intersect1d(keys_a, keys_b, return_indices=True)
    only = {a.header.run: len(a) - len(common), b.header.run: len(b) - len(common)}
    found = [f"{n:,} rows only in {name}" for name, n in only.items() if n]
    if a.header.classes == b.header.classes and (n := int((a.y[at_a] != b.y[at_b]).any(axis=1).sum())):
        found.append(f"labels of {n:,} common rows")
    return found
