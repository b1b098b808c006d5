"""Fusion of a signal and its picture in one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.layers import FeatureBranch
from ecgtrain.models.recurrent import BiGruAttentionEncoder
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.resnet2d import TRUNK_WIDTH, PictureNetwork, resnet18_network

FUSED = 256


class JointFusion(nn.Module):
    """Each branch's vector, normalised and concatenated, then two layers.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.signal_branch = BiGruAttentionEncoder(shape.n_leads)
        self.picture_branch = PictureNetwork(resnet18_network(shape.need_picture()[0], 0))
        self.signal_norm = nn.LayerNorm(self.signal_branch.width)
        self.picture_norm = nn.LayerNorm(TRUNK_WIDTH)
        self.context = FeatureBranch(shape.n_features)
        width = self.signal_branch.width + TRUNK_WIDTH + self.context.width
        self.head = nn.Sequential(
            nn.Linear(width, FUSED), nn.ReLU(), nn.Dropout(0.3), nn.Linear(FUSED, shape.n_classes)
        )

    def forward(self, signal: Tensor, picture: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the logits of a batch of signals and their pictures."""
        seen = self.picture_norm(self.picture_branch(picture))
        heard = self.signal_norm(self.signal_branch(signal))
        logits: Tensor = self.head(self.context.beside(torch.cat([heard, seen], dim=1), features))
        return logits


@register_model(
    reads="both",
    source="this project's joint fusion of BiGRU with attention and ResNet-18",
    settings={"epochs": 15},
)
def joint_fusion(shape: InputShape) -> nn.Module:
    """BiGRU with attention on the signal beside ResNet-18 on its picture, trained together."""
    return JointFusion(shape)
