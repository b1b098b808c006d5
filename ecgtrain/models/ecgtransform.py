"""ECGTransForm: convolutions of three lengths, channel recalibration, and a transformer that reads both ways.

References
----------
.. [1] El-Ghaish, Eldele, ECGTransForm: empowering adaptive ECG arrhythmia classification framework with bidirectional
   transformer, Biomedical Signal Processing and Control 89, 2024.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ecgtrain.models.attention import mean_over_steps
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.inception_time import SqueezeExcite
from ecgtrain.models.maps import (
    Convolution,
    Maps,
    MaxPool,
    Norm,
    Pointwise,
    convolution_norm,
    convolution_norm_relu,
    relu,
    signal_maps,
)
from ecgtrain.models.registry import InputShape, register_model

KERNELS = (5, 9, 11)
WIDTHS = (32, 64, 128)
LONG_KERNEL = 8
RECALIBRATIONS, RATIO = 3, 4
LAYERS, FEEDFORWARD, DROPOUT = 3, 2048, 0.1
TIME_HEADS, CHANNEL_HEADS = 8, 5  # at most, where they divide the width
CACHED_ROWS = 8  # whose hidden layer, 1 MB a row, stays in a processor's cache: a training step takes a quarter less

SOURCE = "El-Ghaish, Eldele 2024 (doi:10.1016/j.bspc.2023.105714)"
RECIPE: dict[str, Any] = {
    "optimizer": {"lr": 1e-3, "weight_decay": 1e-4},
    "class_weights": "context",
    "gradient_clip": None,
    "features": "none",
    "context": [],
}


class _MultiScale(nn.Module):
    """The mean of three convolutions, normalised."""

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Convolution(n_leads, WIDTHS[0], kernel) for kernel in KERNELS)
        self.after = nn.Sequential(Norm(WIDTHS[0]), relu(), MaxPool(2, 2, 1), Pointwise(nn.Dropout(0.2)))

    def forward(self, maps: Maps) -> Maps:
        found = [branch(maps) for branch in self.branches]
        mean = torch.stack([one.values for one in found]).mean(dim=0)
        after: Maps = self.after(found[0]._replace(values=mean))
        return after


def _long_convolution(n_in: int, n_out: int) -> nn.Sequential:
    padded = Convolution(n_in, n_out, LONG_KERNEL, padding=LONG_KERNEL // 2)
    return nn.Sequential(padded, Norm(n_out), relu(), MaxPool(2, 2, 1))


class _Recalibration(nn.Module):
    """Each channel weighed by all of them, beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution_norm_relu(width, width, 1, bias=True),
            convolution_norm(width, width, 1, bias=True),
            SqueezeExcite(width, RATIO, bias=False),
        )
        self.relu = relu()

    def forward(self, maps: Maps) -> Maps:
        summed: Maps = self.relu(self.body(maps).plus(maps))
        return summed


class ConvolutionStages(nn.Module):
    """The convolutional half: signals to 128 channels at about an eighth of the samples.

    Parameters
    ----------
    n_leads : int
        Leads of the signal.
    """

    n_out = WIDTHS[-1]

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _MultiScale(n_leads),
            _long_convolution(WIDTHS[0], WIDTHS[1]),
            _long_convolution(WIDTHS[1], WIDTHS[2]),
            *(_Recalibration(WIDTHS[2]) for _ in range(RECALIBRATIONS)),
        )

    def forward(self, maps: Maps) -> Maps:
        """Return the recalibrated maps."""
        recalibrated: Maps = self.layers(maps)
        return recalibrated

    @staticmethod
    def n_steps(n_samples: int) -> int:
        """Return the time steps that so many samples become: 25 of 186."""
        first = n_samples // 2 + 1
        second = (first + 1) // 2 + 1
        return (second + 1) // 2 + 1


def _transformer(width: int, heads: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, heads, FEEDFORWARD, DROPOUT, batch_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


class ChannelTransformerEncoder(Encoder):
    """ECGTransForm as its authors' code has it: the tokens are the channels, their embedding is the time steps.

    Parameters
    ----------
    shape : InputShape
        What it is made for; the number of samples fixes the transformer's width.
    """

    width = WIDTHS[-1]

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.stages = ConvolutionStages(shape.n_leads)
        n_steps = self.stages.n_steps(shape.n_samples)
        heads = next(heads for heads in range(CHANNEL_HEADS, 0, -1) if n_steps % heads == 0)
        self.transformer = _transformer(n_steps, heads)

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the mean over time of both readings, shape (batch, 128)."""
        channels = self.stages(signal_maps(signal, extent)).series
        both = self._read(channels) + self._read(channels.flip(2))
        mean: Tensor = both.mean(dim=2)
        return mean

    def _read(self, channels: Tensor) -> Tensor:
        n_rows = CACHED_ROWS if self.training and channels.device.type == "cpu" else len(channels)
        return torch.cat([self.transformer(rows) for rows in torch.split(channels, n_rows)])


class TimeTransformerEncoder(Encoder):
    """The same convolutions under a transformer whose tokens are the time steps.

    Parameters
    ----------
    shape : InputShape
        What it is made for; the number of samples fixes the positions.
    """

    width = WIDTHS[-1]

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.stages = ConvolutionStages(shape.n_leads)
        self.position = nn.Parameter(0.02 * torch.randn(self.stages.n_steps(shape.n_samples), self.width))
        self.transformer = _transformer(self.width, TIME_HEADS)

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the mean over time of both readings, shape (batch, 128)."""
        maps = self.stages(signal_maps(signal, extent))
        steps = maps.series.transpose(1, 2)
        mask = maps.mask()
        backwards = _reversed(self._read(_reversed(steps, maps.extent), mask), maps.extent)
        return mean_over_steps(self._read(steps, mask) + backwards, mask)

    def _read(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        read: Tensor = self.transformer(steps + self.position, src_key_padding_mask=None if mask is None else ~mask)
        return read


def _reversed(steps: Tensor, extent: Tensor | None) -> Tensor:
    """Return steps (batch, time, d) with each row's signal in reverse, at its place."""
    if extent is None:
        return steps.flip(1)
    n_steps = steps.shape[1]
    time = (extent.sum(dim=1, keepdim=True) - 1 - torch.arange(n_steps, device=steps.device)) % n_steps
    return steps.gather(1, time[:, :, None].expand_as(steps))


@register_model(reads="signal", source=SOURCE, settings=RECIPE)
def ecgtransform(shape: InputShape) -> nn.Module:
    """ECGTransForm as published: multi-scale convolutions, recalibration, a transformer over the channels.

    The transformer's tokens are the 128 channels, and reading backwards reverses their embedding, the time steps; both
    readings are added as they are. Its width is the number of time steps, 25 for 186 samples, and other lengths take
    the most heads up to five that divide theirs.

    References
    ----------
    .. [1] El-Ghaish, Eldele, ECGTransForm, Biomedical Signal Processing and Control 89, 2024.
    """
    return SignalModel(ChannelTransformerEncoder(shape), shape)


@register_model(reads="signal", source=f"{SOURCE}; tokens are time steps", settings=RECIPE)
def ecgtransform_time(shape: InputShape) -> nn.Module:
    """ECGTransForm with a transformer over time steps: width 128, eight heads, learned positions.

    References
    ----------
    .. [1] El-Ghaish, Eldele, ECGTransForm, Biomedical Signal Processing and Control 89, 2024. Ours departs in what is
       a token, and turns the backward reading round before it is added.
    """
    return SignalModel(TimeTransformerEncoder(shape), shape)
