"""A run's test predictions scored: every number with its interval, and the reason where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecgeval import intervals
from ecgeval.config import Evaluate
from ecgeval.metrics import (
    METRICS,
    Array,
    Counts,
    count,
    count_by_group,
    exact_match,
    macro,
    micro,
    predict_classes,
    predict_labels,
    ranking,
    rates,
    weighted,
    why_undefined,
)
from ecgeval.passport import Key, Number, Provenance, provenance
from ecgeval.predictions import Header, Predictions, combine_windows
from ecgeval.runs import Run

Included = dict[str, NDArray[np.bool_]]  # for each metric the classes that its averages are taken over


@dataclass(frozen=True)
class Evaluation:
    """One run, scored on its test split.

    Parameters
    ----------
    run : Run
        The run.
    test : Predictions
        Its test predictions, one a row of the store.
    predicted : ndarray of bool, shape (n, n_classes)
        Predicted labels.
    thresholds : ndarray of float64, shape (n_classes,), or None
        Thresholds of a multi-label task.
    rule : str
        How probabilities became labels, in words.
    counts : Counts
        Of each class, shape (n_classes,).
    numbers : dict of Key to Number
        Every number.
    at_half : dict of Key to Number
        The same without intervals at a threshold of 0.5; empty for a single-label task.
    validation_f1 : float
        Macro F1 on validation by the same rule; NaN where the run has no validation predictions.
    """

    run: Run
    test: Predictions
    predicted: NDArray[np.bool_]
    thresholds: Array | None
    rule: str
    counts: Counts
    numbers: dict[Key, Number]
    at_half: dict[Key, Number]
    validation_f1: float

    @property
    def header(self) -> Header:
        """The footer of the run's test predictions."""
        return self.test.header

    def of(self, metric: str, average: str = "macro", label: str = "") -> Number:
        """Return one number."""
        return self.numbers[Key(metric, average, label)]


def evaluate(run: Run, config: Evaluate) -> Evaluation:
    """Return a run's numbers on its test split, with intervals.

    Parameters
    ----------
    run : Run
        The run.
    config : Evaluate
        How to score.
    """
    test = combine_windows(run.test, config.window)
    thresholds, rule = _decision_rule(run, config)
    predicted = _predict(test.p, thresholds)
    counts, ranks = count(test.y, predicted), ranking(test.y, test.p)
    return Evaluation(
        run=run,
        test=test,
        predicted=predicted,
        thresholds=thresholds,
        rule=rule,
        counts=counts,
        numbers=_with_intervals(test, predicted, counts, ranks, config, rule),
        at_half=_at_half(test, ranks, config) if thresholds is not None else {},
        validation_f1=_validation_f1(run, thresholds, config),
    )


def figures_of(
    counts: Counts, ranks: Mapping[str, Array], exact: Array, header: Header, included: Included
) -> dict[Key, Array]:
    """Return every number from counts and ranking metrics that may have a leading axis of resamples.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (..., n_classes).
    ranks : mapping of str to ndarray, shape (..., n_classes)
        AUROC and average precision.
    exact : ndarray, shape (...)
        Share of rows with all labels right.
    header : Header
        Names the classes.
    included : dict of str to ndarray of bool, shape (n_classes,)
        For each metric the classes that its averages are taken over. Where one of them is undefined in a
        resample, so is the average, which keeps the interval about the same mean as the number.
    """
    per_class = {**rates(counts), **ranks}
    figures = {Key("exact", "rows"): exact}
    for metric, values in per_class.items():
        for column, label in enumerate(header.classes):
            figures[Key(metric, "class", label)] = values[..., column]
        figures[Key(metric, "macro")] = macro(values, included[metric])
        figures[Key(metric, "weighted")] = weighted(values, counts.support, included[metric])
    figures |= {Key(metric, "micro"): value for metric, value in micro(counts, header.scored).items()}
    return figures


