"""Models that are fitted at once: the baselines of every report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecgtrain.config import FUTURE, LossConfig, RunConfig
from ecgtrain.distributed import this_world
from ecgtrain.loader import Loader, Loaders
from ecgtrain.losses import class_shares, make_loss
from ecgtrain.models.baselines import FittedModel
from ecgtrain.models.registry import model_facts
from ecgtrain.predicting import predict_logits, probabilities
from ecgtrain.run_folder import FINISHED, RunFolder, list_runs
from ecgtrain.scores import Scores, plain, score
from store.errors import UserError
from store.read import Store

BASELINES = ("class_prior", "boosting", "random_encoder")
KEPT_KEYS = {"protocol", "scheme", "channels", "fold", "folds", "device", "placement", "store"}
NOT_COMPARED = {"name", "store", "device", "placement"}


def baseline_configs(configs: Sequence[RunConfig], store: Store, runs: Path) -> list[RunConfig]:
    """Return a run of each baseline for each set of rows that some runs are trained on, but for those that are done.

    Parameters
    ----------
    configs : sequence of RunConfig
        The runs, resolved.
    store : Store
        What they are trained on.
    runs : Path
        Folder of the runs that are there.
    """
    done = [run for run in list_runs(runs) if run.state == FINISHED]
    wanted: list[RunConfig] = []
    for config in (config for config in configs if config.scheme != FUTURE):  # they fit no frames
        kept = config.model_dump(include=KEPT_KEYS)
        for name in BASELINES:
            one = RunConfig.model_validate({**model_facts(name).settings, "model": name, **kept})
            if name not in {other.model for other in configs} and one not in wanted and not _is_done(one, store, done):
                wanted.append(one)
    return wanted


def _is_done(config: RunConfig, store: Store, runs: Sequence[RunFolder]) -> bool:
    same = _compared(config.model_dump(mode="json"))
    return any(
        run.name.startswith(config.model)
        and _compared(run.config_data()) == same
        and run.read_json("environment.json")["store"]["rows_digest"] == store.rows_digest
        for run in runs
    )


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in NOT_COMPARED}


def fit(model: FittedModel, data: Loaders) -> dict[str, Any]:
    """Fit a model on the training rows and return its only entry of a run's history.

    Parameters
    ----------
    model : FittedModel
        The model.
    data : Loaders
        The rows.

    Raises
    ------
    UserError
        If several processes train.
    """
    if this_world().size > 1:
        raise UserError("a baseline is fitted by one process: start it without torchrun")
    started = time.monotonic()
    model.to(data.train.device).eval()
    model.fit(*_numbers(model, data.train))
    train_loss, _ = _judge(model, data, data.train)
    validation_loss, scores = _judge(model, data, data.validation)
    score_classes = [data.label.classes.index(name) for name in data.split.score_classes]
    return {
        "epoch": 0,
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "watched": "nothing",
        "learning_rate": 0.0,
        "seconds": round(time.monotonic() - started, 3),
        "validation": plain(scores.macro(score_classes)),
        "per_class": {
            name: plain({"f1": float(scores.f1[c]), "auroc": float(scores.auroc[c])})
            for c, name in enumerate(data.label.classes)
        },
    }


def _numbers(model: FittedModel, loader: Loader) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the model makes of all rows of a loader, and the shares of their classes."""
    numbers, shares = [], []
    with torch.inference_mode():
        for batch in loader.in_order():
            numbers.append(model.describe(**batch.inputs))
            shares.append(class_shares(batch.target, loader.n_classes).cpu().numpy())
    return np.concatenate(numbers), np.concatenate(shares)


def _judge(model: FittedModel, data: Loaders, part: Loader) -> tuple[float, Scores]:
    """Return the mean loss without weights, and the scores, on one part of the rows."""
    multilabel = data.label.multilabel
    logits = predict_logits(model, part, part.device).mean(axis=1)
    shares = class_shares(part.target, part.n_classes)
    loss = make_loss(data.train.target, part.n_classes, LossConfig(), "none").mean(torch.from_numpy(logits), shares)
    return float(loss), score(shares.numpy() == 1, probabilities(logits, multilabel=multilabel), multilabel=multilabel)
