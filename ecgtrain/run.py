"""One run: from a configuration and a store to a folder with weights, history and predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgtrain.config import CONTEXT, SIGNAL, RunConfig
from ecgtrain.curves import draw_curves
from ecgtrain.distributed import this_world
from ecgtrain.environment import code_state, devices, versions
from ecgtrain.loader import Loader, Loaders, loaders
from ecgtrain.loop import Trained, one_hot, pick_device, predict_logits, probabilities, train
from ecgtrain.models import create_model
from ecgtrain.predictions import PREDICTIONS_SCHEMA, predictions_table, write_predictions
from ecgtrain.run_folder import FAILED, FINISHED, RUNNING, RunFolder, silent_log
from ecgtrain.scores import best_threshold
from ecgtrain.tracking import RunListener, Watch, describe_scores
from pipelines.recipe import recipe_hash
from store.errors import EcgError, UserError
from store.read import Store

NOT_IN_HASH = {"name", "store", "device", "placement"}


def execute(config: RunConfig, store: Store, folder: RunFolder, watch: Watch | None = None) -> bool:
    """Train one run in its folder, or go on with it, and write what came of it.

    A failure is written to the run's log and state and does not reach the caller, whose other runs go on.

    Parameters
    ----------
    config : RunConfig
        The resolved configuration.
    store : Store
        Its store.
    folder : RunFolder
        Its folder.
    watch : callable, optional
        Shows the progress of a pass; see `ecgtrain.loop.train`.

    Returns
    -------
    bool
        Whether the run finished.
    """
    first = this_world().first
    with folder.log() if first else nullcontext(silent_log()) as log:
        try:
            _execute(config, store, folder, log, watch)
        except KeyboardInterrupt:
            log.warning("interrupted; go on with: ecgtrain run --resume %s", folder.name)
            raise
        except EcgError as error:
            log.error("%s failed: %s", folder.name, " ".join(str(error).split()))  # noqa: TRY400 - a person's line
        except Exception:
            log.exception("%s failed", folder.name)
            if this_world().size > 1:
                raise  # the other processes may not have failed: all have to stop
        else:
            return True
        if first:
            folder.set_state(FAILED)
        return False


def _execute(config: RunConfig, store: Store, folder: RunFolder, log: logging.Logger, watch: Watch | None) -> None:
    first = this_world().first
    if first:
        _open(config, store, folder)
    data = loaders(
        store,
        config.inputs,
        config.protocol,
        config.batch_size,
        channels=config.channels,
        features=config.features,
        context=config.context,
        standardise=config.standardise,
        placement=config.placement,
    )
    torch.manual_seed(config.seed)
    model = create_model(config.model, **vars(data.shape))
    _introduce(log, folder, config, store, data, model)

    if not first:
        trained = train(model, data, config, folder.checkpoints)
        predict_parts(config, data, trained.model)
        return
    folder.write_json("preprocessing.json", data.preprocessing)
    listener = RunListener(folder, config, log, watch)
    trained = train(model, data, config, folder.checkpoints, listener=listener)
    listener.close()
    draw_curves(trained.history, trained.best_epoch, folder.path / "curves.png")
    _write_predictions(config, store, folder, data, trained.model)
    folder.set_state(FINISHED)
    log.info(
        "%s finished: best epoch %d, %s", folder.name, trained.best_epoch + 1, describe_scores(_best_entry(trained))
    )


def _open(config: RunConfig, store: Store, folder: RunFolder) -> None:
    folder.write_config(config)
    folder.set_state(RUNNING)
    folder.write_json("environment.json", environment(config, store))


def environment(config: RunConfig, store: Store) -> dict[str, Any]:
    """Return what a run is computed with."""
    return {
        "versions": versions(),
        **code_state(),
        "devices": devices(),
        "device": str(pick_device(config.device)),
        "store": {"name": store.name, "digest": store.digest, "rows_digest": store.rows_digest},
    }


def check_same_store(folder: RunFolder, store: Store) -> None:
    """Raise if a store is not the one that a run was started on.

    Raises
    ------
    UserError
        If rows, labels, columns or splits differ.
    """
    started_on = folder.read_json("environment.json")["store"]
    if started_on["rows_digest"] != store.rows_digest:
        raise UserError(f"{folder.name} was started on other rows than {store.location} holds now; start a new run")


def _introduce(
    log: logging.Logger, folder: RunFolder, config: RunConfig, store: Store, data: Loaders, model: nn.Module
) -> None:
    sizes = ", ".join(
        f"{name} {len(part.rows)}"
        for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
    )
    log.info(
        "%s: %s on %s, leads %s, context %s, protocol %s (%s)",
        folder.name, config.model, "+".join(config.inputs), " ".join(data.leads),
        " and ".join(_context(data)) or "none", data.split.protocol, sizes,
    )  # fmt: skip
    if store.synthetic:
        log.info("SYNTHETIC recordings: the figures say nothing about patients")
    if data.split.leaks:
        log.warning("this protocol leaks on purpose (%s): %s", ", ".join(data.split.leaks), data.split.leak_note)
    if absent := _absent_classes(data):
        log.warning("no training row has the class %s", ", ".join(absent))
    log.info("%d parameters, %s", _parameters(model), pick_device(config.device))


def _absent_classes(data: Loaders) -> list[str]:
    rows_of = one_hot(data.train.target, len(data.label.classes)).sum(axis=0)
    return [name for name, n in zip(data.label.classes, rows_of.tolist(), strict=True) if n == 0]


def _context(data: Loaders) -> list[str]:
    """Return what stands beside a row's own signal: RR intervals, neighbouring beats, the record's typical beat."""
    beside = data.preprocessing.get(SIGNAL, {})
    return [*(["rr"] if "features" in data.preprocessing else []), *(name for name in CONTEXT if beside.get(name))]


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _best_entry(trained: Trained) -> dict[str, Any]:
    return trained.history[trained.best_epoch]


def predict_parts(config: RunConfig, data: Loaders, model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return a model's logits for the rows of validation and of test."""
    device = this_world().own_device(pick_device(config.device))
    parts = {"validation": data.validation, "test": data.test}
    return {name: predict_logits(model, part, device, config.precision) for name, part in parts.items()}