def included_classes(counts: Counts, ranks: Mapping[str, Array], header: Header) -> Included:
    """Return for each metric the scored classes that its averages are taken over.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (n_classes,).
    ranks : mapping of str to ndarray, shape (n_classes,)
        AUROC and average precision.
    header : Header
        Names the scored classes.
    """
    return {metric: header.scored & ~np.isnan(value) for metric, value in {**rates(counts), **ranks}.items()}


def _with_intervals(
    test: Predictions,
    predicted: NDArray[np.bool_],
    counts: Counts,
    ranks: dict[str, Array],
    config: Evaluate,
    rule: str,
) -> dict[Key, Number]:
    header = test.header
    included = included_classes(counts, ranks, header)
    exact = exact_match(test.y, predicted)
    n_resamples = config.bootstrap if len(test.patients) > 1 else 0
    source = provenance(test, rule, config.window, n_resamples, config.seed)
    numbers = _numbers(counts, ranks, exact, included, test, source)
    if not n_resamples:
        return numbers
    draws = intervals.draw_patients(len(test.patients), n_resamples, np.random.default_rng(config.seed))
    resampled = figures_of(
        intervals.resample_counts(draws, count_by_group(test.y, predicted, test.patient, len(test.patients))),
        intervals.resample_ranking(draws, test.y, test.p, test.patient),
        intervals.resample_mean(draws, exact, test.patient),
        header,
        included,
    )
    return {key: _add_interval(number, resampled[key]) for key, number in numbers.items()}


def _add_interval(number: Number, resampled: Array) -> Number:
    if np.isnan(number.value):
        return number
    low, high, undefined = intervals.percentile_interval(resampled)
    return replace(number, low=low, high=high, undefined_resamples=undefined)


def _numbers(
    counts: Counts,
    ranks: dict[str, Array],
    exact: NDArray[np.bool_],
    included: Included,
    test: Predictions,
    source: Provenance,
) -> dict[Key, Number]:
    header = test.header
    values = figures_of(counts, ranks, exact.mean(), header, included)
    reasons = {metric: why_undefined(metric, counts) for metric in METRICS}
    return {
        key: Number(key, source, float(value), reason=_reason(key, reasons.get(key.metric, []), header, included))
        for key, value in values.items()
    }


def _reason(key: Key, reasons: list[str], header: Header, included: Included) -> str:
    """Return why a class has no number, or which of the scored classes a mean leaves out."""
    if key.average == "class":
        return reasons[header.classes.index(key.label)]
    if key.average in ("macro", "weighted"):
        pairs = zip(header.classes, reasons, header.scored & ~included[key.metric], strict=True)
        return "; ".join(f"{label} left out: {why}" for label, why, left_out in pairs if left_out)
    return ""


def _decision_rule(run: Run, config: Evaluate) -> tuple[Array | None, str]:
    header = run.header
    if header.task == "single":
        return None, "the most probable class"
    if config.threshold == "calibrated" and run.thresholds:
        return np.array([run.thresholds[label] for label in header.classes]), "thresholds fitted on validation"
    why = "" if config.threshold == "0.5" else " (the run has no fitted thresholds)"
    return np.full(len(header.classes), 0.5), f"threshold 0.5{why}"


def _predict(p: Array, thresholds: Array | None) -> NDArray[np.bool_]:
    return predict_classes(p) if thresholds is None else predict_labels(p, thresholds)


def _at_half(test: Predictions, ranks: dict[str, Array], config: Evaluate) -> dict[Key, Number]:
    predicted = predict_labels(test.p)
    counts = count(test.y, predicted)
    source = provenance(test, "threshold 0.5", config.window, 0, config.seed)
    included = included_classes(counts, ranks, test.header)
    return _numbers(counts, ranks, exact_match(test.y, predicted), included, test, source)


def _validation_f1(run: Run, thresholds: Array | None, config: Evaluate) -> float:
    if run.validation is None:
        return float("nan")
    rows = combine_windows(run.validation, config.window)
    counts = count(rows.y, _predict(rows.p, thresholds))
    return float(macro(rates(counts)["f1"], included_classes(counts, {}, run.header)["f1"]))
