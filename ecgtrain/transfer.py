"""Weights that a run starts from: where they come from, which of them fit, and which layers stay as they are.

References
----------
.. [1] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ecgtrain.checkpoint import MODEL, STATE_KEY, below, read_checkpoint
from ecgtrain.config import RunConfig, TransferConfig
from ecgtrain.heads import find_head
from ecgtrain.loop import BEST
from ecgtrain.models.baselines import FittedModel
from ecgtrain.models.future import FutureModel
from ecgtrain.pretraining import past_of
from ecgtrain.run_folder import FINISHED, RunFolder, find_run
from store.errors import MissingDataError, UnknownNameError, UserError

ALL_BUT_HEAD = "all_but_head"
RANDOM = "random"
SAFETENSORS = ".safetensors"
HOLDERS = ("state_dict", "model_state_dict", "model")  # keys under which files keep a state dict beside other things
PARALLEL = "module."  # what torch puts before the names of a parallel model
HOW_TO_SAVE = "save a state dict with torch.save(model.state_dict(), …)"
SHOWN_NAMES = 4


@dataclass(frozen=True)
class Source:
    """Weights, with what is known of how they came to be.

    Parameters
    ----------
    path : Path
        The run's folder, or the file.
    weights : mapping
        Tensors by name.
    classes : tuple of str or None
        What their head tells apart; None where nobody says.
    past : mapping or None
        What they were trained on, see `ecgtrain.pretraining.trained_on`; None where nobody says.
    """

    path: Path
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None
    past: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Fit:
    """Which weights fit a network, by name.

    Parameters
    ----------
    matched : tuple of str
        Taken over.
    missing : tuple of str
        Of the network, and not in the source: they stay as they were drawn.
    unexpected : tuple of str
        In the source, and not of the network.
    other_shape : tuple of str
        In both, with other shapes: they stay as they were drawn.
    fresh : tuple of str
        The head, where it was not taken over.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]
    fresh: tuple[str, ...]


def locate(name: str, runs: Path) -> str | None:
    """Return the path of a run or of a file of weights; None for ``random``.

    Parameters
    ----------
    name : str
        A run's name in the workspace, a path, or ``random``.
    runs : Path
        The workspace's folder of runs.

    Raises
    ------
    MissingDataError
        With the nearest run, if there is neither.
    """
    if name == RANDOM:
        return None
    if Path(name).is_file():
        return str(Path(name).resolve())
    return str(find_run(runs, name).path.resolve())


def starting_from(configs: Sequence[RunConfig], names: Sequence[str] | None, runs: Path) -> list[RunConfig]:
    """Return each run once for each of the weights that are named; without names as its own ``init_from`` says.

    Parameters
    ----------
    configs : sequence of RunConfig
        The runs.
    names : sequence of str or None
        Runs, files or ``random``; of several each is added to the names of runs that have one.
    runs : Path
        The workspace's folder of runs.

    Raises
    ------
    MissingDataError
        If there is no such run or file.
    """
    started = []
    for config in configs:
        for name in names or [config.init_from or RANDOM]:
            called = config.name and (f"{config.name}-{Path(name).stem}" if len(names or ()) > 1 else config.name)
            path = locate(name, runs)
            transfer = config.transfer if path else TransferConfig()
            started.append(config.model_copy(update={"init_from": path, "transfer": transfer, "name": called}))
    return started


def read_source(path: Path) -> Source:
    """Return the weights of a finished run, of a safetensors file, or of a file of a state dict.

    Nothing is unpickled but tensors.

    Raises
    ------
    MissingDataError
        If a run is not finished or keeps no weights.
    CheckpointError
        If a run's weights are damaged.
    UserError
        If a file holds no weights.
    """
    if path.is_dir():
        return _of_run(RunFolder(path))
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file or run to start from")
    return _of_safetensors(path) if path.suffix == SAFETENSORS else Source(path, _of_state_dict(path))


def _of_run(run: RunFolder) -> Source:
    best = run.checkpoints / BEST
    if run.state != FINISHED or not best.is_file():
        raise MissingDataError(
            f"{run.path}: no finished run with weights of its own; of one over folds name a fold, such as fold-0"
        )
    classes = tuple(run.read_json("preprocessing.json")["classes"])
    return Source(run.path, below(MODEL, read_checkpoint(best).tensors), classes, past_of(run))


