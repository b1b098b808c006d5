"""Residual networks on pictures."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, PictureModel
from ecgtrain.models.registry import InputShape, register_model

WIDTHS = (64, 128, 256, 512)


class ResNet18Encoder(Encoder):
    """timm's ResNet-18 without its head.

    Parameters
    ----------
    n_channels : int
        Channels of the pictures.
    """

    width = WIDTHS[-1]

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        import timm  # needs the torchvision that fits torch; only picture models should

        self.network: nn.Module = timm.create_model("resnet18", pretrained=False, in_chans=n_channels, num_classes=0)

    def forward(self, picture: Tensor) -> Tensor:
        """Return the vectors of a batch of pictures."""
        vectors: Tensor = self.network(picture)
        return vectors


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
    return PictureModel(ResNet18Encoder(shape.need_picture()[0]), shape)


class _Block(nn.Module):
    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, width, 3, stride, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )
        projected = nn.Sequential(nn.Conv2d(n_in, width, 1, stride), nn.BatchNorm2d(width))
        self.shortcut = projected if stride > 1 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = self.body(maps) + self.shortcut(maps)
        return summed.relu()


def _blocks() -> Iterator[_Block]:
    n_in = WIDTHS[0]
    for stage, width in enumerate(WIDTHS):
        yield _Block(n_in, width, stride=2 if stage else 1)
        yield _Block(width, width, stride=1)
        n_in = width


class SpectrogramEncoder(Encoder):
    """ResNet-18 with a constant in every convolution, as the transfer study has it.

    Parameters
    ----------
    n_channels : int
        Channels of the pictures.
    """

    width = WIDTHS[-1]

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, WIDTHS[0], 7, 2, padding=3),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(),
            nn.MaxPool2d(2),
            *_blocks(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return the vectors of a batch of pictures."""
        vectors: Tensor = self.layers(picture)
        return vectors


@register_model(
    reads="picture",
    source="He et al. 2016 (arXiv:1512.03385), on spectrograms after Weimann, Conrad 2021",
    settings={"optimizer": {"lr": 1e-3, "weight_decay": 0.0}},
)
def resnet18v2_2d(shape: InputShape) -> nn.Module:
    """2-D ResNet-18 of transfer learning for ECG, made for spectrograms of one channel.

    References
    ----------
    .. [1] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021: the 1-D networks
       and the task; spectrograms and this network are of a reproduction of it.
    """
    return PictureModel(SpectrogramEncoder(shape.need_picture()[0]), shape)
