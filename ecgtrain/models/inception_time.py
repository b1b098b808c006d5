"""Context-aware InceptionTime: inception and dilated modules by turns, and the beat's three regions.

Context is four switches. The regions of the beat are part of the models whose names end in ``_context``. RR intervals
and neighbouring beats stand beside the signal, by the run's keys ``features`` and ``context``; ``causal`` drops what
comes after the beat from both. The other models read no context unless they are asked to.

The sizes were stated as 0.163, 0.572 and 2.134 million parameters for a beat of 360 samples and five classes. With
regions they are 0.162, 0.569 and 2.120 here: the layers that make up the last percent are not described.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.heads import one_layer_head
from ecgtrain.models.inception1d import InceptionModule
from ecgtrain.models.maps import (
    Convolution,
    Maps,
    Norm,
    convolution_norm,
    convolution_norm_relu,
    max_over_time,
    mean_over_time,
    relu,
    signal_maps,
)
from ecgtrain.models.registry import InputShape, register_model
from store.errors import UserError

KERNELS = (9, 19, 39)
DILATIONS, DILATED_KERNEL = (1, 2, 4, 8), 15
SQUEEZE = 16
QRS_BEFORE_S, QRS_AFTER_S = 0.06, 0.1
HEAD_WIDTH = 256

SOURCE = "Ismail Fawaz et al. 2020 (arXiv:1909.04939), with the context of this project's system C"
RECIPE = {
    "optimizer": {"lr": 1e-3, "weight_decay": 1e-4},
    "schedule": {"factor": 0.5, "patience": 5},
    "early_stopping": {"patience": 10},
}
ALONE = {**RECIPE, "features": "none", "context": []}
WITH_CONTEXT = {**RECIPE, "features": "auto", "context": ["neighbours"]}


class SqueezeExcite(nn.Module):
    """Each channel weighed by what all channels' means say.

    Parameters
    ----------
    n_channels, ratio : int
        Channels, and how much fewer the inner layer has.
    bias : bool
        Whether the two layers add constants.

    References
    ----------
    .. [1] Hu, Shen, Sun, Squeeze-and-excitation networks, CVPR 2018.
    """

    def __init__(self, n_channels: int, ratio: int, *, bias: bool = True) -> None:
        super().__init__()
        inner = max(n_channels // ratio, 1)
        self.gate = nn.Sequential(
            nn.Linear(n_channels, inner, bias=bias), nn.ReLU(), nn.Linear(inner, n_channels, bias=bias), nn.Sigmoid()
        )

    def forward(self, maps: Maps) -> Maps:
        """Return the weighed maps."""
        gate: Tensor = self.gate(mean_over_time(maps))
        return maps._replace(values=maps.values * gate[:, :, None, None])


class _DilatedModule(nn.Module):
    def __init__(self, n_in: int, filters: int) -> None:
        super().__init__()
        self.bottleneck = Convolution(n_in, filters, 1)
        self.branches = nn.ModuleList(
            Convolution(filters, filters, DILATED_KERNEL, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, maps: Maps) -> Maps:
        narrow = self.bottleneck(maps)
        return maps._replace(values=torch.cat([branch(narrow).values for branch in self.branches], dim=1))


class _Block(nn.Module):
    def __init__(self, module: nn.Module, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(module, Norm(n_out), relu(), SqueezeExcite(n_out, SQUEEZE))
        self.shortcut = convolution_norm(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, maps: Maps) -> Maps:
        summed: Maps = self.body(maps).plus(self.shortcut(maps))
        return summed


class BeatRegions(nn.Module):
    """What is before, in and after the QRS complex: each region's mean, weighed by attention, at its own place.

    Parameters
    ----------
    n_channels : int
        Channels of the maps.
    shape : InputShape
        What says where the R peak is.

    Raises
    ------
    UserError
        If the rows are no beats.
    """

    def __init__(self, n_channels: int, shape: InputShape) -> None:
        super().__init__()
        if shape.r_sample is None:
            raise UserError(
                "the regions of a beat need its R peak: build the database as beats (ecgprep build --unit beat:c360), "
                "or take the model without _context"
            )
        r_s = shape.r_sample / shape.fs_hz
        time_s = torch.arange(shape.n_samples) / shape.fs_hz - r_s
        before, after = time_s < -QRS_BEFORE_S, time_s >= QRS_AFTER_S
        self.register_buffer("regions", torch.stack([before, ~(before | after), after]).float(), persistent=False)
        self.score = nn.Linear(n_channels, 1)
        self.fuse = convolution_norm(3 * n_channels, n_channels, 1)

    def forward(self, maps: Maps) -> Maps:
        """Return the maps and what their regions add."""
        regions = self.get_buffer("regions")
        mask = maps.mask()
        inside = regions[None] if mask is None else regions[None] * mask[:, None]
        n = inside.sum(dim=2).clamp_min(1.0)
        means = torch.einsum("bct,brt->brc", maps.series, inside.expand(len(maps.values), -1, -1)) / n[:, :, None]
        weights = self.score(means).softmax(dim=1)
        placed = torch.einsum("brc,rt->brct", weights * means, regions).flatten(1, 2)
        added: Maps = maps.plus(self.fuse(Maps(placed.unsqueeze(2), maps.extent).masked()))
        return added


class ContextInceptionEncoder(Encoder):
    """A stem with learned positions, inception and dilated modules by turns, and mean and maximum over time.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    filters, depth : int
        Channels F of a branch, and modules.
    regions : bool
        Whether the beat's regions are told apart.
    """

    def __init__(self, shape: InputShape, filters: int, depth: int, *, regions: bool) -> None:
        super().__init__()
        n_out = filters * (len(KERNELS) + 1)
        self.stem = convolution_norm_relu(shape.n_leads, filters, 7)
        self.position = nn.Parameter(0.02 * torch.randn(filters, 1, shape.n_samples))
        self.blocks = nn.Sequential(*(self._block(i, filters, n_out) for i in range(depth)))
        self.regions = BeatRegions(n_out, shape) if regions else nn.Identity()
        self.width = 2 * n_out

    @staticmethod
    def _block(i: int, filters: int, n_out: int) -> _Block:
        n_in = filters if i == 0 else n_out
        module = InceptionModule(n_in, filters, KERNELS) if i % 2 == 0 else _DilatedModule(n_in, filters)
        return _Block(module, n_in, n_out)

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return mean and maximum of the last maps, shape (batch, 8 · filters)."""
        stem: Maps = self.stem(signal_maps(signal, extent))
        placed = stem._replace(values=stem.values + self.position).masked()
        maps: Maps = self.regions(self.blocks(placed))
        return torch.cat([mean_over_time(maps), max_over_time(maps)], dim=1)


