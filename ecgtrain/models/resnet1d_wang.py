"""The 1-D residual network that leads the PTB-XL benchmark."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.layers import FeatureBranch
from ecgtrain.models.registry import InputShape, register_model

WIDTH = 128
STRIDES = (1, 2, 2)


class ResNet1dWang(nn.Module):
    """Three residual blocks without pooling in between, then mean and maximum over time.

    A signal is treated as a picture of height one whose channels lie last in memory: such convolutions are 1.7 times
    as fast on a CPU as 1-D ones.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(shape.n_leads, 7), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.blocks = nn.Sequential(*(_Block(stride) for stride in STRIDES))
        self.context = FeatureBranch(shape.n_features)
        self.head = _head(2 * WIDTH + self.context.width, shape.n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, signal: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the logits of a batch of signals (batch, n_leads, n_samples)."""
        row = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        maps = self.blocks(self.stem(row)).float()
        pooled = torch.cat([maps.amax(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1)
        logits: Tensor = self.head(self.context.beside(pooled, features))
        return logits


class _Block(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(WIDTH, 5, stride),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            _convolution(WIDTH, 3),
            nn.BatchNorm2d(WIDTH),
        )
        strided = nn.Sequential(_convolution(WIDTH, 1, stride), nn.BatchNorm2d(WIDTH))
        self.shortcut = strided if stride > 1 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.body(maps) + self.shortcut(maps))


def _convolution(n_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_channels, WIDTH, (1, kernel), stride=(1, stride), padding=(0, kernel // 2), bias=False)


def _head(width: int, n_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(width),
        nn.Dropout(0.25),
        nn.Linear(width, WIDTH),
        nn.ReLU(),
        nn.BatchNorm1d(WIDTH),
        nn.Dropout(0.5),
        nn.Linear(WIDTH, n_classes),
    )


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
    return ResNet1dWang(shape)
