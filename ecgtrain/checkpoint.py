"""Checkpoints: one safetensors file each, with everything that is no tensor as JSON in its header.

A checkpoint is written beside its place, synced and renamed, so that a stop leaves the old one or the new one. It
carries a digest of its content, so that a changed byte is found. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from store.errors import EcgError
from store.files import sync_file, sync_folder

STATE_KEY, DIGEST_KEY = "ecg", "sha256"
GROUPS_KEY = "optimizer_groups"
MODEL, AVERAGE, OPTIMIZER = "model.", "average.", "optimizer."


class CheckpointError(EcgError, OSError):
    """A checkpoint is absent, cut or not of this model."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Parameters
    ----------
    path : Path
        Its file.
    tensors : mapping
        Weights, running mean of the weights and state of the optimiser, by prefixed name.
    state : mapping
        Plain data, such as the epoch and the history.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def restore(self, model: nn.Module, optimizer: Optimizer | None = None, average: nn.Module | None = None) -> None:
        """Put the weights into a model, their mean into another, and the rest into an optimiser.

        Raises
        ------
        CheckpointError
            If it holds another model.
        """
        try:
            model.load_state_dict(below(MODEL, self.tensors))
            if average is not None:
                average.load_state_dict(below(AVERAGE, self.tensors))
        except RuntimeError as error:
            raise CheckpointError(f"{self.path}: weights of another model: {error}") from error
        if optimizer is not None:
            values = below(OPTIMIZER, self.tensors)
            optimizer.load_state_dict({"state": _by_parameter(values), "param_groups": self.state[GROUPS_KEY]})


def save_checkpoint(
    path: Path,
    model: nn.Module,
    state: Mapping[str, Any],
    optimizer: Optimizer | None = None,
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
        state = {**state, GROUPS_KEY: optimizer.state_dict()["param_groups"]}
    text = json.dumps(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")  # of one name: what a stop has left is written over
    save_file(tensors, aside, metadata={STATE_KEY: text, DIGEST_KEY: _digest(tensors, text)})
    sync_file(aside)
    aside.replace(path)
    sync_folder(path.parent)


def save_keeping_one_before(path: Path, save: Callable[[Path], None]) -> None:
    """Save a checkpoint and keep the one that it takes the place of."""
    fresh = path.with_name(f"next-{path.name}")
    save(fresh)
    if path.exists():
        path.replace(one_before(path))
    fresh.replace(path)
    sync_folder(path.parent)


def one_before(path: Path) -> Path:
    """Return where the checkpoint lies that was there before the one at `path`."""
    return path.with_name(f"previous-{path.name}")


def read_newest(path: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest whole checkpoint; None where none was ever written.

    Parameters
    ----------
    path : Path
        Where the newest lies; see `save_keeping_one_before`.
    warn : callable
        Told of a damaged one, by name.

    Raises
    ------
    CheckpointError
        If all that are there are damaged.
    """
    found = [place for place in (path, one_before(path)) if place.exists()]
    for place in found:
        try:
            return read_checkpoint(place)
        except CheckpointError as error:
            if place == found[-1]:
                raise CheckpointError(f"{error}; no other is whole: start the run anew") from error
            warn(f"{error}: the one before it is used")
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a checkpoint holds.

    Raises
    ------
    CheckpointError
        If the file is absent, cut or changed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = file.metadata() or {}
        text, digest = metadata[STATE_KEY], metadata[DIGEST_KEY]
        state = json.loads(text)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: no whole checkpoint ({error})") from error
    if digest != _digest(tensors, text):
        raise CheckpointError(f"{path}: no whole checkpoint (its bytes have changed)")
    return Checkpoint(path, tensors, state)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _own(value: Tensor) -> Tensor:
    """Return a copy in memory of its own: tied weights share theirs, which safetensors refuses."""
    return value.detach().to("cpu", copy=True).contiguous()


def _weights(prefix: str, model: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: _own(value) for name, value in model.state_dict().items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"{OPTIMIZER}{parameter}.{name}": _own(torch.as_tensor(value))
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def _by_parameter(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    values: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        parameter, _, name = key.partition(".")
        values.setdefault(int(parameter), {})[name] = value
    return values
