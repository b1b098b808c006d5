"""Feature maps of signals, and layers that know where a row's padding is.

A row that is shorter than its axis is filled with zeros. A layer that took these zeros for signal would let them into
the statistics of its batch normalisation, and its answer would change with the length of the filling. So `Maps` carry
the extent of each row's signal with them, and every layer here keeps what lies outside at zero.

A signal is treated as a picture of height one whose channels lie last in memory: such convolutions are up to 1.7 times
as fast on a CPU as 1-D ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Maps(NamedTuple):
    """Feature maps of a batch of signals.

    Parameters
    ----------
    values : torch.Tensor, shape (batch, channels, 1, time)
        The maps; 0 outside a row's extent. Planes of a transform have their frequencies in place of the 1.
    extent : torch.Tensor of int64, shape (batch, 2), or None
        First time step of each row's signal and the one after its last; None where all rows are full.
    """

    values: Tensor
    extent: Tensor | None = None

    @property
    def series(self) -> Tensor:
        """The maps without their height, shape (batch, channels, time)."""
        return self.values.squeeze(2)

    def mask(self) -> Tensor | None:
        """Return where there is signal, bool, shape (batch, time); None where that is everywhere."""
        return None if self.extent is None else valid_steps(self.extent, self.values.shape[3])

    def masked(self) -> Maps:
        """Return the maps with zeros outside the rows' extents."""
        mask = self.mask()
        return self if mask is None else self._replace(values=self.values * mask[:, None, None])

    def plus(self, other: Maps) -> Maps:
        """Return the sum with maps of the same shape and extent."""
        return self._replace(values=self.values + other.values)


def valid_steps(extent: Tensor, n_steps: int) -> Tensor:
    """Return which of `n_steps` lie in each row's extent, bool, shape (batch, n_steps)."""
    step = torch.arange(n_steps, device=extent.device)
    return (step >= extent[:, :1]) & (step < extent[:, 1:])


def signal_maps(signal: Tensor, extent: Tensor | None) -> Maps:
    """Return a batch of signals (batch, n_leads, n_samples) as maps."""
    row = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    return Maps(row, extent).masked()


def series_maps(series: Tensor, extent: Tensor | None) -> Maps:
    """Return series (batch, channels, time) as maps, with zeros outside the rows' extents."""
    return Maps(series.unsqueeze(2), extent).masked()


class Convolution(nn.Conv2d):
    """Convolution over time; an odd kernel keeps the length but for the stride.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel, stride, dilation, groups : int
        As in `torch.nn.Conv1d`.
    padding : int, optional
        Zeros on each side; by default half of what the kernel spans.
    bias : bool
        Whether a constant is added.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        padding: int | None = None,
        bias: bool = False,
    ) -> None:
        self.side = dilation * (kernel - 1) // 2 if padding is None else padding
        super().__init__(
            n_in,
            n_out,
            (1, kernel),
            (1, stride),
            (0, self.side),
            (1, dilation),
            groups,
            bias,
        )

    def forward(self, maps: Maps) -> Maps:  # type: ignore[override]
        """Return the convolved maps."""
        span = self.dilation[1] * (self.kernel_size[1] - 1) + 1
        values = super().forward(maps.values)
        return Maps(values, pooled_extent(maps.extent, span, self.stride[1], self.side)).masked()


class Norm(nn.BatchNorm2d):
    """Batch normalisation over what is signal; padding stays 0 and does not count."""

    def forward(self, maps: Maps) -> Maps:  # type: ignore[override]
        """Return the normalised maps."""
        if maps.extent is None or not self.training:
            return Maps(super().forward(maps.values), maps.extent).masked()
        return Maps(self._over_signal(maps), maps.extent).masked()

    def _over_signal(self, maps: Maps) -> Tensor:
        mask = maps.mask()
        assert mask is not None
        values = maps.values.float()  # half precision cannot count to the number of values
        weight = mask[:, None, None].to(values.dtype)
        n = weight.sum() * values.shape[2]
        mean = (values * weight).sum((0, 2, 3)) / n
        centred = values - mean[:, None, None]
        variance = (centred.square() * weight).sum((0, 2, 3)) / n
        self._remember(mean.detach(), (variance * n / (n - 1)).detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.values.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class Pointwise(nn.Module):
    """A layer that acts on each value alone and leaves 0 as it is, such as ReLU or dropout.

    Parameters
    ----------
    layer : torch.nn.Module
        The layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Maps) -> Maps:
        """Return the maps after the layer."""
        return maps._replace(values=self.layer(maps.values))


