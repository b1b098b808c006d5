"""The leakage meter: the same model under a protocol that leaks and one that keeps patients apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from ecgeval.errors import ProtocolError
from ecgeval.evaluation import Evaluation
from ecgeval.passport import Key, Number
from ecgeval.scoring import KEPT
from ecgeval.statistics.bootstrap import percentile_interval

ALIKE = {"model": "model", "input": "input", "leads": "leads", "scheme": "labels", "classes": "classes"}


def pair_protocols(a: Evaluation, b: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return the run whose protocol leaks more and the other, in this order, macro means over the same classes.

    Parameters
    ----------
    a, b : Evaluation
        Two runs.

    Raises
    ------
    ProtocolError
        If neither leaks all that the other does and more, or they differ in model, input, leads or labels.
    """
    if not leaks_more(a, b) and not leaks_more(b, a):
        names = " and ".join(f"{run.run.name} ({run.header.protocol}, leaks: {_say(run, 'leaks')})" for run in (a, b))
        raise ProtocolError(f"{names}: one has to leak more than the other, such as intrapatient and interpatient")
    differ = [f"{words} ({_say(a, name)} and {_say(b, name)})" for name, words in ALIKE.items() if _differ(a, b, name)]
    if differ:
        raise ProtocolError(f"{a.run.name} and {b.run.name} are not one model: they differ in {'; '.join(differ)}")
    return over_the_same_classes(*((a, b) if leaks_more(a, b) else (b, a)))


def find_pairs(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, Evaluation]]:
    """Return each run with one of the same model whose protocol leaks less, the first of each where there are more.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Runs of any protocols, the ones to prefer first.
    """
    pairs: dict[tuple[Any, ...], tuple[Evaluation, Evaluation]] = {}
    for run, other in product(evaluations, evaluations):
        if leaks_more(run, other) and not any(_differ(run, other, name) for name in ALIKE):
            key = (*(getattr(run.header, name) for name in ALIKE), run.header.protocol, other.header.protocol)
            pairs.setdefault(key, (run, other))
    return [over_the_same_classes(*pair) for pair in pairs.values()]


def over_the_same_classes(a: Evaluation, b: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return two runs whose macro means are over the classes that both score and that are defined in both.

    Protocols may score different classes, as interpatient leaves Q apart; that is no leak and must not look like one.

    Parameters
    ----------
    a, b : Evaluation
        Runs of equal classes.
    """
    for metric in KEPT:
        scored = (label for label in a.header.score_classes if label in b.header.score_classes)
        keys = [Key(metric, "class", label) for label in scored]
        keys = [key for key in keys if not any(math.isnan(run.numbers[key].value) for run in (a, b))]
        a, b = _with_macro(a, metric, keys), _with_macro(b, metric, keys)
    return a, b


def _with_macro(run: Evaluation, metric: str, keys: list[Key]) -> Evaluation:
    """Return a run whose macro mean of a metric is that of some of its numbers."""
    key = Key(metric, "macro")
    source = replace(run.source, score_classes=tuple(one.label for one in keys))
    number = Number(key, source, math.nan, reason="no class is scored and defined under both protocols")
    if not keys:
        return replace(run, numbers=run.numbers | {key: number})
    number = replace(number, value=float(np.mean([run.numbers[one].value for one in keys])), reason="")
    if key not in run.resampled:
        return replace(run, numbers=run.numbers | {key: number})
    resampled = np.mean([run.resampled[one] for one in keys], axis=0)
    low, high, undefined = percentile_interval(resampled)
    number = replace(number, low=low, high=high, undefined_resamples=undefined)
    return replace(run, numbers=run.numbers | {key: number}, resampled=run.resampled | {key: resampled})


def leaks_more(a: Evaluation, b: Evaluation) -> bool:
    """Return whether a's protocol leaks all that b's does, and something besides."""
    return set(a.header.leaks) > set(b.header.leaks)


def _differ(a: Evaluation, b: Evaluation, name: str) -> bool:
    return bool(getattr(a.header, name) != getattr(b.header, name))


def _say(run: Evaluation, name: str) -> str:
    value = getattr(run.header, name)
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
