"""Numbers that know what they are: the metric and its average, the interval, and where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from ecgeval.header import Header
from ecgeval.metrics import METRICS, OF_ROWS

AVERAGES = {
    "macro": "plain mean over the scored classes",
    "micro": "counts pooled over the scored classes first",
    "weighted": "mean over the scored classes, weighted by the rows that have each",
}
BESIDE_EACH_NUMBER = (
    "run", "split", "protocol", "leaks", "n_rows", "n_records", "n_patients", "split_digest", "data_version",
    "store_digest", "rows_digest", "recipe_hash", "seed",
)  # fmt: skip
PATIENTS = "95 % interval, resamples of the patients"


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
    leads: tuple[str, ...]
    n_rows: int
    n_records: int
    n_patients: int
    split_digest: str
    rule: str
    windows: str
    resamples: int
    resampling_seed: int
    data_version: str
    store: str
    store_digest: str
    rows_digest: str
    synthetic: bool
    recipe_hash: str
    seed: int | None
    commit: str
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
        Ends of its interval; NaN without one.
    undefined_resamples : int
        Resamples left out of the interval since the number is undefined in them.
    reason : str
        Why the value is undefined, or which classes a mean leaves out.
    interval : str
        What the interval is.
    """

    key: Key
    source: Provenance
    value: float
    low: float = math.nan
    high: float = math.nan
    undefined_resamples: int = 0
    reason: str = ""
    interval: str = PATIENTS

    @property
    def definition(self) -> str:
        """What the number is, in words."""
        metric, average, label = self.key
        if average == "rows":
            return f"{OF_ROWS[metric].title}: {OF_ROWS[metric].definition}"
        if average == "benchmark":
            return "macro AUC-ROC over all classes, as the PTB-XL benchmark gives it"
        title, formula = METRICS[metric]
        if average == "difference":
            return f"difference in {title} ({label}): {formula}"
        if average == "class":
            return f"{title} of {label}: {formula}"
        return f"{average} {title} over {', '.join(self.source.score_classes)} ({AVERAGES[average]}): {formula}"


@dataclass(frozen=True)
class Sample:
    """What was scored.

    Parameters
    ----------
    n_rows, n_records, n_patients : int
        Sizes.
    digest : str
        SHA-256 of rows, folds, records, patients and labels.
    most_windows : int
        Of how many predictions a row was made, at most.
    one_row_a_patient : bool
        Whether rows are independent.
    """

    n_rows: int
    n_records: int
    n_patients: int
    digest: str
    most_windows: int = 1
    one_row_a_patient: bool = False


def provenance(
    header: Header, sample: Sample, rule: str, windows: str, resamples: int, seed: int, commit: str = ""
) -> Provenance:
    """Return what the numbers of a run's test split have in common.

    Parameters
    ----------
    header : Header
        Of the predictions file.
    sample : Sample
        What was scored.
    rule : str
        How probabilities became labels.
    windows : str
        How windows became rows.
    resamples, seed : int
        Of the intervals.
    commit : str
        Of the code that trained the run.
    """
    shared = (
        "run",
        "model",
        "protocol",
        "leaks",
        "scheme",
        "score_classes",
        "leads",
        "recipe_hash",
        "seed",
        "versions",
    )
    store = header.store
    return Provenance(
        **{name: getattr(header, name) for name in shared},
        split="test",
        n_rows=sample.n_rows,
        n_records=sample.n_records,
        n_patients=sample.n_patients,
        split_digest=sample.digest,
        rule=rule,
        windows=windows,
        resamples=resamples,
        resampling_seed=seed,
        data_version=data_version(header),
        store=store.name,
        store_digest=store.digest,
        rows_digest=store.rows_digest,
        synthetic=store.synthetic,
        commit=commit,
    )


def data_version(header: Header) -> str:
    """Return the databases of the data card with their versions, such as ``mitdb 1.0.0``."""
    return ", ".join(f"{about.get('name', '?')} {about.get('version', '?')}" for about in databases(header))


def databases(header: Header) -> list[dict[str, Any]]:
    """Return what the data card says of each database, ``name`` among it."""
    listed = header.card.get("databases") or []
    if isinstance(listed, dict):
        return [{"name": name, **about} for name, about in listed.items()]
    return [about for about in listed if isinstance(about, dict)]


def as_data(number: Number) -> dict[str, Any]:
    """Return a number with its passport as plain data; undefined figures are None.

    Versions, scored classes and the other long fields of its source stand once, in its run's ``passport``.

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
        "interval": number.interval if not math.isnan(number.low) else None,
        "undefined_resamples": number.undefined_resamples,
        "note": number.reason,
        "definition": number.definition,
        **{name: getattr(number.source, name) for name in BESIDE_EACH_NUMBER},
    }


def describe(number: Number) -> str:
    """Return what is a number's own in its passport, as a few lines of text; `origin` says the rest.

    Parameters
    ----------
    number : Number
        The number.
    """
    return "\n".join(line for line in (number.definition, number.reason, _interval(number)) if line)


def origin(source: Provenance) -> str:
    """Return where numbers come from, as a few lines of text: what the numbers of a run and split have in common.

    Parameters
    ----------
    source : Provenance
        Of a number.
    """
    leaks = f"leaks {', '.join(source.leaks)}" if source.leaks else "no leak known"
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items() if version)
    lines = [
        f"{source.n_rows:,} rows, {source.n_records:,} records of {source.n_patients:,} patients",
        f"{source.split} of {source.protocol} ({leaks}), labels {source.scheme}",
        f"windows by {source.windows}; {source.rule}",
        f"intervals: {source.resamples:,} resamples, seed {source.resampling_seed}" if source.resamples else "",
        f"data {source.data_version or 'of no stated version'}; split digest {source.split_digest[:12]}",
        f"store {source.store}, digest {source.store_digest[:12]}{', SYNTHETIC' if source.synthetic else ''}",
        f"run {source.run}, recipe {source.recipe_hash[:12]}, seed {source.seed}, commit {source.commit[:12] or '?'}",
        versions,
    ]
    return "\n".join(line for line in lines if line)


def _interval(number: Number) -> str:
    if math.isnan(number.low):
        return "no interval"
    left_out = f", undefined in {number.undefined_resamples} resamples" if number.undefined_resamples else ""
    return f"{number.interval}: {number.low:.4f}–{number.high:.4f}{left_out}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
