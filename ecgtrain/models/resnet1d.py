"""The 1-D residual networks of transfer learning for ECG: kernels of 7, 5, 5 and 3 in their four stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.maps import (
    Maps,
    MaxPool,
    convolution_norm,
    convolution_norm_relu,
    mean_over_time,
    relu,
    signal_maps,
)
from ecgtrain.models.registry import InputShape, register_model

WIDTHS = (64, 128, 256, 512)
KERNELS = (7, 5, 5, 3)
EXPANSION = 4  # of a bottleneck

SOURCE = "Weimann, Conrad 2021 (doi:10.1038/s41598-021-84374-8)"
FINE_TUNING = {"optimizer": {"lr": 1e-3, "weight_decay": 0.0}}


class MeanEncoder(Encoder):
    """Layers on maps, then the mean of each channel over time.

    Parameters
    ----------
    layers : torch.nn.Module
        From maps to maps.
    n_channels : int
        Channels of the last ones.
    """

    def __init__(self, layers: nn.Module, n_channels: int) -> None:
        super().__init__()
        self.layers = layers
        self.width = n_channels

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the means, shape (batch, n_channels)."""
        return mean_over_time(self.layers(signal_maps(signal, extent)))


class Residual(nn.Module):
    """A body beside a shortcut, added, then a ReLU.

    Parameters
    ----------
    body : torch.nn.Module
        From maps to maps of `n_out` channels.
    n_in, n_out, stride : int
        Channels and stride of the body; the shortcut is a 1×1 convolution where they change the shape.
    """

    def __init__(self, body: nn.Module, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = body
        changes = stride > 1 or n_in != n_out
        self.shortcut = convolution_norm(n_in, n_out, 1, stride) if changes else nn.Identity()
        self.relu = relu()

    def forward(self, maps: Maps) -> Maps:
        """Return the maps after the block."""
        summed: Maps = self.relu(self.body(maps).plus(self.shortcut(maps)))
        return summed


def _basic(n_in: int, width: int, kernel: int, stride: int) -> Residual:
    body = nn.Sequential(
        convolution_norm_relu(n_in, width, kernel, stride),
        convolution_norm(width, width, kernel),
    )
    return Residual(body, n_in, width, stride)


def _bottleneck(n_in: int, width: int, kernel: int, stride: int) -> Residual:
    body = nn.Sequential(
        convolution_norm_relu(n_in, width, 1),
        convolution_norm_relu(width, width, kernel, stride),
        convolution_norm(width, EXPANSION * width, 1),
    )
    return Residual(body, n_in, EXPANSION * width, stride)


def _blocks(depths: Sequence[int], *, bottlenecks: bool) -> Iterator[Residual]:
    make, expansion = (_bottleneck, EXPANSION) if bottlenecks else (_basic, 1)
    n_in = WIDTHS[0]
    for stage, (width, kernel, depth) in enumerate(zip(WIDTHS, KERNELS, depths, strict=True)):
        for block in range(depth):
            yield make(n_in, width, kernel, 2 if stage > 0 and block == 0 else 1)
            n_in = expansion * width


def _network(shape: InputShape, depths: Sequence[int], *, bottlenecks: bool = False) -> nn.Module:
    stem = [convolution_norm_relu(shape.n_leads, WIDTHS[0], 7, stride=2), MaxPool(3, 2, 1)]
    layers = nn.Sequential(*stem, *_blocks(depths, bottlenecks=bottlenecks))
    return SignalModel(MeanEncoder(layers, WIDTHS[-1] * (EXPANSION if bottlenecks else 1)), shape)


@register_model(reads="signal", source=SOURCE, settings=FINE_TUNING)
def resnet18v2_1d(shape: InputShape) -> nn.Module:
    """1-D ResNet-18 of transfer learning for ECG.

    References
    ----------
    .. [1] Weimann, Conrad, Transfer learning for ECG classification, Scientific Reports 11:5251, 2021. As in its code,
       the blocks are convolution, normalisation, ReLU, in spite of the name "v2", which stands for pre-activation.
    """
    return _network(shape, (2, 2, 2, 2))


@register_model(reads="signal", source=SOURCE, settings=FINE_TUNING)
def resnet34v2_1d(shape: InputShape) -> nn.Module:
    """1-D ResNet-34 of transfer learning for ECG; see `resnet18v2_1d`."""
    return _network(shape, (3, 4, 6, 3))


@register_model(reads="signal", source=SOURCE, settings=FINE_TUNING)
def resnet50v2_1d(shape: InputShape) -> nn.Module:
    """1-D ResNet-50 of transfer learning for ECG, the stride in the middle of its bottlenecks; see `resnet18v2_1d`."""
    return _network(shape, (3, 4, 6, 3), bottlenecks=True)
