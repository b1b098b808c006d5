"""What a run was trained on, for those that start from its weights: how much of it, and whose recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgtrain.config import RunConfig
from ecgtrain.items import known_rows
from ecgtrain.loader import Loaders
from ecgtrain.run_folder import RunFolder
from ecgtrain.samplers import Rows
from store.read import Store
from store.vocabulary import TRAIN

FILE = "trained_on.json"
PATIENT_LEAK = "patient"


def trained_on(
    config: RunConfig, store: Store, data: Loaders, run: str, past: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a run is trained on, as plain data.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    store : Store
        Its store.
    data : Loaders
        Its rows.
    run : str
        Its name.
    past : mapping, optional
        What the weights that it starts from were trained on.

    Returns
    -------
    dict
        ``run``, ``objective`` (the label scheme), ``fraction`` of the database's patients, and ``patients``: all whose
        rows were trained on or chose the best epoch, here and in the past.
    """
    rows = np.concatenate([data.train.rows, data.validation.rows])
    patients = set(_patients(store, rows).tolist()).union((past or {}).get("patients", ()))
    return {
        "run": run,
        "objective": data.label.scheme,
        "fraction": _fraction(config, store, data),
        "patients": sorted(patients),
    }


def past_of(run: RunFolder) -> dict[str, Any] | None:
    """Return what a run was trained on; None where it does not say."""
    return run.read_json(FILE) if (run.path / FILE).is_file() else None


def pretraining_note(config: RunConfig, past: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a predictions file says of a run's start: a fraction of 0 is a random one; None is unknown."""
    if config.init_from is None:
        return {"fraction": 0.0} if config.pretrained is None else None
    return None if past is None else {key: past[key] for key in ("fraction", "objective", "run")}


def with_leaks(data: Loaders, store: Store, past: Mapping[str, Any]) -> Loaders:
    """Return loaders whose protocol says that it leaks, if the past of the weights holds patients of the test."""
    seen = np.isin(_patients(store, data.test.rows), past.get("patients", ()))
    if not seen.any():
        return data
    n_patients = len(np.unique(_patients(store, data.test.rows)[seen]))
    note = f"{n_patients} patients of the test were trained on by {past['run']}, whose weights this run starts from"
    notes = [one for one in (data.split.leak_note, note) if one]
    leaks = tuple(dict.fromkeys([*data.split.leaks, PATIENT_LEAK]))
    return replace(data, split=replace(data.split, leaks=leaks, leak_note="; ".join(notes)))


def _patients(store: Store, rows: Rows) -> NDArray[Any]:
    if "patient" not in store.columns:
        return np.array([""] * len(rows), dtype=str)
    return np.asarray(store.column("patient")[rows], dtype=str)


def _fraction(config: RunConfig, store: Store, data: Loaders) -> float:
    """Return the share that build and run asked for; of a range the share of the store's training patients."""
    built = (store.attributes.get("recipe") or {}).get("patients")
    asked = [which for which in (built, config.patients) if which is not None]
    shares = [float(which.strip()[:-1]) / 100 for which in asked if which.strip().endswith("%")]
    if len(shares) < len(asked):
        there = known_rows(data.split, data.label, TRAIN)
        shares.append(len(np.unique(_patients(store, data.train.rows))) / len(np.unique(_patients(store, there))))
    return min(shares, default=1.0)
