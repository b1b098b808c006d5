"""InceptionTime: parallel convolutions of several lengths, with residuals."""

from __future__ import annotations

import torch
from torch import nn

from ecgtrain.models.classifiers import SignalModel
from ecgtrain.models.heads import concat_pool_head
from ecgtrain.models.maps import Convolution, Maps, MaxPool, Norm, convolution_norm, relu
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.resnet1d import MeanEncoder
from ecgtrain.models.resnet1d_wang import PooledEncoder

FILTERS = 32
BOTTLENECK = 32
DEPTH = 6
KERNELS = (39, 19, 9)
RESIDUAL_EVERY = 3


class InceptionModule(nn.Module):
    """Convolutions of several lengths behind a bottleneck, beside a max-pool and a 1×1 convolution; joined.

    Parameters
    ----------
    n_in, filters : int
        Channels of the input and of each branch.
    kernels : sequence of int
        Lengths.
    """

    def __init__(self, n_in: int, filters: int = FILTERS, kernels: tuple[int, ...] = KERNELS) -> None:
        super().__init__()
        self.bottleneck = Convolution(n_in, BOTTLENECK, 1) if n_in > 1 else nn.Identity()
        n_branch = BOTTLENECK if n_in > 1 else 1
        self.branches = nn.ModuleList(Convolution(n_branch, filters, kernel) for kernel in kernels)
        self.pooled = nn.Sequential(MaxPool(3, 1, 1), Convolution(n_in, filters, 1))

    def forward(self, maps: Maps) -> Maps:
        """Return the joined branches."""
        narrow = self.bottleneck(maps)
        values = [branch(narrow).values for branch in self.branches]
        return maps._replace(values=torch.cat([*values, self.pooled(maps).values], dim=1))


class InceptionTrunk(nn.Module):
    """Inception modules with a projected shortcut around every three.

    Parameters
    ----------
    n_leads : int
        Leads of the signal.
    """

    n_out = FILTERS * (len(KERNELS) + 1)

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        modules = (InceptionModule(n_leads if i == 0 else self.n_out) for i in range(DEPTH))
        self.inceptions = nn.ModuleList(nn.Sequential(module, Norm(self.n_out), relu()) for module in modules)
        starts = (n_leads if i == 0 else self.n_out for i in range(0, DEPTH, RESIDUAL_EVERY))
        self.shortcuts = nn.ModuleList(convolution_norm(n_in, self.n_out, 1) for n_in in starts)
        self.relu = relu()

    def forward(self, maps: Maps) -> Maps:
        """Return the maps after all modules."""
        for i, shortcut in enumerate(self.shortcuts):
            start = maps
            for module in self.inceptions[RESIDUAL_EVERY * i : RESIDUAL_EVERY * (i + 1)]:
                maps = module(maps)
            maps = self.relu(maps.plus(shortcut(start)))
        return maps


@register_model(
    reads="signal",
    source="Ismail Fawaz et al. 2020 (arXiv:1909.04939); Strodthoff et al. 2020 (arXiv:2004.13701)",
)
def inception1d(shape: InputShape) -> nn.Module:
    """InceptionTime of the PTB-XL benchmark: six modules of 39, 19 and 9 samples, and its pooled head.

    References
    ----------
    .. [1] Ismail Fawaz et al., InceptionTime, Data Mining and Knowledge Discovery 34, 2020.
    .. [2] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021.
    """
    return SignalModel(PooledEncoder(InceptionTrunk(shape.n_leads), InceptionTrunk.n_out), shape, concat_pool_head)


@register_model(
    reads="signal",
    source="Ismail Fawaz et al. 2020 (arXiv:1909.04939)",
    settings={"schedule": {"factor": 0.5, "patience": 50}, "early_stopping": {"patience": 100}},
)
def inception_time(shape: InputShape) -> nn.Module:
    """InceptionTime as published: six modules of 39, 19 and 9 samples, mean over time, a linear head.

    References
    ----------
    .. [1] Ismail Fawaz et al., InceptionTime, Data Mining and Knowledge Discovery 34, 2020. Its classifier is the mean
       of five such networks: train five seeds and join them. Its kernels are of 40, 20 and 10 samples; the odd ones
       here, which stay centred, make 405,381 parameters of 420,837 (one lead, five classes).
    """
    return SignalModel(MeanEncoder(InceptionTrunk(shape.n_leads), InceptionTrunk.n_out), shape)
