"""Attention over the channels and the places of a picture's feature maps.

References
----------
.. [1] Woo, Park, Lee, Kweon, CBAM: convolutional block attention module, ECCV 2018.
.. [2] Zhang, Goodfellow, Metaxas, Odena, Self-attention generative adversarial networks, ICML 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATIO = 16
SPATIAL_KERNEL = 7
KEY_SHARE = 8


class ChannelAttention(nn.Module):
    """Each channel weighed by what the means and maxima of all channels say (reference 1).

    Parameters
    ----------
    n_channels : int
        Channels of the maps; the shared inner layer has a sixteenth of them.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        inner = max(n_channels // RATIO, 1)
        self.shared = nn.Sequential(
            nn.Linear(n_channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, n_channels, bias=False)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighed maps (batch, channels, height, width)."""
        gate = (self.shared(maps.mean(dim=(2, 3))) + self.shared(maps.amax(dim=(2, 3)))).sigmoid()
        weighed: Tensor = maps * gate[:, :, None, None]
        return weighed


class SpatialAttention(nn.Module):
    """Each place weighed by what the mean and the maximum over channels say around it (reference 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighed maps (batch, channels, height, width)."""
        planes = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        weighed: Tensor = maps * self.convolution(planes).sigmoid()
        return weighed


class ChannelSpatialAttention(nn.Sequential):
    """CBAM: channel attention, then spatial attention (reference 1).

    Parameters
    ----------
    n_channels : int
        Channels of the maps.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__(ChannelAttention(n_channels), SpatialAttention())


class PlaceAttention(nn.Module):
    """Self-attention between all places of the maps, added with a weight that starts at 0 (reference 2).

    Parameters
    ----------
    n_channels : int
        Channels of the maps; queries and keys have an eighth of them.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(n_channels, n_channels // KEY_SHARE, 1)
        self.key = nn.Conv2d(n_channels, n_channels // KEY_SHARE, 1)
        self.value = nn.Conv2d(n_channels, n_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps and what they attend to."""
        query, key, value = (layer(maps).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.einsum("bcq,bck->bqk", query, key).softmax(dim=2)
        found = torch.einsum("bqk,bck->bcq", weights, value).reshape(maps.shape)
        attended: Tensor = maps + self.gamma * found
        return attended