def _tiny(shape: InputShape, *, regions: bool) -> nn.Module:
    return SignalModel(ContextInceptionEncoder(shape, 16, 4, regions=regions), shape, one_layer_head(HEAD_WIDTH, 0.2))


def _base(shape: InputShape, *, regions: bool) -> nn.Module:
    return SignalModel(ContextInceptionEncoder(shape, 32, 6, regions=regions), shape, one_layer_head(HEAD_WIDTH, 0.3))


def _large(shape: InputShape, *, regions: bool) -> nn.Module:
    return SignalModel(ContextInceptionEncoder(shape, 64, 8, regions=regions), shape, one_layer_head(HEAD_WIDTH, 0.4))


@register_model(reads="signal", source=SOURCE, settings=ALONE)
def inception_time_tiny(shape: InputShape) -> nn.Module:
    """Inception and dilated modules by turns, four of 16 filters a branch; the beat alone."""
    return _tiny(shape, regions=False)


@register_model(reads="signal", source=SOURCE, settings=ALONE)
def inception_time_base(shape: InputShape) -> nn.Module:
    """Inception and dilated modules by turns, six of 32 filters a branch; the beat alone."""
    return _base(shape, regions=False)


@register_model(reads="signal", source=SOURCE, settings=ALONE)
def inception_time_large(shape: InputShape) -> nn.Module:
    """Inception and dilated modules by turns, eight of 64 filters a branch; the beat alone."""
    return _large(shape, regions=False)


@register_model(reads="signal", source=SOURCE, settings=WITH_CONTEXT)
def inception_time_tiny_context(shape: InputShape) -> nn.Module:
    """`inception_time_tiny` with the beat's regions, RR intervals and neighbouring beats."""
    return _tiny(shape, regions=True)


@register_model(reads="signal", source=SOURCE, settings=WITH_CONTEXT)
def inception_time_base_context(shape: InputShape) -> nn.Module:
    """`inception_time_base` with the beat's regions, RR intervals and neighbouring beats."""
    return _base(shape, regions=True)


@register_model(reads="signal", source=SOURCE, settings=WITH_CONTEXT)
def inception_time_large_context(shape: InputShape) -> nn.Module:
    """`inception_time_large` with the beat's regions, RR intervals and neighbouring beats."""
    return _large(shape, regions=True)
