"""Which runs one command trains, and how long they may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ecgtrain.averaging import WeightAverage
from ecgtrain.channels import inputs_with, leads_of
from ecgtrain.config import SIGNAL, RunConfig
from ecgtrain.devices import pick_device
from ecgtrain.folds import folds_protocol
from ecgtrain.inputs import input_shape
from ecgtrain.items import chosen_split, known_rows, learned_label, stored_items, training_items
from ecgtrain.losses import Loss, class_shares, logits_and_distances, make_loss, weights_beside
from ecgtrain.models import InputShape, create_model, list_models, model_facts
from ecgtrain.models.baselines import FittedModel
from ecgtrain.models.registry import InputKind
from ecgtrain.pictures import find_pictures
from ecgtrain.predicting import HALF
from ecgtrain.preparation import window_starts
from ecgtrain.run import resources_named
from ecgtrain.schedules import make_optimizer
from ecgtrain.transfer import transferred
from pipelines.recipe import RecipeError, nearest, override, validate
from store.errors import EcgError, UserError
from store.read import Split, Store
from store.vocabulary import TRAIN, VALIDATION

ALL_MODELS = "all"
SIGNAL_MODEL, PICTURE_MODEL, FUSION_MODEL = "resnet1d_wang", "resnet18", "joint_fusion"
FIRST_PICTURE = "gaf"
TIMED_ROWS = 64  # at most, so that the plan does not wait
TIMED_STEPS = 3
SMALL_BATCH, LARGE_BATCH, MANY_ROWS = 32, 128, 10_000
FORWARD_SHARE = 1 / 3  # of a training step


@dataclass(frozen=True)
class PlannedRun:
    """One run before it starts.

    Parameters
    ----------
    config : RunConfig
        Everything it is made of, resolved.
    n_train : int
        Training rows.
    parameters : int
        Trainable parameters of the model.
    seconds : float
        What all its epochs would take, by the time of one step; early stopping makes it less.
    """

    config: RunConfig
    n_train: int
    parameters: int
    seconds: float


def default_runs(store: Store, models: Sequence[str] = (), inputs: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return a run for each kind of input: signals, pictures, both.

    Parameters
    ----------
    store : Store
        What is trained on.
    models : sequence of str
        Take these models instead of one for each kind.
    inputs : sequence of str
        Take these inputs instead of the signals and the first pictures.

    Returns
    -------
    list of dict
        Plain data of `RunConfig`.
    """
    available = list(inputs) or [SIGNAL, *_first_picture(store)]
    find_pictures(store, available)  # unknown inputs are named before models
    pictures = [name for name in available if name != SIGNAL]
    if list(models) == [ALL_MODELS]:
        models = [name for name in list_models() if _can_read(model_facts(name).reads, available)]
    if not models:
        signals = [SIGNAL_MODEL] if SIGNAL in available else []
        models = [*signals, *([PICTURE_MODEL] if pictures else []), *([FUSION_MODEL] if signals and pictures else [])]
    return [{"model": name, "inputs": _inputs_of(name, available, store)} for name in models]


def _can_read(reads: InputKind, available: Sequence[str]) -> bool:
    has_pictures = any(name != SIGNAL for name in available)
    return (reads == "picture" or SIGNAL in available) and (reads == "signal" or has_pictures)


def that_fit(configs: Sequence[RunConfig], store: Store) -> tuple[list[RunConfig], dict[str, str]]:
    """Return the runs whose model can read a store's rows, and of each other model the reason.

    Raises
    ------
    UserError
        If no model fits, with the reasons.
    """
    fitting, reasons = [], {}
    for config in configs:
        try:
            check_reads(config, store)
        except UserError as error:
            reasons[config.model] = str(error)
        else:
            fitting.append(config)
    if not fitting:
        raise UserError(f"no model fits {store.name}; {'; '.join(f'{name}: {why}' for name, why in reasons.items())}")
    return fitting, reasons


def check_reads(config: RunConfig, store: Store) -> None:
    """Raise if a run's model cannot read a store's rows.

    Raises
    ------
    UserError
        With what the model says of them.
    ResourceError
        If memory gives out.
    """
    shape = input_shape(store, config, learned_label(store, config, first_split(store, config).scheme))
    model = create_model(config.model, **vars(shape)).eval()
    read = model.describe if isinstance(model, FittedModel) else model
    sizes = input_sizes(config, shape)
    try:
        with resources_named(config), torch.inference_mode():
            read(**{name: torch.zeros(1, *size) for name, size in sizes.items()})
    except EcgError:
        raise
    except RuntimeError as error:
        rows = " and ".join(f"a {name} of {'×'.join(map(str, size))}" for name, size in sizes.items())
        raise UserError(f"{config.model} cannot read {rows}: {str(error).partition(chr(10))[0]}") from error


