"""Residual networks on pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.registry import InputShape, register_model

TRUNK_WIDTH = 512


def resnet18_network(n_channels: int, n_classes: int) -> nn.Module:
    """Return timm's ResNet-18 for pictures of any number of channels; without a head for ``n_classes == 0``."""
    import timm  # needs the torchvision that fits torch; only picture models should

    network: nn.Module = timm.create_model("resnet18", pretrained=False, in_chans=n_channels, num_classes=n_classes)
    return network.to(memory_format=torch.channels_last)


class PictureNetwork(nn.Module):
    """A network on pictures whose channels lie last in memory, which its convolutions read faster.

    Parameters
    ----------
    network : torch.nn.Module
        From pictures (batch, channels, height, width) to logits or to a vector.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        """Return what the network makes of a batch of pictures."""
        output: Tensor = self.network(picture.contiguous(memory_format=torch.channels_last))
        return output


@register_model(
    reads="picture",
    source="He et al. 2016 (arXiv:1512.03385)",
    settings={"epochs": 15},
)
def resnet18(shape: InputShape) -> nn.Module:
    """ResNet-18 on pictures, a channel a lead, from random weights.

    References
    ----------
    .. [1] He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016.
    """
    return PictureNetwork(resnet18_network(shape.need_picture()[0], shape.n_classes))
