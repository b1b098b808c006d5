"""How the members of an ensemble are joined: weights and networks, chosen and trained on validation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ecgtrain.config import EnsembleConfig
from ecgtrain.models.fusion import (
    PICTURE_WEIGHT,
    SIGNAL_WEIGHT,
    AttentionFusion,
    FeatureFusion,
    FixedFusion,
    LearnableFusion,
)
from store.errors import UserError

PARTS = 5  # of the patients of validation
TRAINED = ("learnable", "attention", "feature")


@dataclass(frozen=True)
class Task:
    """What is answered.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    multilabel : bool
        Whether a row can have several.
    """

    n_classes: int
    multilabel: bool


def member_weights(config: EnsembleConfig, validation_f1: Sequence[float]) -> list[float]:
    """Return the weight of each member's probabilities, of a sum of 1.

    Parameters
    ----------
    config : EnsembleConfig
        How they are joined: ``average``, ``top-k``, ``weighted`` or ``fixed``.
    validation_f1 : sequence of float
        Macro F1 of each on validation.
    """
    f1 = np.nan_to_num(np.asarray(validation_f1, np.float64))
    if config.by == "top-k":
        best = np.argsort(-f1, kind="stable")[: config.k]
        weights = np.isin(np.arange(len(f1)), best).astype(np.float64)
    elif config.by == "weighted":
        weights = f1 if f1.sum() > 0 else np.ones(len(f1))
    elif config.by == "fixed":
        weights = np.array(config.weights or (SIGNAL_WEIGHT, PICTURE_WEIGHT))
    else:
        weights = np.ones(len(f1))
    found: list[float] = (weights / weights.sum()).tolist()
    return found


def new_fusion(config: EnsembleConfig, task: Task, widths: Sequence[int]) -> nn.Module:
    """Return the untrained network of ``learnable``, ``attention`` or ``feature``.

    Parameters
    ----------
    config : EnsembleConfig
        How the members are joined.
    task : Task
        What is answered.
    widths : sequence of int
        Length of each member's features, for ``feature``.
    """
    n = len(config.ensemble)
    if config.by == "learnable":
        return LearnableFusion(n, task.n_classes)
    if config.by == "attention":
        return AttentionFusion(n, task.n_classes, multilabel=task.multilabel)
    if config.by == "feature":
        return FeatureFusion(widths, task.n_classes)
    return FixedFusion([1.0] * n, multilabel=task.multilabel)


def train_fusion(
    config: EnsembleConfig, task: Task, inputs: Sequence[Tensor], truth: NDArray[np.int8], patients: NDArray[np.int64]
) -> tuple[nn.Module, NDArray[np.float32]]:
    """Train a network on rows of validation; return it, and logits of these rows by networks that did not see them.

    Those of each fifth of the patients come from a network trained on the other four, so that what is calibrated and
    reported of validation is no memory of it.

    Parameters
    ----------
    config : EnsembleConfig
        How the members are joined.
    task : Task
        What is answered.
    inputs : sequence of torch.Tensor
        What each member says, shape (n_rows, width).
    truth : ndarray of int8, shape (n_rows, n_classes)
        What is true.
    patients : ndarray of int64, shape (n_rows,)
        Number of each row's patient.

    Raises
    ------
    UserError
        If validation has a single patient.
    """
    part_of = _parts(patients, config.seed)
    unseen = np.zeros(truth.shape, np.float32)
    for part in np.unique(part_of):
        held = torch.from_numpy(part_of == part)
        network = _train(config, task, [one[~held] for one in inputs], truth[part_of != part])
        unseen[part_of == part] = fused(network, [one[held] for one in inputs])
    return _train(config, task, inputs, truth), unseen


def _parts(patients: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return which part each row's patient is in, drawn with the seed."""
    known, number = np.unique(patients, return_inverse=True)
    if len(known) < 2:
        raise UserError("validation has one patient: a fusion that is trained needs two; take average or weighted")
    order = np.random.default_rng(seed).permutation(len(known))
    found: NDArray[np.int64] = (order % min(PARTS, len(known)))[number]
    return found


def _train(config: EnsembleConfig, task: Task, inputs: Sequence[Tensor], truth: NDArray[np.int8]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = new_fusion(config, task, [one.shape[1] for one in inputs])
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr)
        target = torch.from_numpy(truth.astype(np.float32))
        loss_of = functional.binary_cross_entropy_with_logits if task.multilabel else functional.cross_entropy
        network.train()
        for _ in range(config.steps):
            optimizer.zero_grad()
            loss_of(network(_as_read(network, inputs)), target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()


def fused(network: nn.Module, inputs: Sequence[Tensor]) -> NDArray[np.float32]:
    """Return the joined logits of rows, shape (n_rows, n_classes)."""
    network.eval()
    with torch.inference_mode():
        logits: NDArray[np.float32] = network(_as_read(network, inputs)).numpy()
    return logits


def _as_read(network: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor] | Tensor:
    return list(inputs) if isinstance(network, FeatureFusion) else torch.stack(list(inputs), dim=1)
