"""Checkpoints: one safetensors file each, with everything that is no tensor as JSON in its header.

A checkpoint is written beside its place, synced and renamed, so that a stop leaves the old one or the new one.
Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from store.errors import EcgError
from store.files import sync_file, sync_folder

STATE_KEY = "ecg"
MODEL, AVERAGE, OPTIMIZER = "model.", "average.", "optimizer."


class CheckpointError(EcgError, OSError):
    """A checkpoint is absent, cut or not of this model."""


def save_checkpoint(
    path: Path,
    model: nn.Module,
    state: Mapping[str, Any],
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> None:
    """Write a checkpoint whole.

    Parameters
    ----------
    path : Path
        Where to.
    model : torch.nn.Module
        Whose weights and buffers.
    state : mapping
        Plain data, such as the epoch and the history.
    optimizer : torch.optim.Optimizer, optional
        Whose state, for a run that goes on.
    average : torch.nn.Module, optional
        The running mean of the weights, for a run that goes on.
    """
    tensors = _weights(MODEL, model)
    if average is not None:
        tensors |= _weights(AVERAGE, average)
    if optimizer is not None:
        tensors |= _optimizer_tensors(optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(tensors, aside, metadata={STATE_KEY: json.dumps(state)})
    sync_file(aside)
    aside.replace(path)
    sync_folder(path.parent)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: nn.Module | None = None,
) -> dict[str, Any]:
    """Put a checkpoint's weights into a model, and its state into an optimizer.

    Parameters
    ----------
    path : Path
        The file.
    model : torch.nn.Module
        Takes the weights.
    optimizer : torch.optim.Optimizer, optional
        Takes the state; its settings, such as the learning rate, are the caller's.
    average : torch.nn.Module, optional
        Takes the running mean of the weights.

    Returns
    -------
    dict
        The plain data that was saved with it.

    Raises
    ------
    CheckpointError
        If the file is absent or cut, or holds another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            state: dict[str, Any] = json.loads(file.metadata()[STATE_KEY])
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{path}: no whole checkpoint ({error}); start the run anew") from error
    try:
        model.load_state_dict(_below(MODEL, tensors))
        if average is not None:
            average.load_state_dict(_below(AVERAGE, tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights of another model: {error}") from error
    if optimizer is not None:
        _load_optimizer(optimizer, _below(OPTIMIZER, tensors))
    return state


def _weights(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: value.detach().contiguous() for name, value in model.state_dict().items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{OPTIMIZER}{parameter}.{name}": torch.as_tensor(value).contiguous()
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        parameter, _, name = key.partition(".")
        values.setdefault(int(parameter), {})[name] = value
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
