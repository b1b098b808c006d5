"""Figures as the field's benchmarks compute them, so that they stand beside published ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecgeval.metrics import Array, fmax, ranking
from ecgeval.passport import Key, Number, Provenance
from ecgeval.predictions import Predictions
from ecgeval.statistics import bootstrap

PTBXL = "ptbxl/"
RECORDS = "90 % interval (percentiles 5 and 95), resamples of the records that hold every class"
CINC2017_SCORED = ("N", "A", "O")  # normal, atrial fibrillation, other; the noisy class is not in the score


def cinc2017_score(f1: Mapping[str, Array | float]) -> Array:
    """Return the score of the PhysioNet/CinC Challenge 2017: the mean of three of its four F1.

    Parameters
    ----------
    f1 : mapping of str to float or ndarray
        F1 of each class, counted over all four.

    References
    ----------
    Clifford GD et al. AF classification from a short single lead ECG recording. Computing in Cardiology 44 (2017).
    """
    scored = np.stack([np.asarray(f1[label], np.float64) for label in CINC2017_SCORED])
    return np.asarray(scored.mean(axis=0))


def is_ptbxl(rows: Predictions) -> bool:
    """Return whether all rows are of PTB-XL and of a multi-label task, as in its benchmark."""
    return rows.header.task == "multi" and all(name.startswith(PTBXL) for name in rows.records)


def ptbxl_numbers(rows: Predictions, source: Provenance) -> dict[Key, Number]:
    """Return macro AUROC with the interval of the PTB-XL benchmark, and the record-centric Fmax.

    Parameters
    ----------
    rows : Predictions
        One prediction a record.
    source : Provenance
        Says how many resamples and their seed.

    References
    ----------
    Strodthoff N et al. Deep learning for ECG analysis: benchmarks and insights from PTB-XL. IEEE JBHI 25 (2021).
    """
    value = ranking(rows.y, rows.p)["auroc"].mean()
    numbers = {
        Key("auroc", "benchmark"): Number(Key("auroc", "benchmark"), source, float(value), interval=RECORDS),
        Key("fmax", "rows"): Number(Key("fmax", "rows"), source, fmax(rows.y, rows.p)),
    }
    if np.isnan(value) or not source.resamples:
        return numbers
    draws = bootstrap.draw_records_with_every_class(
        rows.y, source.resamples, np.random.default_rng(source.resampling_seed)
    )
    resampled = bootstrap.resample_ranking(draws, rows.y, rows.p, np.arange(len(rows)))["auroc"].mean(axis=1)
    low, high, _ = bootstrap.percentile_interval(resampled, bootstrap.BENCHMARK_QUANTILES)
    key = Key("auroc", "benchmark")
    return numbers | {key: Number(key, source, float(value), low, high, interval=RECORDS)}