def _write_predictions(config: RunConfig, store: Store, folder: RunFolder, data: Loaders, model: nn.Module) -> None:
    footer = predictions_footer(config, store, folder.name, data, model)
    for name, logits in predict_parts(config, data, model).items():
        part: Loader = getattr(data, name)
        probability = probabilities(logits, multilabel=data.label.multilabel)
        truth = one_hot(part.target, len(data.label.classes))
        if name == "validation":
            folder.write_json("calibration.json", calibration(data, truth, probability))
        table = predictions_table(store, part.rows, data.label.classes, truth, logits, probability, footer)
        write_predictions(folder.path / "predictions" / f"{name}.parquet", table)


def calibration(data: Loaders, truth: NDArray[np.int8], probability: NDArray[np.float32]) -> dict[str, Any]:
    """Return what is fitted on validation: each class's threshold of a multi-label task."""
    classes: Sequence[str] = data.label.classes if data.label.multilabel else ()
    thresholds = {name: best_threshold(truth[:, c] == 1, probability[:, c]) for c, name in enumerate(classes)}
    return {"thresholds": thresholds, "temperature": None, "fitted_on": "validation"}


def predictions_footer(config: RunConfig, store: Store, run: str, data: Loaders, model: nn.Module) -> dict[str, Any]:
    """Return what a predictions file says of its run."""
    return {
        "schema": PREDICTIONS_SCHEMA,
        "task": "multi" if data.label.multilabel else "single",
        "classes": list(data.label.classes),
        "score_classes": list(data.split.score_classes),
        "scheme": data.label.scheme,
        "protocol": data.split.protocol,
        "leaks": list(data.split.leaks),
        "leak_note": data.split.leak_note,
        "run": run,
        "model": config.model,
        "input": "+".join(config.inputs),
        "leads": list(data.leads),
        "context": _context(data),
        "seed": config.seed,
        "parameters": _parameters(model),
        "store": {
            "name": store.name,
            "digest": store.digest,
            "rows_digest": store.rows_digest,
            "synthetic": store.synthetic,
        },
        "recipe_hash": recipe_hash(config, exclude=NOT_IN_HASH),
        "versions": versions(),
        "card": store.attributes.get("card", {}),
    }