def repeated(configs: Sequence[RunConfig], n_seeds: int) -> list[RunConfig]:
    """Return each run with so many seeds, from its own on; those that have a name get the seed added to it."""
    if n_seeds == 1:
        return list(configs)
    return [
        config.model_copy(update={"seed": seed, "name": config.name and f"{config.name}-seed{seed}"})
        for config in configs
        for seed in range(config.seed, config.seed + n_seeds)
    ]


def _first_picture(store: Store) -> list[str]:
    names = store.representations
    return [FIRST_PICTURE] if FIRST_PICTURE in names else names[:1]


def _inputs_of(model: str, available: Sequence[str], store: Store) -> list[str]:
    reads = model_facts(model).reads
    pictures = [name for name in available if name != SIGNAL]
    if reads != "signal" and not pictures:
        where = "--input names none" if store.representations else f"{store.name} holds none"
        raise UserError(
            f"{model} reads pictures and {where}: draw them with --input gaf while training, or take a model for "
            f"{_models_for(available)}"
        )
    if reads != "picture" and SIGNAL not in available:
        raise UserError(f"{model} reads signals: add signal to --input, or take a model for {_models_for(available)}")
    return {"signal": [SIGNAL], "picture": pictures, "both": [SIGNAL, *pictures]}[reads]


def _models_for(available: Sequence[str]) -> str:
    fitting = [name for name in list_models() if _can_read(model_facts(name).reads, available)]
    return f"{'+'.join(available)}, such as {', '.join(fitting[:3])}"


def resolve(
    requests: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    settings: Sequence[str],
    store: Store,
    source: str,
) -> list[RunConfig]:
    """Return complete configurations, checked against the store before anything starts.

    Parameters
    ----------
    requests : sequence of mapping
        Plain data of the runs: of a recipe, or from `default_runs`.
    options : mapping
        Keys that the command line gives for all of them.
    settings : sequence of str
        ``a.b=c`` for all runs, ``train.NAME.a.b=c`` for the one of that name or model.
    store : Store
        What is trained on.
    source : str
        Where the requests come from, for messages.

    Raises
    ------
    RecipeError
        If a key or a value is wrong.
    UserError
        If a name is not known, or the store does not have what a run reads.
    """
    names = [str(request.get("name") or request.get("model")) for request in requests]
    configs = []
    for name, request in zip(names, requests, strict=True):
        model = request.get("model")
        if not isinstance(model, str):
            raise RecipeError(f"{source}, train: each run needs a model, found {dict(request)}")
        wanted = override({**request, **options}, _settings_of(name, names, settings), "train")
        if channels := wanted.get("channels"):
            wanted |= {"inputs": inputs_with(channels, wanted.get("inputs", [SIGNAL])), "channels": leads_of(channels)}
        whole = _merged(model_facts(str(wanted["model"])).settings, wanted)
        config = _on_store(validate(RunConfig, whole, f"{source}, {name}"), store)
        if "batch_size" not in whole:
            config = config.model_copy(update={"batch_size": _usual_batch(store, config)})
        if "class_weights" not in wanted and learned_label(store, config, first_split(store, config).scheme).multilabel:
            config = config.model_copy(update={"class_weights": "auto"})  # a model's own are for one label a row
        configs.append(config)
    return configs


def _usual_batch(store: Store, config: RunConfig) -> int:
    """Return the rows of a step where nobody names them: few rows need small steps to have enough of them."""
    split = first_split(store, config)
    n_train = len(known_rows(split, learned_label(store, config, split.scheme), TRAIN))
    return LARGE_BATCH if n_train >= MANY_ROWS else SMALL_BATCH


def first_split(store: Store, config: RunConfig) -> Split:
    """Return the split of a run; of one over folds, that of its first fold."""
    return chosen_split(store, config, config.fold if config.folds is None else 0)


