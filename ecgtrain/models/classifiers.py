"""How a model is put together: an encoder makes a vector of a row, a head makes logits of the vector.

Every model is one of the three kinds here, so that transfer, fusion and explanation find the same parts in all of
them: ``model.embed(…)`` gives the vector before the head, and the head's weights begin with ``head.``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecgtrain.models.registry import InputShape

CONTEXT_WIDTH = 32

MakeHead = Callable[[int, int], nn.Module]  # from the widths of vector and logits


class Encoder(nn.Module):
    """What makes a vector of a row; `width` is the vector's length."""

    width: int


class FeatureBranch(nn.Module):
    """Two layers that turn the numbers beside a row into a vector; an empty one where there are none.

    Parameters
    ----------
    n_features : int
        How many numbers a row has.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.width = CONTEXT_WIDTH if n_features else 0
        self.layers = (
            nn.Sequential(
                nn.Linear(n_features, CONTEXT_WIDTH), nn.ReLU(), nn.Linear(CONTEXT_WIDTH, CONTEXT_WIDTH), nn.ReLU()
            )
            if n_features
            else None
        )

    def beside(self, vector: Tensor, features: Tensor | None) -> Tensor:
        """Return `vector` (batch, d) with the branch's output appended, (batch, d + width)."""
        if self.layers is None:
            return vector
        return torch.cat([vector, self.layers(features)], dim=1)


class SignalModel(nn.Module):
    """A model of signals, and of numbers beside them.

    Parameters
    ----------
    encoder : Encoder
        From signals (batch, n_leads, n_samples) and their extents to vectors.
    shape : InputShape
        What it is made for.
    make_head : callable
        From the vector's width and the number of classes to the head.
    """

    def __init__(self, encoder: Encoder, shape: InputShape, make_head: MakeHead = nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.context = FeatureBranch(shape.n_features)
        self.width = encoder.width + self.context.width
        self.head = make_head(self.width, shape.n_classes)
        self.to(memory_format=torch.channels_last)

    def embed(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Tensor:
        """Return the vectors before the head, shape (batch, width)."""
        return self.context.beside(self.encoder(signal, extent), features)

    def forward(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Tensor:
        """Return the logits of a batch of signals."""
        logits: Tensor = self.head(self.embed(signal, features, extent))
        return logits


class PictureModel(nn.Module):
    """A model of pictures, whose channels lie last in memory: its convolutions read them faster.

    Parameters
    ----------
    encoder : Encoder
        From pictures (batch, channels, height, width) to vectors.
    shape : InputShape
        What it is made for.
    make_head : callable
        From the vector's width and the number of classes to the head.
    """

    def __init__(self, encoder: Encoder, shape: InputShape, make_head: MakeHead = nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = encoder.width
        self.head = make_head(self.width, shape.n_classes)
        self.to(memory_format=torch.channels_last)

    def embed(self, picture: Tensor) -> Tensor:
        """Return the vectors before the head, shape (batch, width)."""
        vector: Tensor = self.encoder(picture.contiguous(memory_format=torch.channels_last))
        return vector

    def forward(self, picture: Tensor) -> Tensor:
        """Return the logits of a batch of pictures."""
        logits: Tensor = self.head(self.embed(picture))
        return logits
