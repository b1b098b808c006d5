"""Which epoch of a run, and which run of several, validation finds best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def badness(entry: Mapping[str, Any]) -> float:
    """Return the watched score of an epoch's entry so that less is better; infinity where it is undefined."""
    watched = str(entry["watched"])
    if watched == "validation_loss":
        return float(entry["validation_loss"])
    if ":" in watched:
        kind, _, name = watched.partition(":")
        value = entry["per_class"][name][kind]
    else:
        value = entry["validation"][watched.removeprefix("macro_")]
    return math.inf if value is None else -float(value)


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the best epoch of a history; of those that score alike, as perfect ones do, the one of least loss."""
    ranks = [(badness(entry), entry["validation_loss"], i) for i, entry in enumerate(history)]
    return min(ranks)[2]
