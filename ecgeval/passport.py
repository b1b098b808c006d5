"""Numbers that know what they are: the metric and its average, the interval, and where they come from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ecgeval.metrics import EXACT_MATCH, METRICS
from ecgeval.predictions import Predictions

AVERAGES = {
    "macro": "plain mean over the scored classes",
    "micro": "counts pooled over the scored classes first",
    "weighted": "mean over the scored classes, weighted by the rows that have each",
}


class Key(NamedTuple):
    """Which number: a metric of one class, or an average of it.

    ``average`` is ``class`` (then ``label`` names it), ``macro``, ``micro``, ``weighted`` or ``rows``.
    """

    metric: str
    average: str
    label: str = ""


@dataclass(frozen=True)
class Provenance:
    """What all numbers of one run and split have in common."""

    run: str
    model: str
    split: str
    protocol: str
    leaks: tuple[str, ...]
    scheme: str
    score_classes: tuple[str, ...]
    n_rows: int
    n_records: int
    n_patients: int
    rows_digest: str
    rule: str
    windows: str
    resamples: int
    resampling_seed: int
    store: str
    store_digest: str
    synthetic: bool
    recipe_hash: str
    seed: int | None
    versions: dict[str, Any]


@dataclass(frozen=True)
class Number:
    """A number with its interval.

    Parameters
    ----------
    key : Key
        Which number it is.
    source : Provenance
        Where it comes from.
    value : float
        NaN where undefined.
    low, high : float
        Percentiles 2.5 and 97.5 over resamples of the patients; NaN without an interval.
    undefined_resamples : int
        Resamples left out of the interval since the number is undefined in them.
    reason : str
        Why the value is undefined, or which classes a mean leaves out.
    """

    key: Key
    source: Provenance
    value: float
    low: float = math.nan
    high: float = math.nan
    undefined_resamples: int = 0
    reason: str = ""

    @property
    def definition(self) -> str:
        """What the number is, in words."""
        metric, average, label = self.key
        if average == "rows":
            return EXACT_MATCH.definition
        title, formula = METRICS[metric]
        if average == "class":
            return f"{title} of {label}: {formula}"
        return f"{average} {title} over {', '.join(self.source.score_classes)} ({AVERAGES[average]}): {formula}"


def provenance(test: Predictions, rule: str, windows: str, resamples: int, seed: int) -> Provenance:
    """Return what the numbers of a run's test split have in common.

    Parameters
    ----------
    test : Predictions
        One prediction a row.
    rule : str
        How probabilities became labels.
    windows : str
        How windows became rows.
    resamples, seed : int
        Of the intervals.
    """
    header = test.header
    return Provenance(
        run=header.run,
        model=header.model,
        split="test",
        protocol=header.protocol,
        leaks=header.leaks,
        scheme=header.scheme,
        score_classes=header.score_classes,
        n_rows=len(test),
        n_records=len(test.records),
        n_patients=len(test.patients),
        rows_digest=test.digest(),
        rule=rule,
        windows=windows,
        resamples=resamples,
        resampling_seed=seed,
        store=header.store.name,
        store_digest=header.store.digest,
        synthetic=header.store.synthetic,
        recipe_hash=header.recipe_hash,
        seed=header.seed,
        versions=header.versions,
    )


def as_data(number: Number) -> dict[str, Any]:
    """Return a number with its whole passport as plain data; undefined figures are None.

    Parameters
    ----------
    number : Number
        The number.
    """
    return {
        "metric": number.key.metric,
        "average": number.key.average,
        "class": number.key.label or None,
        "value": _or_none(number.value),
        "low": _or_none(number.low),
        "high": _or_none(number.high),
        "undefined_resamples": number.undefined_resamples,
        "note": number.reason,
        "definition": number.definition,
        **asdict(number.source),
    }


def describe(number: Number) -> str:
    """Return a number's passport as a few lines of text.

    Parameters
    ----------
    number : Number
        The number.
    """
    source = number.source
    leaks = f"leaks {', '.join(source.leaks)}" if source.leaks else "no leak known"
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
    lines = [
        number.definition,
        number.reason,
        _interval(number),
        f"{source.n_rows:,} rows, {source.n_records:,} records of {source.n_patients:,} patients",
        f"{source.split} of {source.protocol} ({leaks}), labels {source.scheme}",
        f"rows and labels {source.rows_digest[:12]}, windows by {source.windows}; {source.rule}",
        f"store {source.store} {source.store_digest[:12]}{' SYNTHETIC' if source.synthetic else ''}",
        f"run {source.run}, recipe {source.recipe_hash[:12]}, seed {source.seed}; {versions}",
    ]
    return "\n".join(line for line in lines if line)


def _interval(number: Number) -> str:
    if math.isnan(number.low):
        return "no interval"
    interval = f"{number.low:.4f}–{number.high:.4f}"
    text = f"95 % interval {interval}: {number.source.resamples} resamples of the patients"
    left_out = f", undefined in {number.undefined_resamples}" if number.undefined_resamples else ""
    return f"{text}, seed {number.source.resampling_seed}{left_out}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
