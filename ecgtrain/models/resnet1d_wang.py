"""The 1-D residual network that leads the PTB-XL benchmark, and the plain convolutional one that it grew from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.heads import concat_pool_head
from ecgtrain.models.maps import (
    Convolution,
    Maps,
    Norm,
    convolution_norm_relu,
    max_over_time,
    mean_over_time,
    relu,
    signal_maps,
)
from ecgtrain.models.registry import InputShape, register_model

WIDTH = 128
STRIDES = (1, 2, 2)
FCN_LAYERS = ((128, 8), (256, 5), (128, 3))  # channels and kernel


class PooledEncoder(Encoder):
    """Layers on maps, then the maximum and the mean of each channel over time.

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
        self.width = 2 * n_channels

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return maximum and mean, shape (batch, 2 · n_channels)."""
        maps: Maps = self.layers(signal_maps(signal, extent))
        return torch.cat([max_over_time(maps), mean_over_time(maps)], dim=1)


class _Block(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution_norm_relu(WIDTH, WIDTH, 5, stride), Convolution(WIDTH, WIDTH, 3), Norm(WIDTH)
        )
        strided = nn.Sequential(Convolution(WIDTH, WIDTH, 1, stride), Norm(WIDTH))
        self.shortcut = strided if stride > 1 else nn.Identity()
        self.relu = relu()

    def forward(self, maps: Maps) -> Maps:
        summed: Maps = self.relu(self.body(maps).plus(self.shortcut(maps)))
        return summed


@register_model(
    reads="signal",
    source="Wang et al. 2017 (arXiv:1611.06455); Strodthoff et al. 2020 (arXiv:2004.13701)",
)
def resnet1d_wang(shape: InputShape) -> nn.Module:
    """1-D ResNet of three blocks, 128 wide, kernels 5 and 3.

    References
    ----------
    .. [1] Wang, Yan, Oates, Time series classification from scratch with deep neural networks, IJCNN 2017.
    .. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021. From
       it: width 128, kernels 5 and 3, the stem's kernel of 7 without pooling, and the head of pooled maximum and mean.
       Ours departs in training on whole rows, not on 2.5-second crops, and takes numbers such as RR intervals beside
       the pooled maps.
    """
    blocks = (_Block(stride) for stride in STRIDES)
    layers = nn.Sequential(convolution_norm_relu(shape.n_leads, WIDTH, 7), *blocks)
    return SignalModel(PooledEncoder(layers, WIDTH), shape, concat_pool_head)


@register_model(
    reads="signal",
    source="Wang et al. 2017 (arXiv:1611.06455); Strodthoff et al. 2020 (arXiv:2004.13701)",
)
def fcn_wang(shape: InputShape) -> nn.Module:
    """Fully convolutional network: 128, 256 and 128 channels, kernels 8, 5 and 3.

    References
    ----------
    .. [1] Wang, Yan, Oates, Time series classification from scratch with deep neural networks, IJCNN 2017.
    .. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021: the
       head of pooled maximum and mean.
    """
    n_in = [shape.n_leads, *(n_out for n_out, _ in FCN_LAYERS)]
    layers = (convolution_norm_relu(n, n_out, kernel) for n, (n_out, kernel) in zip(n_in, FCN_LAYERS, strict=False))
    return SignalModel(PooledEncoder(nn.Sequential(*layers), FCN_LAYERS[-1][0]), shape, concat_pool_head)
