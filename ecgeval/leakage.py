"""The leakage meter: the same model under a protocol that leaks and one that keeps patients apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from ecgeval.errors import ProtocolError
from ecgeval.evaluation import Evaluation

ALIKE = {"model": "model", "input": "input", "leads": "leads", "scheme": "labels", "classes": "classes"}


def pair_protocols(a: Evaluation, b: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Return the run whose protocol leaks more and the other, in this order.

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
    return (a, b) if leaks_more(a, b) else (b, a)


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
    return list(pairs.values())


def leaks_more(a: Evaluation, b: Evaluation) -> bool:
    """Return whether a's protocol leaks all that b's does, and something besides."""
    return set(a.header.leaks) > set(b.header.leaks)


def _differ(a: Evaluation, b: Evaluation, name: str) -> bool:
    return bool(getattr(a.header, name) != getattr(b.header, name))


def _say(run: Evaluation, name: str) -> str:
    value = getattr(run.header, name)
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
