"""Contrastive predictive coding: which frame comes next, told apart from frames of other rows.

A row is cut into nine frames. The encoder makes a vector of each; a transformer sums the first eight up in a vector of
the context. The logits are its products with the vectors of the ninth frame, which is class 0, and of some frames of
other rows of the batch. The encoder keeps the names that it has in its own model, so that a run of that model starts
from it.

References
----------
.. [1] van den Oord, Li, Vinyals, Representation learning with contrastive predictive coding, arXiv:1807.03748, 2018.
.. [2] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021: eight frames of
   context, a learned token that pools them, three layers. They draw the other frames from a buffer of 16 patients; here
   the rows of the batch are the buffer. Attention is scaled by the root of a head's width, theirs by that of all heads.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from ecgtrain.config import FUTURE, FUTURE_PREFIX
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.nsht import sinusoidal_positions
from ecgtrain.models.registry import InputShape, ModelFacts, model_facts, register_family
from store.errors import UserError

N_CONTEXT = 8
N_LAYERS, N_HEADS, N_INNER = 3, 8, 1024

SETTINGS = {
    "scheme": FUTURE,
    "features": "none",
    "context": [],
    "class_weights": "none",
    "optimizer": {"lr": 1e-3, "betas": [0.9, 0.98], "eps": 1e-9, "weight_decay": 0.0},
}


class FutureModel(nn.Module):
    """An encoder that learns to tell the next frame of a row from frames of other rows.

    Parameters
    ----------
    encoder : Encoder
        From frames (batch, n_leads, n_samples) to vectors.
    n_others : int
        Frames of other rows that stand beside the true one.
    """

    positions: Tensor

    def __init__(self, encoder: Encoder, n_others: int) -> None:
        super().__init__()
        if encoder.width % N_HEADS:
            raise UserError(f"an encoder's vector of {encoder.width} numbers cannot be shared by {N_HEADS} heads")
        self.encoder = encoder
        self.n_others = n_others
        self.pool = nn.Parameter(torch.randn(encoder.width))
        layer = nn.TransformerEncoderLayer(encoder.width, N_HEADS, N_INNER, dropout=0.0, batch_first=True)
        self.summary = nn.TransformerEncoder(layer, N_LAYERS, enable_nested_tensor=False)
        self.register_buffer("positions", sinusoidal_positions(N_CONTEXT, encoder.width), persistent=False)

    def embed(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the contexts, (batch, width), and of all frames, (batch, 9, width).

        Samples that are left over when a row is cut into nine are those at its start.
        """
        n_frames = N_CONTEXT + 1
        n_samples = signal.shape[2] // n_frames
        whole = signal[:, :, -n_frames * n_samples :]
        frames = whole.reshape(len(signal), -1, n_frames, n_samples).transpose(1, 2)
        vectors: Tensor = self.encoder(frames.flatten(0, 1).contiguous()).view(len(signal), n_frames, -1)
        tokens = vectors[:, :N_CONTEXT] * math.sqrt(vectors.shape[2]) + self.positions
        pool = self.pool.expand(len(tokens), 1, -1)
        return self.summary(torch.cat([pool, tokens], dim=1))[:, 0], vectors

    def forward(self, signal: Tensor) -> Tensor:
        """Return the products of each context with its next frame and with those of others, (batch, 1 + n_others)."""
        context, vectors = self.embed(signal)
        row, frame = self._others(len(signal), signal.device)
        candidates = torch.cat([vectors[:, N_CONTEXT:], vectors[row, frame]], dim=1)
        return (candidates * context[:, None]).sum(dim=2)

    def _others(self, n_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return rows and frames that stand beside each row's next frame, both (n_rows, n_others).

        They are drawn while training; in evaluation they are the same for the same batch. A row that is alone in its
        batch stands beside frames of its own past.
        """
        number = torch.arange(self.n_others, device=device).expand(n_rows, -1)
        if self.training:
            shape = (n_rows, self.n_others)
            away = torch.randint(1, max(n_rows, 2), shape, device=device)
            frame = torch.randint(N_CONTEXT, shape, device=device)
        else:
            away, frame = 1 + number % max(n_rows - 1, 1), number % N_CONTEXT
        return (torch.arange(n_rows, device=device)[:, None] + away) % n_rows, frame


def _future(name: str, shape: InputShape) -> nn.Module:
    frame = InputShape(shape.n_leads, shape.n_samples // (N_CONTEXT + 1), shape.fs_hz, n_classes=1)
    model = model_facts(name).make(frame)
    if not isinstance(model, SignalModel):
        raise UserError(f"{FUTURE_PREFIX}/{name}: {name} has no encoder of signals to train")
    return FutureModel(model.encoder, shape.n_classes - 1)


@register_family(
    FUTURE_PREFIX, "pre-training of a model of signals: which frame comes next", ("resnet18v2_1d", "resnet1d_wang")
)
def future_facts(name: str) -> ModelFacts:
    """Return the facts of a model of signals that is pre-trained by contrastive predictive coding."""
    facts = model_facts(name)
    if facts.reads != "signal":
        raise UserError(f"{FUTURE_PREFIX}/{name}: {name} reads {facts.reads}; name a model of signals")
    source = "van den Oord et al. 2018 (arXiv:1807.03748)"
    return ModelFacts(f"{FUTURE_PREFIX}/{name}", "signal", source, SETTINGS, partial(_future, name))
