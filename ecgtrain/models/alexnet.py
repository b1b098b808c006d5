"""AlexNet and VGG on pictures, with attention between AlexNet's blocks if wanted.

Their published heads have two layers of 4096, over 50 million weights for PTB-XL's 17,000 records; a mean over places
and one layer of 512 stand in their place, except in the models whose names end in ``_historical``.

References
----------
.. [1] Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014: the widths of the one-tower
   AlexNet.
.. [2] Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, PictureModel
from ecgtrain.models.picture_attention import (
    ChannelAttention,
    ChannelSpatialAttention,
    PlaceAttention,
    SpatialAttention,
)
from ecgtrain.models.registry import InputShape, register_model
from store.errors import UserError

ALEXNET_WIDTHS = (64, 192, 384, 256, 256)
ALEXNET_SIDE = 63  # the smallest that survives its three poolings
VGG_STACKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and number of convolutions
SMALL_HEAD, HISTORICAL_HEAD = 512, 4096
DROPOUT = 0.5

ALEXNET = "Krizhevsky 2014 (arXiv:1404.5997)"
CBAM = "Woo et al. 2018 (arXiv:1807.06521)"
VGG = "Simonyan, Zisserman 2015 (arXiv:1409.1556)"
SETTINGS = {"epochs": 15, "optimizer": {"lr": 1e-4}}

MakeAttention = Callable[[int], nn.Module]


class TrunkEncoder(Encoder):
    """A convolutional trunk, a pool to a fixed size, and fully connected layers.

    Parameters
    ----------
    trunk : torch.nn.Module
        From pictures to maps.
    n_channels, places : int
        Channels of the maps, and the side that they are pooled to.
    hidden : sequence of int
        Widths of the layers after it.
    """

    def __init__(self, trunk: nn.Module, n_channels: int, places: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = trunk
        self.width = hidden[-1]
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(places), nn.Flatten())
        n_in = n_channels * places**2
        for n_out in hidden:
            self.layers.extend([nn.Dropout(DROPOUT), nn.Linear(n_in, n_out), nn.ReLU()])
            n_in = n_out

    def forward(self, picture: Tensor) -> Tensor:
        """Return the vectors of a batch of pictures."""
        vectors: Tensor = self.layers(self.trunk(picture))
        return vectors


def _alexnet_trunk(shape: InputShape, attention: MakeAttention | None = None) -> Iterator[nn.Module]:
    """Yield the five blocks; `attention`, given a block's channels, makes what follows it."""
    n_channels, *sides = shape.need_picture()
    if min(sides) < ALEXNET_SIDE:
        raise UserError(f"AlexNet reads pictures of {ALEXNET_SIDE}×{ALEXNET_SIDE} and more, not {sides[0]}×{sides[1]}")
    first, second, third, fourth, fifth = ALEXNET_WIDTHS
    blocks = (
        (nn.Conv2d(n_channels, first, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        (nn.Conv2d(first, second, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        (nn.Conv2d(second, third, 3, padding=1), nn.ReLU()),
        (nn.Conv2d(third, fourth, 3, padding=1), nn.ReLU()),
        (nn.Conv2d(fourth, fifth, 3, padding=1), nn.ReLU()),
    )
    for width, block in zip(ALEXNET_WIDTHS, blocks, strict=True):
        yield from block
        if attention:
            yield attention(width)


def _alexnet(shape: InputShape, attention: MakeAttention | None = None, *, places_attend: bool = False) -> nn.Module:
    trunk = [*_alexnet_trunk(shape, attention)]
    if places_attend:
        trunk.append(PlaceAttention(ALEXNET_WIDTHS[-1]))  # before the last pooling: 13 × 13 places
    trunk.append(nn.MaxPool2d(3, 2))
    return PictureModel(TrunkEncoder(nn.Sequential(*trunk), ALEXNET_WIDTHS[-1], 1, (SMALL_HEAD,)), shape)


@register_model(reads="picture", source=ALEXNET, settings=SETTINGS)
def alexnet(shape: InputShape) -> nn.Module:
    """AlexNet with one small layer after its mean over places."""
    return _alexnet(shape)


@register_model(reads="picture", source=ALEXNET, settings=SETTINGS)
def alexnet_historical(shape: InputShape) -> nn.Module:
    """AlexNet with its two layers of 4096."""
    trunk = nn.Sequential(*_alexnet_trunk(shape), nn.MaxPool2d(3, 2))
    hidden = (HISTORICAL_HEAD, HISTORICAL_HEAD)
    return PictureModel(TrunkEncoder(trunk, ALEXNET_WIDTHS[-1], 6, hidden), shape)


@register_model(reads="picture", source=f"{ALEXNET}; {CBAM}", settings=SETTINGS)
def alexnet_channel(shape: InputShape) -> nn.Module:
    """AlexNet with channel attention after each block."""
    return _alexnet(shape, ChannelAttention)


@register_model(reads="picture", source=f"{ALEXNET}; {CBAM}", settings=SETTINGS)
def alexnet_spatial(shape: InputShape) -> nn.Module:
    """AlexNet with spatial attention after each block."""
    return _alexnet(shape, lambda _width: SpatialAttention())


@register_model(reads="picture", source=f"{ALEXNET}; {CBAM}", settings=SETTINGS)
def alexnet_cbam(shape: InputShape) -> nn.Module:
    """AlexNet with channel, then spatial attention after each block."""
    return _alexnet(shape, ChannelSpatialAttention)


@register_model(reads="picture", source=f"{ALEXNET}; Zhang et al. 2019 (arXiv:1805.08318)", settings=SETTINGS)
def alexnet_self(shape: InputShape) -> nn.Module:
    """AlexNet with self-attention between the places of its last maps."""
    return _alexnet(shape, places_attend=True)


def _vgg_trunk(n_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    n_in = n_channels
    for width, depth in VGG_STACKS:
        for _ in range(depth):
            layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            n_in = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@register_model(reads="picture", source=VGG, settings=SETTINGS)
def vgg(shape: InputShape) -> nn.Module:
    """VGG-16 with batch normalisation and one small layer after its mean over places."""
    return PictureModel(TrunkEncoder(_vgg_trunk(shape.need_picture()[0]), VGG_STACKS[-1][0], 1, (SMALL_HEAD,)), shape)


@register_model(reads="picture", source=VGG, settings=SETTINGS)
def vgg_historical(shape: InputShape) -> nn.Module:
    """VGG-16 with batch normalisation and its two layers of 4096."""
    hidden = (HISTORICAL_HEAD, HISTORICAL_HEAD)
    return PictureModel(TrunkEncoder(_vgg_trunk(shape.need_picture()[0]), VGG_STACKS[-1][0], 7, hidden), shape)
