"""RR intervals beside a beat: how early it came, against the record so far and in seconds.

Supraventricular beats differ from normal ones by their timing above all. Ratios to the record's own rhythm miss them
where they are the rule (record 232 of MIT-BIH), so the intervals themselves and those of the neighbouring beats
stand beside the ratios.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from store.read import Store

COLUMNS = ("rr_prev_s", "rr_next_s", "record")
LAST_BEATS = 10
FEATURES = (
    "log_rr_prev",
    "log_rr_next",
    "log_rr_before_prev",
    "log_rr_after_next",
    "log_rr_prev_to_mean_of_last_10",
    "log_rr_prev_to_median_so_far",
    "log_rr_next_to_prev",
)


LOOK_AHEAD = ("log_rr_next", "log_rr_after_next", "log_rr_next_to_prev")


def names_of(features: str) -> tuple[str, ...]:
    """Return the names of the features that ``rr``, ``auto`` or ``rr_past`` stands for."""
    return tuple(name for name in FEATURES if features != "rr_past" or name not in LOOK_AHEAD)


def has_rr(store: Store) -> bool:
    """Tell whether a store's rows are beats with RR intervals."""
    return set(COLUMNS) <= set(store.columns)


def rr_features(columns: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """Return the timing of each beat.

    The mean and the median look back only; ``log_rr_next…`` and ``log_rr_after_next`` look ahead.

    Parameters
    ----------
    columns : mapping
        ``rr_prev_s`` and ``rr_next_s``, in seconds, NaN where there is no such beat, and ``record``, each of shape
        (n_beats,), sorted by record, then time.

    Returns
    -------
    ndarray of float32, shape (n_beats, len(FEATURES))
        Logarithms of seconds or of ratios; NaN where a beat is missing.
    """
    prev = pd.Series(np.asarray(columns["rr_prev_s"], dtype=np.float64))
    following = pd.Series(np.asarray(columns["rr_next_s"], dtype=np.float64))
    prev, following = prev.where(prev > 0), following.where(following > 0)
    record = np.asarray(columns["record"])
    by_record = prev.groupby(record, sort=False)
    before = by_record.shift(1)
    is_next = np.isclose(following.groupby(record, sort=False).shift(1), prev)  # no beat between was left out
    past = before.groupby(record, sort=False)
    last_mean = past.rolling(LAST_BEATS, min_periods=1).mean().to_numpy()
    median_so_far = past.expanding(min_periods=1).median().to_numpy()
    after = following.groupby(record, sort=False).shift(-1).where(np.append(is_next[1:], False))
    features = [prev, following, before.where(is_next), after, prev / last_mean, prev / median_so_far, following / prev]
    seconds_and_ratios = np.stack([np.asarray(feature, dtype=np.float32) for feature in features], axis=1)
    return np.log(seconds_and_ratios)
