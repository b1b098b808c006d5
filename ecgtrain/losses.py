"""Losses, and the weights that make rare classes count.

References
----------
.. [1] Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019 (``effective``).
.. [2] El-Ghaish, Eldele, ECGTransForm, Biomedical Signal Processing and Control 2024 (``context``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from store.errors import UserError

EFFECTIVE_BETA = 0.9999
LARGEST_POSITIVE_WEIGHT = 10.0

Loss = Callable[[Tensor, Tensor], Tensor]


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


def make_loss(target: Tensor, n_classes: int, kind: str) -> Loss:
    """Return the loss of a task: cross-entropy for class numbers, binary cross-entropy for several labels a row.

    Parameters
    ----------
    target : torch.Tensor
        Targets of the training rows.
    n_classes : int
        Number of classes.
    kind : str
        Class weights; ``auto`` is ``none`` for several labels a row, ``sqrt_inverse`` else.

    Returns
    -------
    callable
        From logits and targets to the mean loss.

    Raises
    ------
    UserError
        If the weights are not defined for several labels a row.
    """
    if target.ndim == 2:
        return _binary_loss(target, kind)
    counts = np.bincount(target.numpy(), minlength=n_classes)
    weights = torch.from_numpy(class_weights(counts, "sqrt_inverse" if kind == "auto" else kind)).float()
    return lambda logits, wanted: functional.cross_entropy(logits, wanted, weight=weights.to(logits.device))


def _binary_loss(target: Tensor, kind: str) -> Loss:
    if kind in ("auto", "none"):
        return functional.binary_cross_entropy_with_logits
    if kind != "inverse":
        raise UserError(f"class_weights={kind} is for one label a row; with several use inverse or none")
    weights = torch.from_numpy(positive_weights(target.numpy())).float()
    return lambda logits, wanted: functional.binary_cross_entropy_with_logits(
        logits, wanted, pos_weight=weights.to(logits.device)
    )
