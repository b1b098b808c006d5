"""Which runs may be ranked together, and what differs between those that may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecgeval.evaluation import Evaluation

NAMES = {
    "task": "task",
    "scheme": "labels",
    "classes": "classes",
    "score_classes": "scored classes",
    "protocol": "protocol",
    "leaks": "leaks",
}


def group_comparable(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Return runs in groups that may be ranked: same rows, labels, scored classes and protocol.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        In order of finishing.

    Returns
    -------
    list of list of Evaluation
        The group of the last run comes first; inside a group, the order given.
    """
    groups: dict[tuple[Any, ...], list[Evaluation]] = {}
    for evaluation in evaluations:
        key = _key(evaluation)
        groups[key] = [*groups.pop(key, []), evaluation]  # a group moves to the end with each run that joins it
    return list(reversed(groups.values()))


def differences(a: Evaluation, b: Evaluation) -> list[str]:
    """Return what keeps two runs from being ranked together, in words; empty where nothing does.

    Parameters
    ----------
    a, b : Evaluation
        The runs.
    """
    found = [
        f"{words} ({_say(getattr(a.header, name))} and {_say(getattr(b.header, name))})"
        for name, words in NAMES.items()
        if getattr(a.header, name) != getattr(b.header, name)
    ]
    if a.header.store.rows_digest != b.header.store.rows_digest:
        found.append(f"rows of the store ({a.header.store.name} and {b.header.store.name})")
    if a.sample.n_rows != b.sample.n_rows:
        found.append(f"number of test rows ({a.sample.n_rows:,} and {b.sample.n_rows:,})")
    elif not found and a.sample.digest != b.sample.digest:
        found.append("rows, labels or patients of the test split, which are equally many")
    return found


def _key(evaluation: Evaluation) -> tuple[Any, ...]:
    header = evaluation.header
    return (*(getattr(header, name) for name in NAMES), header.store.rows_digest, evaluation.sample.digest)


def _say(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
