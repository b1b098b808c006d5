"""One run: from a configuration and a store to a folder with weights, history and predictions."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgtrain.config import CONTEXT, SIGNAL, RunConfig
from ecgtrain.curves import draw_curves
from ecgtrain.environment import code_state, devices, versions
from ecgtrain.loader import Loaders, loaders
from ecgtrain.loop import Trained, Watch, one_hot, pick_device, predict_logits, probabilities, train
from ecgtrain.models import create_model
from ecgtrain.predictions import PREDICTIONS_SCHEMA, predictions_table, write_predictions
from ecgtrain.run_folder import FAILED, FINISHED, RUNNING, RunFolder
from ecgtrain.scores import best_threshold
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
    with folder.log() as log:
        try:
            _execute(config, store, folder, log, watch)
        except KeyboardInterrupt:
            log.warning("interrupted; go on with: ecgtrain run --resume %s", folder.name)
            raise
        except EcgError as error:
            log.error("%s failed: %s", folder.name, " ".join(str(error).split()))  # noqa: TRY400 - a person's line
        except Exception:
            log.exception("%s failed", folder.name)
        else:
            return True
        folder.set_state(FAILED)
        return False


def _execute(config: RunConfig, store: Store, folder: RunFolder, log: logging.Logger, watch: Watch | None) -> None:
    folder.write_config(config)
    folder.set_state(RUNNING)
    folder.write_json("environment.json", environment(config, store))
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
    folder.write_json("preprocessing.json", data.preprocessing)
    torch.manual_seed(config.seed)
    model = create_model(config.model, **vars(data.shape))
    _introduce(log, folder, config, store, data, model)

    def tell(entry: dict[str, Any]) -> None:
        folder.write_history([*folder.history()[: entry["epoch"]], entry])
        log.info(_line(entry, config))

    trained = train(model, data, config, folder.checkpoints, watch=watch, tell=tell)
    folder.write_history(trained.history)
    draw_curves(trained.history, trained.best_epoch, folder.path / "curves.png")
    _write_predictions(config, store, folder, data, trained.model)
    folder.set_state(FINISHED)
    log.info("%s finished: best epoch %d, %s", folder.name, trained.best_epoch + 1, _scores(_best_entry(trained)))


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


def _line(entry: dict[str, Any], config: RunConfig) -> str:
    return (
        f"epoch {entry['epoch'] + 1}/{config.epochs}  loss {entry['train_loss']:.4f}  "
        f"validation {entry['validation_loss']:.4f}  {_scores(entry)}  {entry['seconds']:.1f} s"
    )


def _scores(entry: dict[str, Any]) -> str:
    values = {name: math.nan if value is None else value for name, value in entry["validation"].items()}
    return f"macro F1 {values['f1']:.3f}  macro AUROC {values['auroc']:.3f}"


def _best_entry(trained: Trained) -> dict[str, Any]:
    return trained.history[trained.best_epoch]


def _write_predictions(config: RunConfig, store: Store, folder: RunFolder, data: Loaders, model: nn.Module) -> None:
    footer = predictions_footer(config, store, folder.name, data, model)
    device = pick_device(config.device)
    for name, part in (("validation", data.validation), ("test", data.test)):
        logits = predict_logits(model, part, device, config.precision)
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
