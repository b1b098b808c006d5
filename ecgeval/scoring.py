"""Rows to numbers: every metric of some rows with its interval, and the reason where it is undefined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgeval.header import Header
from ecgeval.metrics import (
    METRICS,
    Array,
    Counts,
    agreement,
    count,
    count_by_group,
    exact_match,
    macro,
    micro,
    ranking,
    rates,
    sample_f1,
    weighted,
    why_undefined,
)
from ecgeval.passport import Key, Number, Provenance
from ecgeval.predictions import Predictions
from ecgeval.statistics import bootstrap

Included = dict[str, NDArray[np.bool_]]  # for each metric the classes that its averages are taken over
KEPT = ("f1", "sensitivity", "auroc")  # metrics whose resamples are kept, to compare runs on equal resamples


class Scored(NamedTuple):
    """Numbers of some rows.

    Parameters
    ----------
    counts : Counts
        Of each class, shape (n_classes,).
    numbers : dict of Key to Number
        Every number.
    resampled : dict of Key to ndarray, shape (n_resamples,)
        Macro and per-class figures of the metrics of ``KEPT``, and the exact match, in each resample.
    """

    counts: Counts
    numbers: dict[Key, Number]
    resampled: dict[Key, Array]


def score_rows(rows: Predictions, predicted: NDArray[np.bool_], source: Provenance) -> Scored:
    """Return every number of some rows, with intervals from resamples of their patients.

    Parameters
    ----------
    rows : Predictions
        One prediction a row.
    predicted : ndarray of bool, shape (n, n_classes)
        Predicted labels.
    source : Provenance
        Says how many resamples and their seed.
    """
    counts, ranks = count(rows.y, predicted), ranking(rows.y, rows.p)
    of_rows = _row_values(rows.y, predicted, rows.header)
    included = included_classes(counts, ranks, rows.header)
    means = {name: np.asarray(_mean(values)) for name, values in of_rows.items()}
    values = figures_of(counts, ranks, means, rows.header, included)
    reasons = {metric: why_undefined(metric, counts) for metric in METRICS}
    numbers = {
        key: Number(key, source, float(value), reason=_reason(key, reasons.get(key.metric, []), rows.header, included))
        for key, value in values.items()
    }
    if not source.resamples:
        return Scored(counts, numbers, {})
    resampled = _resample(rows, predicted, of_rows, included, source)
    with_intervals = {key: _add_interval(number, resampled[key]) for key, number in numbers.items()}
    kept = {key: value for key, value in resampled.items() if _is_kept(key)}
    return Scored(counts, with_intervals, kept)


def figures_of(
    counts: Counts, ranks: Mapping[str, Array], of_rows: Mapping[str, Array], header: Header, included: Included
) -> dict[Key, Array]:
    """Return every number from counts and ranking metrics that may have a leading axis of resamples.

    Parameters
    ----------
    counts : Counts
        Arrays of shape (..., n_classes).
    ranks : mapping of str to ndarray, shape (..., n_classes)
        AUROC and average precision.
    of_rows : mapping of str to ndarray, shape (...)
        Means over rows, such as the share of rows with all labels right.
    header : Header
        Names the classes.
    included : dict of str to ndarray of bool, shape (n_classes,)
        For each metric the classes that its averages are taken over. Where one of them is undefined in a
        resample, so is the average, which keeps the interval about the same mean as the number.
    """
    per_class = {**rates(counts), **ranks}
    figures = {Key(name, "rows"): value for name, value in of_rows.items()}
    if header.task == "single":
        figures |= {Key(name, "rows"): value for name, value in agreement(counts).items()}
    else:
        figures[Key("hamming", "rows")] = per_class["accuracy"].mean(axis=-1)
    for metric, values in per_class.items():
        for column, label in enumerate(header.classes):
            figures[Key(metric, "class", label)] = values[..., column]
        figures[Key(metric, "macro")] = macro(values, included[metric])
        figures[Key(metric, "weighted")] = weighted(values, counts.support, included[metric])
    return figures | {Key(metric, "micro"): value for metric, value in micro(counts, header.scored).items()}


def included_classes(counts: Counts, ranks: Mapping[str, Array], header: Header) -> Included:
    """Return for each metric the scored classes that its averages are taken over: those where it is defined.

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


def macro_figures(rows: Predictions, predicted: NDArray[np.bool_]) -> dict[str, float]:
    """Return the macro means of some rows alone, without intervals, as folds and other windows are shown.

    Parameters
    ----------
    rows : Predictions
        One prediction a row.
    predicted : ndarray of bool, shape (n, n_classes)
        Predicted labels.
    """
    counts, ranks = count(rows.y, predicted), ranking(rows.y, rows.p)
    included = included_classes(counts, ranks, rows.header)
    return {metric: float(macro(v, included[metric])) for metric, v in {**rates(counts), **ranks}.items()}


def _row_values(y: NDArray[np.bool_], predicted: NDArray[np.bool_], header: Header) -> dict[str, Array]:
    values = {"exact": exact_match(y, predicted).astype(np.float64)}
    return values if header.task == "single" else values | {"sample_f1": sample_f1(y, predicted)}


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _resample(
    rows: Predictions,
    predicted: NDArray[np.bool_],
    of_rows: Mapping[str, Array],
    included: Included,
    source: Provenance,
) -> dict[Key, Array]:
    patients, patient = np.unique(rows.patient, return_inverse=True)
    n_patients = len(patients)
    by_patient = count_by_group(rows.y, predicted, patient, n_patients)
    ranked = [bootstrap.RankedClass.of(y, p, patient, n_patients) for y, p in zip(rows.y.T, rows.p.T, strict=True)]
    parts = []
    for draws in bootstrap.draws_in_parts(n_patients, source.resamples, source.resampling_seed):
        areas = [ranks.resample(draws) for ranks in ranked]
        ranks = {name: np.stack([area[i] for area in areas], axis=1) for i, name in enumerate(("auroc", "auprc"))}
        means = {name: bootstrap.resample_mean(draws, values, patient) for name, values in of_rows.items()}
        counts = bootstrap.resample_counts(draws, by_patient)
        parts.append(figures_of(counts, ranks, means, rows.header, included))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _is_kept(key: Key) -> bool:
    return (key.metric in KEPT and key.average in ("macro", "class")) or key.metric == "exact"


def _add_interval(number: Number, resampled: Array) -> Number:
    if np.isnan(number.value):
        return number
    low, high, undefined = bootstrap.percentile_interval(resampled)
    return replace(number, low=low, high=high, undefined_resamples=undefined)


def _reason(key: Key, reasons: list[str], header: Header, included: Included) -> str:
    """Return why a class has no number, or which of the scored classes a mean leaves out."""
    if key.average == "class":
        return reasons[header.classes.index(key.label)]
    if key.average in ("macro", "weighted"):
        pairs = zip(header.classes, reasons, header.scored & ~included[key.metric], strict=True)
        return "; ".join(f"{label} left out: {why}" for label, why, left_out in pairs if left_out)
    return ""
