"""The deep 1-D residual networks of the PTB-XL benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from ecgtrain.models.classifiers import SignalModel
from ecgtrain.models.heads import concat_pool_head
from ecgtrain.models.maps import (
    AveragePool,
    Maps,
    MaxPool,
    Norm,
    convolution_norm,
    convolution_norm_relu,
    relu,
)
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.resnet1d_wang import PooledEncoder

STEM = (32, 32, 64)
INNER, OUTER = 64, 256  # of every bottleneck
KERNEL = 5

SOURCE = "He et al. 2019 (arXiv:1812.01187); Strodthoff et al. 2020 (arXiv:2004.13701)"


class _Bottleneck(nn.Module):
    def __init__(self, n_in: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution_norm_relu(n_in, INNER, 1),
            convolution_norm_relu(INNER, INNER, KERNEL, stride),
            convolution_norm(INNER, OUTER, 1),
        )
        pool = [AveragePool(2)] if stride > 1 else []
        widen = [convolution_norm(n_in, OUTER, 1)] if n_in != OUTER else []
        self.shortcut = nn.Sequential(*pool, *widen)
        self.relu = relu()

    def forward(self, maps: Maps) -> Maps:
        summed: Maps = self.relu(self.body(maps).plus(self.shortcut(maps)))
        return summed


def _stem(n_leads: int) -> Iterator[nn.Module]:
    widths = (n_leads, *STEM)
    for i, (n_in, n_out) in enumerate(zip(widths, STEM, strict=False)):
        yield convolution_norm_relu(n_in, n_out, KERNEL, stride=2 if i == 0 else 1)
    yield MaxPool(3, 2, 1)


def _blocks(depths: Sequence[int]) -> Iterator[nn.Module]:
    n_in = STEM[-1]
    for stage, depth in enumerate(depths):
        for block in range(depth):
            yield _Bottleneck(n_in, stride=2 if stage > 0 and block == 0 else 1)
            n_in = OUTER


def _network(shape: InputShape, depths: Sequence[int]) -> nn.Module:
    layers = nn.Sequential(*_stem(shape.n_leads), *_blocks(depths))
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, _Bottleneck):
            last = list(layer.body.modules())[-1]
            assert isinstance(last, Norm)
            nn.init.zeros_(last.weight)  # every block starts as its shortcut
    return SignalModel(PooledEncoder(layers, OUTER), shape, concat_pool_head)


@register_model(reads="signal", source=SOURCE)
def xresnet1d50(shape: InputShape) -> nn.Module:
    """1-D XResNet of 16 bottlenecks, kernel 5, 64 wide inside and 256 outside in every stage.

    References
    ----------
    .. [1] He et al., Bag of tricks for image classification with convolutional neural networks, CVPR 2019.
    .. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021.
    """
    return _network(shape, (3, 4, 6, 3))


@register_model(reads="signal", source=SOURCE)
def xresnet1d101(shape: InputShape) -> nn.Module:
    """1-D XResNet of 33 bottlenecks, kernel 5, 64 wide inside and 256 outside in every stage.

    References
    ----------
    .. [1] He et al., Bag of tricks for image classification with convolutional neural networks, CVPR 2019.
    .. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021.
    """
    return _network(shape, (3, 4, 23, 3))
