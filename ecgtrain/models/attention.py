"""Attention over the time steps of a signal."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """Weighted mean over time: e_t = vᵀ tanh(W h_t + b), α = softmax(e).

    Parameters
    ----------
    width : int
        Length d of a state h_t; W is d × d/2.

    References
    ----------
    .. [1] Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, ICLR 2015.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width // 2)
        self.score = nn.Linear(width // 2, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the context (batch, d) of states (batch, time, d) and the weights α (batch, time), 0 off the mask."""
        scores = self.score(torch.tanh(self.project(states))).squeeze(2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        weights = scores.softmax(dim=1)
        return torch.einsum("bt,btd->bd", weights, states), weights


class SelfAttentionPool(nn.Module):
    """One multi-head self-attention layer with residual and layer normalisation, then the mean over time.

    Parameters
    ----------
    width : int
        Length d of a state.
    heads : int
        Number of heads.

    References
    ----------
    .. [1] Vaswani et al., Attention is all you need, NeurIPS 2017.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the pooled vectors (batch, d) of states (batch, time, d)."""
        ignored = None if mask is None else ~mask
        mixed, _ = self.attention(states, states, states, key_padding_mask=ignored, need_weights=False)
        return mean_over_steps(self.norm(states + mixed), mask)


def mean_over_steps(states: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of states (batch, time, d) over the steps in the mask."""
    if mask is None:
        return states.mean(dim=1)
    weight = mask.to(states.dtype)
    return torch.einsum("bt,btd->bd", weight / weight.sum(dim=1, keepdim=True), states)


def max_over_steps(states: Tensor, mask: Tensor | None) -> Tensor:
    """Return the maximum of states (batch, time, d) over the steps in the mask."""
    return states.amax(dim=1) if mask is None else states.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=1)
