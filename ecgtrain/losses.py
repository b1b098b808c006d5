"""Losses, and the weights that make rare classes count.

A loss is the sum of a term a row over the sum of a share a row, so that it is the same whether a batch is computed
at once, in parts, or by several processes.

References
----------
.. [1] Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019 (``effective``).
.. [2] El-Ghaish, Eldele, ECGTransForm, Biomedical Signal Processing and Control 2024 (``context``).
.. [3] Lin et al., Focal loss for dense object detection, ICCV 2017 (``focal``).
.. [4] Ridnik et al., Asymmetric loss for multi-label classification, ICCV 2021 (``asymmetric``); no gradient flows
   through its focusing factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ecgtrain.config import LossConfig
from store.errors import UserError

EFFECTIVE_BETA = 0.9999
LARGEST_POSITIVE_WEIGHT = 10.0

Terms = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss over rows.

    Parameters
    ----------
    terms : callable
        From logits and targets, both (n, n_classes), to a number a row; targets are shares of each class.
    weights : torch.Tensor or None
        Weight of each class in the mean; None: every row counts the same.
    """

    terms: Terms
    weights: Tensor | None = None

    def shares(self, target: Tensor) -> Tensor:
        """Return what each row counts in the mean, shape (n,)."""
        if self.weights is None:
            return target.new_ones(len(target))
        return target @ self.weights.to(target.device)

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over rows."""
        return self.terms(logits, target).sum() / self.shares(target).sum()


def class_weights(counts: NDArray[np.int64], kind: str) -> NDArray[np.float64]:
    """Return the weight of each class in a cross-entropy.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_classes,)
        Training rows of each class.
    kind : str
        ``none`` 1; ``inverse`` N/(C·n); ``sqrt_inverse`` its root; ``effective`` (1−β)/(1−βⁿ); ``context``
        max(1, ln(n_max/n)).

    Returns
    -------
    ndarray of float64, shape (n_classes,)
        Mean 1 over the classes that occur; 0 for the others, which have no row to weigh.
    """
    counts = counts.astype(np.float64)
    seen = counts > 0
    n = np.where(seen, counts, 1.0)
    inverse = counts.sum() / (seen.sum() * n)
    formulas: dict[str, NDArray[np.float64]] = {
        "none": np.ones_like(n),
        "inverse": inverse,
        "sqrt_inverse": np.sqrt(inverse),
        "effective": (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n),
        "context": np.maximum(1.0, np.log(counts.max() / n)),
    }
    weights = formulas[kind] / formulas[kind][seen].mean()
    return np.where(seen, weights, 0.0)


def positive_weights(target: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (N − n)/n of each label, at most `LARGEST_POSITIVE_WEIGHT`; `target` has shape (n_rows, n_classes)."""
    positive = target.sum(axis=0, dtype=np.float64)
    ratio = (len(target) - positive) / np.maximum(positive, 1.0)
    capped: NDArray[np.float64] = np.minimum(ratio, LARGEST_POSITIVE_WEIGHT)
    return capped


def class_shares(target: Tensor, n_classes: int) -> Tensor:
    """Return targets as float32 shares of each class, (n, n_classes): class numbers become 0 and 1."""
    if target.ndim == 2:
        return target.float()
    return functional.one_hot(target, n_classes).float()


def weights_beside(kind: str, balance: str) -> str:
    """Return the class weights that go with a balance of the training rows: none.

    Raises
    ------
    UserError
        If weights were asked for as well: classes that are balanced already would be weighed twice.
    """
    if balance == "none":
        return kind
    if kind not in ("auto", "none"):
        raise UserError(
            f"balance={balance} with class_weights={kind}: the classes are balanced once already; leave one of them out"
        )
    return "none"