class MaxPool(nn.Module):
    """Largest value of each window; padding never wins.

    Parameters
    ----------
    kernel, stride, padding : int
        As in `torch.nn.MaxPool1d`.
    """

    def __init__(self, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, maps: Maps) -> Maps:
        """Return the pooled maps."""
        mask = maps.mask()
        values = maps.values if mask is None else maps.values.masked_fill(~mask[:, None, None], -torch.inf)
        pooled = functional.max_pool2d(values, (1, self.kernel), (1, self.stride), (0, self.padding))
        extent = pooled_extent(maps.extent, self.kernel, self.stride, self.padding)
        if extent is not None:
            pooled = pooled.masked_fill(~valid_steps(extent, pooled.shape[3])[:, None, None], 0.0)
        return Maps(pooled, extent)


class AveragePool(nn.Module):
    """Mean of each window of `size` steps, of what there is of the last one.

    Parameters
    ----------
    size : int
        Steps of a window, and from one window to the next.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Maps) -> Maps:
        """Return the pooled maps."""
        pooled = self._pool(maps.values)
        mask = maps.mask()
        if mask is None or maps.extent is None:
            return Maps(pooled)
        share = self._pool(mask[:, None, None].to(pooled.dtype))
        first, stop = maps.extent[:, 0], maps.extent[:, 1]
        extent = torch.stack([first // self.size, (stop + self.size - 1) // self.size], dim=1)
        return Maps(pooled / share.clamp_min(1 / self.size), extent).masked()

    def _pool(self, values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, (1, self.size), (1, self.size), ceil_mode=True)


def mean_over_time(maps: Maps) -> Tensor:
    """Return each channel's mean over the row's signal, shape (batch, channels)."""
    total = maps.values.float().sum(dim=(2, 3))
    if maps.extent is None:
        return total / maps.values.shape[3]
    return total / (maps.extent[:, 1:] - maps.extent[:, :1]).clamp_min(1)


def max_over_time(maps: Maps) -> Tensor:
    """Return each channel's maximum over the row's signal, shape (batch, channels)."""
    mask = maps.mask()
    values = maps.values if mask is None else maps.values.masked_fill(~mask[:, None, None], -torch.inf)
    return values.amax(dim=(2, 3)).float()


def convolution_norm_relu(n_in: int, n_out: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Sequential:
    """Return a convolution, its batch normalisation and a ReLU."""
    return nn.Sequential(Convolution(n_in, n_out, kernel, stride, bias=bias), Norm(n_out), relu())


def convolution_norm(n_in: int, n_out: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Sequential:
    """Return a convolution and its batch normalisation."""
    return nn.Sequential(Convolution(n_in, n_out, kernel, stride, bias=bias), Norm(n_out))


def relu() -> Pointwise:
    """Return a ReLU of maps."""
    return Pointwise(nn.ReLU())


def pooled_extent(extent: Tensor | None, span: int, stride: int, padding: int) -> Tensor | None:
    """Return where the signal lies after windows of `span` steps; a row has as many as it would have alone.

    Parameters
    ----------
    extent : torch.Tensor of int64, shape (batch, 2), or None
        Where it lay before.
    span, stride, padding : int
        Steps that a window covers, from one to the next, and that are added on each side.
    """
    if extent is None:
        return None
    first = (extent[:, 0] + stride - 1) // stride
    stop = (extent[:, 1] + 2 * padding - span) // stride + 1
    return torch.stack([first, torch.maximum(stop, first + 1)], dim=1)