def _of_safetensors(path: Path) -> Source:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            facts = json.loads((file.metadata() or {}).get(STATE_KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: no safetensors file ({' '.join(str(error).split())})") from error
    own = below(MODEL, weights)  # of a checkpoint, beside the state of its optimiser
    classes = facts.get("classes")
    return Source(path, own or weights, tuple(classes) if classes else None, facts.get("trained_on"))


def _of_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
    ) as error:  # torch would advise to trust
        raise UserError(f"{path}: damaged, or holds more than tensors; {HOW_TO_SAVE}") from error
    for key in HOLDERS:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()) or not held:
        raise UserError(f"{path}: holds no tensors by name; {HOW_TO_SAVE}")
    return {str(name).removeprefix(PARALLEL): value for name, value in held.items()}


def start_from(model: nn.Module, source: Source, config: TransferConfig, classes: Sequence[str]) -> Fit:
    """Put the weights of a source that fit into a network, and return what became of each.

    Parameters
    ----------
    model : torch.nn.Module
        With fresh weights.
    source : Source
        The weights.
    config : TransferConfig
        What becomes of the head.
    classes : sequence of str
        What the network tells apart.

    Raises
    ------
    UserError
        If none fits but those of the head.
    """
    own = model.state_dict()
    head = () if isinstance(model, FutureModel) else _names_below(find_head(model, len(classes))[0], own)
    other_classes = source.classes is not None and tuple(source.classes) != tuple(classes)
    fresh = head if config.head == "fresh" or other_classes else ()
    shared = [name for name in own if name in source.weights and name not in fresh]
    matched = tuple(name for name in shared if own[name].shape == source.weights[name].shape)
    parameters = {name for name, _ in model.named_parameters()}
    if not parameters.intersection(matched).difference(head):
        raise UserError(
            f"{source.path}: none of its weights fits {type(model).__name__}: it has {_some(source.weights)}, and the "
            f"model {_some(own)}; start from a run of the same model"
        )
    model.load_state_dict({name: source.weights[name] for name in matched}, strict=False)
    return Fit(
        matched=matched,
        missing=tuple(name for name in own if name not in source.weights and name not in fresh),
        unexpected=tuple(name for name in source.weights if name not in own),
        other_shape=tuple(name for name in shared if name not in matched),
        fresh=fresh,
    )


def transferred(model: nn.Module, config: RunConfig, classes: Sequence[str]) -> tuple[Source, Fit, tuple[str, ...]]:
    """Start a run's network from the weights that it names, and keep the layers as they are that it freezes.

    Parameters
    ----------
    model : torch.nn.Module
        With fresh weights.
    config : RunConfig
        Names a source in ``init_from``.
    classes : sequence of str
        What the network tells apart.

    Returns
    -------
    tuple
        The source, which of its weights fit, and the names of the parameters that are frozen.

    Raises
    ------
    UserError
        If the model takes no weights, none fits, or a layer is not known; see `read_source`, `start_from`, `freeze`.
    """
    if isinstance(model, FittedModel):
        raise UserError(f"{config.model} is fitted at once and starts from no weights; leave init_from out")
    source = read_source(Path(str(config.init_from)))
    try:
        fit = start_from(model, source, config.transfer, classes)
    except UserError as error:
        raise UserError(f"{config.model}: {error}") from error
    return source, fit, freeze(model, config.transfer.freeze, len(classes))


def describe_fit(fit: Fit) -> str:
    """Return in words how many weights fit, and the names of some that do not."""
    kinds = ("missing", "unexpected", "other_shape", "fresh")
    parts = [f"{len(fit.matched)} matched"]
    for kind in kinds:
        names = getattr(fit, kind)
        if names:
            parts.append(f"{len(names)} {kind.replace('_', ' ')} ({_some(names)})")
    return ", ".join(parts)


def freeze(model: nn.Module, layers: Sequence[str], n_classes: int) -> tuple[str, ...]:
    """Keep layers as they are while others are trained, and return the names of their parameters.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    layers : sequence of str
        Starts of parameters' names, whole parts of them, or ``all_but_head``.
    n_classes : int
        Number of logits, which tell the head.

    Raises
    ------
    UnknownNameError
        If no parameter's name starts so.
    UserError
        If nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    frozen: set[str] = set()
    for layer in layers:
        if layer == ALL_BUT_HEAD:
            found = set(parameters).difference(_names_below(find_head(model, n_classes)[0], parameters))
        else:
            found = set(_names_below(layer, parameters))
        if not found:
            known = [name for name, _ in model.named_modules() if name]
            raise UnknownNameError("transfer.freeze: layer", layer, [ALL_BUT_HEAD, *known])
        frozen |= found
    if frozen == set(parameters):
        raise UserError(f"transfer.freeze={','.join(layers)} freezes every layer: nothing is left to train")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return tuple(name for name in parameters if name in frozen)


def _names_below(layer: str, names: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in names if name == layer or name.startswith(f"{layer}."))


def _some(names: Collection[str]) -> str:
    shown = list(names)[:SHOWN_NAMES]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")
