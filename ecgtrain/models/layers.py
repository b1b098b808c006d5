"""Layers that several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONTEXT_WIDTH = 32


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
