"""One run: from a configuration and a store to a folder with weights, history and predictions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from ecgtrain.calibration import calibrate
from ecgtrain.config import FUTURE, RunConfig
from ecgtrain.curves import draw_curves
from ecgtrain.devices import pick_device
from ecgtrain.distributed import this_world
from ecgtrain.environment import code_state, command, devices, versions
from ecgtrain.features import penultimate_features, write_features
from ecgtrain.fitting import fit
from ecgtrain.folds import fold_runs, join_predictions
from ecgtrain.heads import find_head
from ecgtrain.listener import Listener
from ecgtrain.loader import Loader, Loaders, load
from ecgtrain.loop import Trained, train
from ecgtrain.models import create_model
from ecgtrain.models.baselines import FittedModel
from ecgtrain.models.timm_networks import load_pretrained
from ecgtrain.predicting import Said, one_hot, predict
from ecgtrain.predictions import context_of, predictions_footer, predictions_table, write_table
from ecgtrain.pretraining import FILE as TRAINED_ON
from ecgtrain.pretraining import pretraining_note, trained_on, with_leaks
from ecgtrain.progress import Display
from ecgtrain.run_folder import FAILED, FAILURE, FINISHED, RUNNING, RunFolder, silent_log
from ecgtrain.tracking import describe_scores, following
from ecgtrain.trained_run import described
from ecgtrain.transfer import describe_fit, transferred
from pipelines.command_line import NO_SPACE
from store.errors import EcgError, ResourceError
from store.read import Store

PROCESS_GONE = ("Connection closed by peer", "Connection reset by peer")  # what gloo says


class FoldError(EcgError, RuntimeError):
    """A run over folds cannot be joined: one of them failed."""


def execute(config: RunConfig, store: Store, folder: RunFolder, display: Display | None = None) -> bool:
    """Train one run in its folder, or go on with it, and write what came of it.

    A failure is written to the run's log and state and does not reach the caller, whose other runs go on; a full disk
    does, and of several processes a failure that the others may not have met, since they would wait for this one.

    Parameters
    ----------
    config : RunConfig
        The resolved configuration.
    store : Store
        Its store.
    folder : RunFolder
        Its folder.
    display : Display, optional
        What a person sees meanwhile.

    Returns
    -------
    bool
        Whether the run finished.

    Raises
    ------
    UserError
        If another process is training it.
    """
    first = this_world().first
    if first:
        folder.path.mkdir(exist_ok=True)
    with folder.alone() if first else nullcontext(), folder.log() if first else nullcontext(silent_log()) as log:
        try:
            with resources_named(config):
                _execute(config, store, folder, log, display or Display())
        except KeyboardInterrupt:
            log.warning("interrupted; go on with: ecgtrain run --resume %s", folder.name)
            raise
        except EcgError as error:
            log.error("%s failed: %s", folder.name, " ".join(str(error).split()))  # noqa: TRY400 - a person's line
            _note_failure(folder, error.exit_code)
            if isinstance(error, ResourceError) and this_world().size > 1:
                raise
            return False
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise  # the other runs would meet it too, and nothing more can be written
            log.exception("%s failed", folder.name)
            _note_failure(folder, EcgError.exit_code)
            if this_world().size > 1:
                raise
            return False
        return True


def _note_failure(folder: RunFolder, exit_code: int) -> None:
    if this_world().first:
        folder.write_json(FAILURE, {"exit_code": exit_code})
        folder.set_state(FAILED)


def _execute(config: RunConfig, store: Store, folder: RunFolder, log: logging.Logger, display: Display) -> None:
    if this_world().first:
        _open(config, store, folder)
    if config.folds is None:
        _train(config, store, folder, log, display)
    else:
        _train_folds(config, store, folder, log, display)
    if this_world().first:
        folder.set_state(FINISHED)


def _train_folds(config: RunConfig, store: Store, folder: RunFolder, log: logging.Logger, display: Display) -> None:
    """Train the folds that are not finished, and join what they predict."""
    folds = list(fold_runs(config, folder))
    for fold_config, fold in folds:
        if fold.state != FINISHED and not execute(fold_config, store, fold, display):
            message = f"{fold.name} failed; mend what its log says and go on with --resume {folder.name}"
            raise ResourceError(message) if fold.lacked_resources else FoldError(message)
    if this_world().first:
        join_predictions(config, [fold for _, fold in folds], folder)
        log.info("%s finished: predictions of %d folds are joined", folder.name, len(folds))


def _train(config: RunConfig, store: Store, folder: RunFolder, log: logging.Logger, display: Display) -> None:
    data = load(store, config)
    torch.manual_seed(config.seed)
    model = create_model(config.model, **vars(data.shape))
    if config.pretrained is not None:
        load_pretrained(model, config.pretrained)
    if config.save_features:
        find_head(model, len(data.label.classes))  # a network without one is named before hours of training
    past = None if config.init_from is None else _transfer(config, data, model, folder, log)
    data = data if past is None else with_leaks(data, store, past)
    first = this_world().first
    if first:
        folder.write_json("preprocessing.json", {**data.preprocessing, **described(data, store)})
        folder.write_json(TRAINED_ON, trained_on(config, store, data, folder.name, past))
        _introduce(log, folder, config, store, data, model)
    with (
        following(folder, config, log, display, len(data.train.rows)) if first else nullcontext(Listener()) as listener
    ):
        if isinstance(model, FittedModel):
            listener.go_on(0, 0)
            entry = fit(model, data)
            listener.epoch(entry)
            trained = Trained(model, [entry], 0)
        else:
            trained = train(model, data, config, folder.checkpoints, listener=listener)
    said = {name: _predict(config, data, part, trained.model) for name, part in _parts(config, data).items()}
    if first:
        draw_curves(trained.history, trained.best_epoch, folder.path / "curves.png")
        footer = predictions_footer(
            config, store, folder.name, data, _parameters(trained.model), pretraining_note(config, past)
        )
        _write_predictions(config, store, folder, data, footer, said)
        if config.save_features:
            features = penultimate_features(trained.model, data.test, config.precision)
            write_features(folder.path, data.test.rows, features)
        log.info(
            "%s finished: best epoch %d, %s", folder.name, trained.best_epoch + 1, describe_scores(_best_entry(trained))
        )


def _transfer(
    config: RunConfig, data: Loaders, model: nn.Module, folder: RunFolder, log: logging.Logger
) -> Mapping[str, Any] | None:
    """Start a model from the weights of another, say which fit, and return what those were trained on."""
    source, fit_of, frozen = transferred(model, config, data.label.classes)
    if this_world().first:
        folder.write_json("transfer.json", {"source": str(source.path), **asdict(fit_of), "frozen": frozen})
        log.info("starts from %s: %s; %d parameters frozen", source.path, describe_fit(fit_of), len(frozen))
        if source.past is None:
            log.warning("%s does not say whose recordings made it: a leak cannot be seen", source.path)
    return source.past


def _open(config: RunConfig, store: Store, folder: RunFolder) -> None:
    folder.write_config(config)
    folder.set_state(RUNNING)
    folder.write_json("environment.json", environment(config, store))


@contextmanager
def resources_named(config: RunConfig) -> Iterator[None]:
    """Turn what is raised where memory gives out or another process is gone into an error that says what to do.

    Raises
    ------
    ResourceError
        With a smaller batch, or that another process stopped.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch raises both, and has a class of its own for GPUs alone
        if isinstance(error, EcgError):
            raise
        if any(sign in str(error) for sign in PROCESS_GONE):
            raise ResourceError("another process of this training has stopped; mend what it says, and go on") from error
        if not _is_out_of_memory(error):
            raise
        fewer = max(config.batch_size // 2, 1)
        raise ResourceError(
            f"out of memory with batches of {config.batch_size} rows; try --batch-size {fewer}, or --set "
            f"accumulation={2 * config.accumulation} for the same steps in less memory"
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def environment(config: RunConfig, store: Store) -> dict[str, Any]:
    """Return what a run is computed with."""
    return {
        "versions": versions(),
        **code_state(),
        "command": command(),
        "devices": devices(),
        "device": str(pick_device(config.device)),
        "store": {"name": store.name, "digest": store.digest, "rows_digest": store.rows_digest},
    }


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
        " and ".join(context_of(data.preprocessing)) or "none", data.split.protocol, sizes,
    )  # fmt: skip
    if store.synthetic:
        log.info("SYNTHETIC recordings: the figures say nothing about patients")
    if data.split.leaks:
        log.warning("this protocol leaks on purpose (%s): %s", ", ".join(data.split.leaks), data.split.leak_note)
    if absent := _absent_classes(data):
        log.warning("no training row has the class %s", ", ".join(absent))
    if config.balance != "none":
        made = data.train.items.n_made
        log.info("balance %s: %d of the training rows are mixed of two, or copies", config.balance, made)
    log.info("%d parameters, %s", _parameters(model), data.train.device)
    log.info(data.placed)


def _absent_classes(data: Loaders) -> list[str]:
    if data.label.scheme == FUTURE:
        return []
    rows_of = one_hot(data.train.target, len(data.label.classes)).sum(axis=0)
    return [name for name, n in zip(data.label.classes, rows_of.tolist(), strict=True) if n == 0]


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _best_entry(trained: Trained) -> dict[str, Any]:
    return trained.history[trained.best_epoch]


def _parts(config: RunConfig, data: Loaders) -> dict[str, Loader]:
    """Return the parts of the split that are predicted."""
    return {"validation": data.validation, **({"test": data.test} if config.predict_test else {})}


def _predict(config: RunConfig, data: Loaders, part: Loader, model: nn.Module) -> Said:
    return predict(
        model,
        part,
        part.device,
        config.precision,
        multilabel=data.label.multilabel,
        n_copies=config.test_time_copies,
    )


def _write_predictions(
    config: RunConfig,
    store: Store,
    folder: RunFolder,
    data: Loaders,
    footer: Mapping[str, Any],
    said: Mapping[str, Said],
) -> None:
    classes, multilabel = data.label.classes, data.label.multilabel
    for name, part in _parts(config, data).items():
        truth = one_hot(part.target, len(classes))
        if name == "validation":
            folder.write_json("calibration.json", calibrate(said[name], truth, classes, multilabel=multilabel))
        table = predictions_table(store, part.rows, classes, truth, said[name], footer, config.fold)
        write_table(folder.path / "predictions" / f"{name}.parquet", table)
