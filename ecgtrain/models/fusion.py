"""Ways to make one answer of several experts'.

A fusion of probabilities returns logits too: the logarithm of a distribution is a logit vector whose softmax is that
distribution, and the log odds of a probability are a logit whose sigmoid it is. So the losses on logits are right for
all of them; `gives` says which of both a fusion returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtrain.models.heads import one_layer_head, two_layer_head

SIGNAL_WEIGHT, PICTURE_WEIGHT = 0.6, 0.4

Gives = Literal["logits", "log_probabilities"]


def mix(logits: Tensor, weights: Tensor, *, multilabel: bool) -> Tensor:
    """Return the weighted mean of experts' probabilities, as logits.

    Parameters
    ----------
    logits : torch.Tensor, shape (batch, n_experts, n_classes)
        What each expert says.
    weights : torch.Tensor, shape (n_experts,) or (batch, n_experts)
        Of a sum of 1.
    multilabel : bool
        Whether a probability is a sigmoid of its own logit, not a softmax over all.

    Returns
    -------
    torch.Tensor, shape (batch, n_classes)
        ln p; of a multi-label task ln p − ln(1 − p).
    """
    log_weight = weights.log()[..., None]
    if not multilabel:
        return torch.logsumexp(log_weight + logits.log_softmax(dim=2), dim=1)
    present = torch.logsumexp(log_weight + functional.logsigmoid(logits), dim=1)
    return present - torch.logsumexp(log_weight + functional.logsigmoid(-logits), dim=1)


class FixedFusion(nn.Module):
    """Probabilities mixed by weights that are given.

    Parameters
    ----------
    weights : sequence of float
        One an expert; they are divided by their sum.
    multilabel : bool
        As in `mix`.
    """

    gives: Gives = "log_probabilities"

    def __init__(self, weights: Sequence[float] = (SIGNAL_WEIGHT, PICTURE_WEIGHT), *, multilabel: bool = False) -> None:
        super().__init__()
        self.multilabel = multilabel
        self.register_buffer("weights", torch.tensor(weights) / sum(weights))

    def forward(self, logits: Tensor) -> Tensor:
        """Return the mixed answer of logits (batch, n_experts, n_classes)."""
        return mix(logits, self.get_buffer("weights"), multilabel=self.multilabel)


class LearnableFusion(nn.Module):
    """A small network on all experts' logits.

    Parameters
    ----------
    n_experts, n_classes : int
        Experts, and logits of each.
    """

    gives: Gives = "logits"

    def __init__(self, n_experts: int, n_classes: int) -> None:
        super().__init__()
        self.network = one_layer_head(64, 0.3)(n_experts * n_classes, n_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the logits that follow from logits (batch, n_experts, n_classes)."""
        joined: Tensor = self.network(logits.flatten(1))
        return joined


class AttentionFusion(nn.Module):
    """Probabilities mixed by weights that a small network gives each row.

    Parameters
    ----------
    n_experts, n_classes : int
        Experts, and logits of each.
    multilabel : bool
        As in `mix`.
    """

    gives: Gives = "log_probabilities"

    def __init__(self, n_experts: int, n_classes: int, *, multilabel: bool = False) -> None:
        super().__init__()
        self.multilabel = multilabel
        self.score = nn.Sequential(nn.Linear(n_experts * n_classes, 32), nn.ReLU(), nn.Linear(32, n_experts))

    def weights(self, logits: Tensor) -> Tensor:
        """Return each row's weights of the experts, shape (batch, n_experts)."""
        found: Tensor = self.score(logits.flatten(1)).softmax(dim=1)
        return found

    def forward(self, logits: Tensor) -> Tensor:
        """Return the mixed answer of logits (batch, n_experts, n_classes)."""
        return mix(logits, self.weights(logits), multilabel=self.multilabel)


class FeatureFusion(nn.Module):
    """A network on the experts' vectors before their heads.

    Parameters
    ----------
    widths : sequence of int
        Length of each expert's vector.
    n_classes : int
        Number of classes.
    """

    gives: Gives = "logits"

    def __init__(self, widths: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.network = two_layer_head(256, 128, 0.3)(sum(widths), n_classes)

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the logits that follow from each expert's vectors (batch, width)."""
        joined: Tensor = self.network(torch.cat(list(vectors), dim=1))
        return joined
