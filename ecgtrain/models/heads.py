"""Heads: what makes logits of an encoder's vector."""

from __future__ import annotations

from torch import nn

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