def logits_and_distances(outputs: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Return what a model in training says, cut in two.

    Parameters
    ----------
    outputs : torch.Tensor, shape (n, n_classes) or (n, 2 · n_classes)
        Logits; of a model with prototypes the distances from them as well.
    n_classes : int
        Classes of the task.

    Returns
    -------
    tuple of torch.Tensor
        Logits (n, n_classes), and distances (n, n_classes) or (n, 0).

    Raises
    ------
    UserError
        If the outputs are of another shape.
    """
    if outputs.ndim != 2 or outputs.shape[1] not in (n_classes, 2 * n_classes):
        raise UserError(
            f"the model's output has the shape {tuple(outputs.shape)}; of {len(outputs)} rows and {n_classes} "
            f"classes it has to be ({len(outputs)}, {n_classes})"
        )
    return outputs[:, :n_classes], outputs[:, n_classes:]


def attraction(distances: Tensor, shares: Tensor) -> Tensor:
    """Return how far each row lies from the prototypes of its classes.

    Parameters
    ----------
    distances : torch.Tensor, shape (n, n_classes) or (n, 0)
        From the prototypes; no column where a model has none.
    shares : torch.Tensor, shape (n, n_classes)
        From `class_shares`.

    Returns
    -------
    torch.Tensor, shape (n,)
        Sum of the distances, each times the row's share of the class; 0 without prototypes.
    """
    return (distances * shares[:, : distances.shape[1]]).sum(dim=1)


def make_loss(target: Tensor, n_classes: int, config: LossConfig, weights: str) -> Loss:
    """Return the loss of a task.

    Parameters
    ----------
    target : torch.Tensor
        Targets of the training rows: class numbers (n,), or 0 and 1 (n, n_classes) for several labels a row.
    n_classes : int
        Number of classes.
    config : LossConfig
        Which loss.
    weights : str
        Class weights; ``auto`` is ``none`` for several labels a row, ``sqrt_inverse`` else.

    Returns
    -------
    Loss
        It takes logits and `class_shares`.

    Raises
    ------
    UserError
        If loss or weights are not defined for the task.
    """
    return _label_loss(target, config, weights) if target.ndim == 2 else _class_loss(target, n_classes, config, weights)


def _class_loss(target: Tensor, n_classes: int, config: LossConfig, kind: str) -> Loss:
    if config.name in ("bce", "asymmetric"):
        raise UserError(f"loss.name={config.name} is for several labels a row; with one use cross_entropy or focal")
    counts = np.bincount(target.numpy(), minlength=n_classes)
    weights = torch.from_numpy(class_weights(counts, "sqrt_inverse" if kind == "auto" else kind)).float()
    gamma = config.gamma if config.name == "focal" else 0.0

    def terms(logits: Tensor, shares: Tensor) -> Tensor:
        log_p = functional.log_softmax(logits, dim=1)
        smooth = shares * (1 - config.label_smoothing) + config.label_smoothing / n_classes
        focus = (1 - log_p.exp()) ** gamma if gamma else 1.0
        return -(smooth * weights.to(logits.device) * focus * log_p).sum(dim=1)

    return Loss(terms, weights)


def _label_loss(target: Tensor, config: LossConfig, kind: str) -> Loss:
    if config.name == "cross_entropy":
        raise UserError("loss.name=cross_entropy is for one label a row; with several use bce, focal or asymmetric")
    if kind not in ("auto", "none", "inverse"):
        raise UserError(f"class_weights={kind} is for one label a row; with several use inverse or none")
    if kind == "inverse" and config.name in ("focal", "asymmetric"):
        raise UserError(f"class_weights=inverse goes with bce; loss.name={config.name} has weights of its own")
    positive = torch.from_numpy(positive_weights(target.numpy())).float() if kind == "inverse" else None
    label_terms = {"focal": _focal, "asymmetric": _asymmetric}.get(config.name)

    def terms(logits: Tensor, shares: Tensor) -> Tensor:
        smooth = shares * (1 - config.label_smoothing) + config.label_smoothing / 2
        if label_terms is not None:
            return label_terms(logits, smooth, config).mean(dim=1)
        weight = None if positive is None else positive.to(logits.device)
        return functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight, reduction="none").mean(1)

    return Loss(terms)


def _focal(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    p = logits.sigmoid()
    positive = config.alpha * (1 - p) ** config.gamma * functional.logsigmoid(logits)
    negative = (1 - config.alpha) * p**config.gamma * functional.logsigmoid(-logits)
    return -(target * positive + (1 - target) * negative)


def _asymmetric(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    p = logits.sigmoid()
    shifted = (p - config.margin).clamp(min=0)  # of negative labels alone: it would make positive ones too easy
    positive = (1 - p).detach() ** config.gamma_positive * functional.logsigmoid(logits)
    negative = shifted.detach() ** config.gamma_negative * torch.log1p(-shifted)
    return -(target * positive + (1 - target) * negative)
