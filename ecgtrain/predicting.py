"""What a model says of the rows of a loader."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgtrain.distributed import this_world
from ecgtrain.listener import Listener
from ecgtrain.loader import Batch, Loader
from store.errors import EcgError, UserError

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}

Floats = NDArray[np.float32]


class SameInputError(EcgError, ValueError):
    """A changed copy of the rows equals the rows: averaging it in would change nothing and look like something."""


class Said(NamedTuple):
    """What a model says of some rows.

    Parameters
    ----------
    logits : ndarray of float32 or None
        Shape (n_rows, n_windows, n_classes); None where probabilities are means over changed copies.
    probability : ndarray of float32
        Of the same shape.
    """

    logits: Floats | None
    probability: Floats


def forward(model: nn.Module, batch: Batch, device: torch.device, precision: str) -> Tensor:
    """Return a model's logits for a batch, float32, whatever the arithmetic of its layers."""
    wanted = keywords_of(model, batch.inputs)
    inputs = {name: batch.inputs[name].to(device, non_blocking=True) for name in wanted}
    with torch.autocast(device.type, dtype=HALF.get(precision), enabled=precision in HALF):
        logits: Tensor = model(**inputs)
    return logits.float()


def keywords_of(model: nn.Module, offered: Iterable[str]) -> list[str]:
    """Return which of the keyword tensors that are offered a model's ``forward`` takes."""
    inner = getattr(model, "module", getattr(model, "_orig_mod", model))  # of parallel and of compiled models
    inner = getattr(inner, "_orig_mod", inner)
    takes = inspect.signature(inner.forward).parameters
    return [name for name in offered if name in takes or any(one.kind is one.VAR_KEYWORD for one in takes.values())]


def predict_logits(
    model: nn.Module,
    loader: Loader,
    device: torch.device,
    precision: str = "float32",
    listener: Listener | None = None,
    copy: int | None = None,
) -> NDArray[np.float32]:
    """Return a model's logits for all rows of a loader, in their order, shape (n_rows, n_windows, n_classes).

    Each process computes its own rows; all of them return all.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    loader : Loader
        The rows.
    device : torch.device
        Where the model is.
    precision : str
        Arithmetic of the layers that gain by it.
    listener : Listener, optional
        Watches the pass.
    copy : int, optional
        Number of a changed copy of the rows; None: as they are stored.
    """
    model.eval()
    batches: Iterable[Batch] = loader.in_order(copy)
    if listener is not None:
        batches = listener.watch(batches, loader.n_batches * len(loader.windows), "scoring")
    logits = torch.zeros(len(loader.rows), len(loader.windows), loader.n_classes, device=device)
    with torch.inference_mode():
        for batch in batches:
            place = torch.from_numpy(np.searchsorted(loader.rows, batch.rows)).to(device)
            logits[place, batch.window] = forward(model, batch, device, precision)
        values: NDArray[np.float32] = this_world().sum(logits).cpu().numpy()
    return values


def combined(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of probabilities over windows, shape (n_rows, n_classes)."""
    mean: NDArray[np.float32] = probability.mean(axis=1)
    return mean


def probabilities(logits: NDArray[np.float32], *, multilabel: bool) -> NDArray[np.float32]:
    """Return the probabilities of logits: a sigmoid each for several labels a row, a softmax else."""
    values = torch.from_numpy(logits)
    found: NDArray[np.float32] = (values.sigmoid() if multilabel else values.softmax(dim=-1)).numpy()
    return found


def one_hot(target: Tensor, n_classes: int) -> NDArray[np.int8]:
    """Return targets as 0 and 1, int8, shape (n_rows, n_classes)."""
    if target.ndim == 2:
        return target.numpy().astype(np.int8)
    hot: NDArray[np.int8] = (target.numpy()[:, None] == np.arange(n_classes)).astype(np.int8)
    return hot


def predict(
    model: nn.Module, loader: Loader, device: torch.device, precision: str, *, multilabel: bool, n_copies: int = 0
) -> Said:
    """Return what a model says of the rows of a loader, averaged over changed copies where there are any.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    loader : Loader
        The rows; its augmentation says how copies are changed.
    device : torch.device
        Where the model is.
    precision : str
        Arithmetic of the layers that gain by it.
    multilabel : bool
        Whether a row can have several classes.
    n_copies : int
        Changed copies whose probabilities are averaged with those of the rows themselves.

    Raises
    ------
    UserError
        If copies are wanted and the augmentation changes nothing.
    SameInputError
        If a copy turns out to be the row itself.
    """
    logits = predict_logits(model, loader, device, precision)
    probability = probabilities(logits, multilabel=multilabel)
    if not n_copies:
        return Said(logits, probability)
    if not loader.augmentation.changes_signals:
        raise UserError("test_time_copies needs an augmentation that changes a row, such as augmentation.shift_s=0.05")
    _check_that_copies_differ(loader)
    for copy in range(n_copies):
        probability += probabilities(predict_logits(model, loader, device, precision, copy=copy), multilabel=multilabel)
    probability /= 1 + n_copies
    return Said(None, probability)


def _check_that_copies_differ(loader: Loader) -> None:
    own, changed = (next(iter(loader.in_order(copy))).inputs for copy in (None, 0))
    if all(torch.equal(own[name], changed[name]) for name in own):
        raise SameInputError("a changed copy of the first rows equals the rows; raise the augmentation's parameters")