def _settings_of(name: str, names: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Return the settings that concern one run, without its name."""
    found = []
    for setting in settings:
        key = setting.removeprefix("train.")
        of = key.partition(".")[0]
        if of not in names:
            found.append(key)
        elif of == name:
            found.append(key.removeprefix(f"{name}."))
    return found


def _merged(defaults: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **wanted}
    for key in defaults.keys() & wanted.keys():
        if isinstance(defaults[key], Mapping) and isinstance(wanted[key], Mapping):
            merged[key] = _merged(defaults[key], wanted[key])
    return merged


def _on_store(config: RunConfig, store: Store) -> RunConfig:
    """Return the configuration with store and protocol filled in, after a look at every name in it."""
    if config.folds is not None:
        config = config.model_copy(update={"protocol": folds_protocol(store, config)})
    split = store.split(config.protocol)
    if split.n_folds and config.fold is None and config.folds is None:
        raise UserError(
            f"protocol {split.protocol!r} numbers folds: train them all with --folds {split.n_folds}, or one with "
            "--set fold=0"
        )
    split = first_split(store, config)
    input_shape(store, config)
    weights_beside(config.class_weights, config.balance)
    if config.balance != "none":
        store.balance(split.protocol, config.balance, config.fold if config.folds is None else 0)
    if set(_inputs_of(config.model, config.inputs, store)) != set(config.inputs):
        reads = model_facts(config.model).reads
        raise UserError(f"{config.model} reads the {reads} alone, not {' and '.join(config.inputs)}; mend its inputs")
    return config.model_copy(update={"store": store.location, "protocol": split.protocol})


def expect(config: RunConfig, store: Store) -> PlannedRun:
    """Return a run with the time it may take, by the time of some training steps on this machine.

    Raises
    ------
    UserError
        If the loss or the class weights are not for its labels, or the weights that it starts from are not for it.
    ResourceError
        If memory gives out.
    """
    split = first_split(store, config)
    label = learned_label(store, config, split.scheme)
    first = config if config.folds is None else config.model_copy(update={"folds": None, "fold": 0})
    n_train = len(training_items(store, first, stored_items(label, known_rows(split, label, TRAIN))))
    n_validation = len(known_rows(split, label, VALIDATION))
    shape = input_shape(store, config, label)
    if config.init_from is not None:
        transferred(create_model(config.model, **vars(shape)), config, label.classes)
    with resources_named(config):
        parameters, row_seconds = time_step(config, shape, multilabel=label.multilabel)
    n_windows = len(window_starts(store.signal.shape[2], config.crop))
    seconds = (config.folds or 1) * config.epochs * row_seconds * (n_train + FORWARD_SHARE * n_windows * n_validation)
    return PlannedRun(config, n_train, parameters, seconds)


def time_step(config: RunConfig, shape: InputShape, *, multilabel: bool) -> tuple[int, float]:
    """Return a model's number of parameters, and the seconds of a training step for each of its rows.

    Raises
    ------
    UserError
        If the loss or the class weights are not for such labels.
    """
    n = min(config.batch_size, TIMED_ROWS)
    device = pick_device(config.device)
    model = create_model(config.model, **vars(shape)).to(device).train()
    inputs = {name: torch.zeros(n, *size, device=device) for name, size in input_sizes(config, shape).items()}
    target = torch.zeros(n, shape.n_classes) if multilabel else torch.zeros(n, dtype=torch.int64)
    if isinstance(model, FittedModel):
        step: Callable[[], object] = partial(model.describe, **inputs)
    else:
        weights = weights_beside(config.class_weights, config.balance)
        loss = make_loss(target, shape.n_classes, config.loss, weights)
        step = _step(config, model, inputs, class_shares(target, shape.n_classes).to(device), loss)
    step()  # the first one chooses kernels and takes memory
    started = time.perf_counter()
    for _ in range(TIMED_STEPS):
        step()
    seconds = (time.perf_counter() - started) / TIMED_STEPS / n
    return sum(parameter.numel() for parameter in model.parameters()), seconds


def _step(
    config: RunConfig, model: nn.Module, inputs: Mapping[str, Tensor], shares: Tensor, loss: Loss
) -> Callable[[], None]:
    """Return a training step on the same rows again and again, which does all that moves the weights and their mean."""
    device = shares.device
    optimizer = make_optimizer(model.parameters(), config.optimizer, device)
    average = WeightAverage(model, config.average_decay)

    def step() -> None:
        """Train on the rows once more."""
        with torch.autocast(device.type, dtype=HALF.get(config.precision), enabled=config.precision in HALF):
            logits, _ = logits_and_distances(model(**inputs), shares.shape[1])
        optimizer.zero_grad()
        loss.mean(logits.float(), shares).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(model, 0)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def input_sizes(config: RunConfig, shape: InputShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of each keyword tensor of one row."""
    sizes: dict[str, tuple[int, ...]] = {}
    if SIGNAL in config.inputs:
        sizes["signal"] = (shape.n_leads, shape.n_samples)
    if shape.picture:
        sizes["picture"] = shape.picture
    if shape.n_features:
        sizes["features"] = (shape.n_features,)
    return sizes


def recipe_runs(
    recipe: Mapping[str, Any], source: str, models: Sequence[str] | None, inputs: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return the runs of a recipe, those of some models alone if any are named.

    Parameters
    ----------
    recipe : mapping
        The recipe's sections.
    source : str
        Its name or file, for messages.
    models, inputs : sequence of str or None
        Keep the runs of these models; read these inputs instead.

    Raises
    ------
    RecipeError
        If the ``train`` section is no list of runs, or has none of the models.
    """
    runs = recipe.get("train")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not runs:
        raise RecipeError(f"{source}: the section train is a list of runs, each with a model")
    runs = [run for run in runs if "ensemble" not in run]
    known = [str(run.get("model")) for run in runs]
    for name in models or ():
        if name not in known:
            raise RecipeError(f"{source}, train: no run of model {name!r}.{nearest(name, known)}")
    kept = [run for run in runs if models is None or run.get("model") in models]
    return [{**run, "inputs": list(inputs)} if inputs else dict(run) for run in kept]
