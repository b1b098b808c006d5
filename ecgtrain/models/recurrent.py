"""Recurrent networks over the samples of a signal, with additive attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.layers import FeatureBranch
from ecgtrain.models.registry import InputShape, register_model

HIDDEN = 128
LAYERS = 2
DROPOUT = 0.3


class AdditiveAttention(nn.Module):
    """Weighted mean over time: e_t = vᵀ tanh(W h_t + b), α = softmax(e).

    Parameters
    ----------
    width : int
        Length d of a state h_t; W is d × d/2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width // 2)
        self.score = nn.Linear(width // 2, 1, bias=False)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the context (batch, d) of states (batch, time, d) and the weights α (batch, time)."""
        weights = self.score(torch.tanh(self.project(states))).squeeze(2).softmax(dim=1)
        return torch.einsum("bt,btd->bd", weights, states), weights


class BiGruAttentionEncoder(nn.Module):
    """Two bidirectional GRU layers and additive attention: a signal to a vector.

    Parameters
    ----------
    n_leads : int
        Leads of the signal.
    """

    width = 2 * HIDDEN

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.gru = nn.GRU(n_leads, HIDDEN, LAYERS, batch_first=True, dropout=DROPOUT, bidirectional=True)
        self.attention = AdditiveAttention(self.width)

    def attend(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors (batch, 256) and the attention (batch, n_samples) of a batch of signals."""
        states, _ = self.gru(signal.transpose(1, 2))
        context, weights = self.attention(states)
        return context, weights

    def forward(self, signal: Tensor) -> Tensor:
        """Return the vector alone."""
        return self.attend(signal)[0]


class BiGruAttention(nn.Module):
    """The encoder with a linear head.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.encoder = BiGruAttentionEncoder(shape.n_leads)
        self.context = FeatureBranch(shape.n_features)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(self.encoder.width + self.context.width, shape.n_classes)

    def forward(self, signal: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the logits of a batch of signals (batch, n_leads, n_samples)."""
        vector = self.context.beside(self.encoder(signal), features)
        logits: Tensor = self.head(self.dropout(vector))
        return logits


@register_model(
    reads="signal",
    source="Cho et al. 2014 (arXiv:1406.1078); Bahdanau et al. 2015 (arXiv:1409.0473)",
)
def bigru_attention(shape: InputShape) -> nn.Module:
    """Bidirectional GRU, two layers of 128, with additive attention over time.

    References
    ----------
    .. [1] Cho et al., Learning phrase representations using RNN encoder–decoder, EMNLP 2014.
    .. [2] Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, ICLR 2015.
    """
    return BiGruAttention(shape)
