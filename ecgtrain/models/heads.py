"""Heads: what makes logits of an encoder's vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtrain.models.classifiers import MakeHead


def dropout_head(share: float) -> MakeHead:
    """Return a maker of linear heads behind a dropout of this share."""

    def make(width: int, n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Dropout(share), nn.Linear(width, n_classes))

    return make


def concat_pool_head(width: int, n_classes: int) -> nn.Module:
    """Return the head of the PTB-XL benchmark on pooled maximum and mean: one hidden layer of 128.

    References
    ----------
    .. [1] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021.
    """
    return nn.Sequential(
        nn.BatchNorm1d(width),
        nn.Dropout(0.25),
        nn.Linear(width, 128),
        nn.ReLU(),
        nn.BatchNorm1d(128),
        nn.Dropout(0.5),
        nn.Linear(128, n_classes),
    )


def wide_head(width: int, n_classes: int) -> nn.Module:
    """Return the head of the transformers on pictures (h1): one hidden layer of 512 with GELU and layer norm."""
    return nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(width, 512),
        nn.GELU(),
        nn.LayerNorm(512),
        nn.Dropout(0.15),
        nn.Linear(512, n_classes),
    )


def wide_relu_head(width: int, n_classes: int) -> nn.Module:
    """Return `wide_head` with ReLU for GELU, the head of ViT."""
    return nn.Sequential(
        nn.Dropout(0.3),
        nn.Linear(width, 512),
        nn.ReLU(),
        nn.LayerNorm(512),
        nn.Dropout(0.15),
        nn.Linear(512, n_classes),
    )


def two_tower_head(width: int, n_classes: int) -> nn.Module:
    """Return the head of late fusion (h2): both towers' features to 1024, then `wide_head`."""
    return nn.Sequential(
        nn.Linear(width, 1024), nn.GELU(), nn.LayerNorm(1024), nn.Dropout(0.3), wide_head(1024, n_classes)
    )


def wide_norm_head(width: int, n_classes: int) -> nn.Module:
    """Return the head of the convolutional networks on pictures (h3): as `wide_head`, with ReLU and batch norm."""
    return nn.Sequential(
        nn.Dropout(0.5),
        nn.Linear(width, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Dropout(0.25),
        nn.Linear(512, n_classes),
    )


def two_layer_head(first: int, second: int, dropout: float) -> MakeHead:
    """Return a maker of heads with two hidden layers, half the dropout after the second."""

    def make(width: int, n_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(width, first),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(first, second),
            nn.BatchNorm1d(second),
            nn.ReLU(),
            nn.Dropout(dropout / 2),
            nn.Linear(second, n_classes),
        )

    return make


def one_layer_head(hidden: int, dropout: float) -> MakeHead:
    """Return a maker of heads with one hidden layer, its batch normalisation and dropout."""

    def make(width: int, n_classes: int) -> nn.Module:
        layers = [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(dropout)]
        return nn.Sequential(*layers, nn.Linear(hidden, n_classes))

    return make


class PrototypeHead(nn.Module):
    """A head, and a learned prototype of each class that the vectors of its rows are drawn to.

    Parameters
    ----------
    layers : torch.nn.Module
        From vectors to logits.
    width, n_classes : int
        Numbers of a vector, and prototypes.

    References
    ----------
    .. [1] Yang, Zhang, Yin, Liu, Robust classification with convolutional prototype learning, CVPR 2018. Here the
       logits come of layers of their own, and vectors and prototypes are scaled to a length of 1.
    """

    def __init__(self, layers: nn.Module, width: int, n_classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.prototypes = nn.Parameter(torch.randn(n_classes, width))

    def distances(self, vector: Tensor) -> Tensor:
        """Return the squared distance of vectors (batch, width) from each prototype, (batch, n_classes), 0 to 4."""
        cosine = functional.normalize(vector.float(), dim=1) @ functional.normalize(self.prototypes, dim=1).T
        return 2 - 2 * cosine

    def forward(self, vector: Tensor) -> Tensor:
        """Return logits (batch, n_classes); in training the distances as well, (batch, 2 · n_classes)."""
        logits: Tensor = self.layers(vector)
        return torch.cat([logits, self.distances(vector)], dim=1) if self.training else logits


def prototype_head(make: MakeHead) -> MakeHead:
    """Return a maker of the heads of `make` with a prototype of each class."""

    def with_prototypes(width: int, n_classes: int) -> nn.Module:
        return PrototypeHead(make(width, n_classes), width, n_classes)

    return with_prototypes
