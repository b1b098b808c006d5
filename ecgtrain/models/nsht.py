"""NSHT dual evolution: a temporal and a spectral stream that exchange what they find.

No paper describes this network, and the versions in circulation differ; this is the definition that this project
gives it, with their faults left out: kernels that never decay, wavelets without mean correction, circular padding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ecgtrain.models.attention import max_over_steps, mean_over_steps
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.heads import one_layer_head, prototype_head
from ecgtrain.models.maps import (
    AveragePool,
    Maps,
    Norm,
    convolution_norm_relu,
    pooled_extent,
    signal_maps,
)
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.wavelet_bank import WaveletBank

WAVELETS = 32
WIDTH, HEADS, ROUNDS, MLP, DROPOUT = 128, 4, 2, 256, 0.1
TEMPORAL_KERNELS = (9, 19, 39)
COORDINATE_RATIO = 16
HEAD_WIDTH = 256


class _TemporalStream(nn.Module):
    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.stem = convolution_norm_relu(n_leads, 64, 7)
        self.branches = nn.ModuleList(convolution_norm_relu(64, 32, kernel) for kernel in TEMPORAL_KERNELS)
        self.pool = AveragePool(4)
        self.project = nn.Linear(32 * len(TEMPORAL_KERNELS), WIDTH)

    def forward(self, maps: Maps) -> tuple[Tensor, Tensor | None]:
        stem = self.stem(maps)
        joined = torch.cat([branch(stem).values for branch in self.branches], dim=1)
        pooled: Maps = self.pool(maps._replace(values=joined))
        return self.project(pooled.series.transpose(1, 2)), pooled.mask()


class CoordinateAttention(nn.Module):
    """Planes weighed along each of their two axes by what the means along the other one say.

    Parameters
    ----------
    n_channels, ratio : int
        Channels, and how much fewer the inner layer has.

    References
    ----------
    .. [1] Hou, Zhou, Feng, Coordinate attention for efficient mobile network design, CVPR 2021.
    """

    def __init__(self, n_channels: int, ratio: int = COORDINATE_RATIO) -> None:
        super().__init__()
        inner = max(n_channels // ratio, 8)
        self.shared = nn.Sequential(nn.Conv2d(n_channels, inner, 1), nn.Hardswish())
        self.along_frequency = nn.Conv2d(inner, n_channels, 1)
        self.along_time = nn.Conv2d(inner, n_channels, 1)

    def forward(self, maps: Maps) -> Maps:
        """Return the weighed planes."""
        mask = maps.mask()
        weight = None if mask is None else mask[:, None, None].to(maps.values.dtype)
        total = maps.values.sum(dim=3, keepdim=True)
        of_frequency = total / (maps.values.shape[3] if weight is None else weight.sum(dim=3, keepdim=True))
        of_time = maps.values.mean(dim=2, keepdim=True).transpose(2, 3)
        n_frequencies = of_frequency.shape[2]
        inner = self.shared(torch.cat([of_frequency, of_time], dim=2))
        by_frequency = self.along_frequency(inner[:, :, :n_frequencies]).sigmoid()
        by_time = self.along_time(inner[:, :, n_frequencies:].transpose(2, 3)).sigmoid()
        return maps._replace(values=maps.values * by_frequency * by_time)


class _PlaneConvolution(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm = Norm(n_out)

    def forward(self, maps: Maps) -> Maps:
        values = self.convolution(maps.values)
        normed: Maps = self.norm(Maps(values, pooled_extent(maps.extent, 3, self.stride, 1)).masked())
        return normed._replace(values=normed.values.relu())


class _SpectralStream(nn.Module):
    def __init__(self, shape: InputShape, learned_bank: bool) -> None:
        super().__init__()
        self.bank = WaveletBank(WAVELETS, shape.fs_hz, shape.n_samples).requires_grad_(learned_bank)
        self.planes = nn.Sequential(
            _PlaneConvolution(shape.n_leads, 32, 1),
            _PlaneConvolution(32, 64, 2),
            CoordinateAttention(64),
            _PlaneConvolution(64, WIDTH, 2),
            CoordinateAttention(WIDTH),
        )

    def forward(self, maps: Maps) -> Tensor:
        magnitudes = self.bank(maps.series)
        planes: Maps = self.planes(Maps(magnitudes, maps.extent).masked())
        return planes.values.mean(dim=2).transpose(1, 2)


class _Round(nn.Module):
    """One stream's part of a round: attention to itself, and a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.self_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.self_attention = _attention()
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, MLP), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(MLP, WIDTH), nn.Dropout(DROPOUT)
        )

    def forward(self, tokens: Tensor, others: Tensor, ignored: Tensor | None) -> Tensor:
        own = self.self_norm(tokens)
        mixed = self.mix(tokens + _attend(self.self_attention, own, own, ignored), others, ignored)
        evolved: Tensor = mixed + self.mlp(self.mlp_norm(mixed))
        return evolved

    def mix(self, tokens: Tensor, others: Tensor, ignored: Tensor | None) -> Tensor:
        """Return the tokens with what the other stream has to say: here nothing, the streams meet in the head."""
        return tokens


class _Exchange(_Round):
    """A round in which the stream attends to the other one too, behind a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.cross_norm = nn.LayerNorm(WIDTH)
        self.cross_attention = _attention()
        self.gate = nn.Linear(2 * WIDTH, WIDTH)

    def mix(self, tokens: Tensor, others: Tensor, ignored: Tensor | None) -> Tensor:
        """Return g ⊙ tokens + (1 − g) ⊙ what attention finds in the other stream, with a gate g for each number."""
        cross = _attend(self.cross_attention, self.cross_norm(tokens), others, ignored)
        gate: Tensor = self.gate(torch.cat([tokens, cross], dim=2)).sigmoid()
        return gate * tokens + (1 - gate) * cross


def _attention() -> nn.MultiheadAttention:
    return nn.MultiheadAttention(WIDTH, HEADS, DROPOUT, batch_first=True)


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, ignored: Tensor | None) -> Tensor:
    found: Tensor = attention(query, key, key, key_padding_mask=ignored, need_weights=False)[0]
    return found


class DualEvolutionEncoder(Encoder):
    """Two streams of tokens, a quarter of the samples each, through rounds of exchange.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    n_rounds : int
        Rounds.
    exchange : bool
        Whether the streams attend to each other; False: they meet in the head alone.
    learned_bank : bool
        Whether the wavelets are trained; False: they stay as they start.
    """

    width = 4 * WIDTH

    def __init__(
        self, shape: InputShape, *, n_rounds: int = ROUNDS, exchange: bool = True, learned_bank: bool = True
    ) -> None:
        super().__init__()
        make_round = _Exchange if exchange else _Round
        self.temporal = _TemporalStream(shape.n_leads)
        self.spectral = _SpectralStream(shape, learned_bank)
        self.of_temporal, self.of_spectral = (nn.ModuleList(make_round() for _ in range(n_rounds)) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return mean and maximum over the tokens of both streams, shape (batch, 512)."""
        maps = signal_maps(signal, extent)
        temporal, mask = self.temporal(maps)
        temporal = temporal + sinusoidal_positions(temporal.shape[1], WIDTH).to(temporal)
        spectral = self.spectral(maps)
        spectral = spectral + sinusoidal_positions(spectral.shape[1], WIDTH).to(spectral)
        ignored = None if mask is None else ~mask
        for of_temporal, of_spectral in zip(self.of_temporal, self.of_spectral, strict=True):
            temporal, spectral = of_temporal(temporal, spectral, ignored), of_spectral(spectral, temporal, ignored)
        streams = [norm(tokens) for norm, tokens in zip(self.norms, (temporal, spectral), strict=True)]
        return torch.cat([pool(tokens, mask) for pool in (mean_over_steps, max_over_steps) for tokens in streams], 1)


def sinusoidal_positions(n_steps: int, width: int) -> Tensor:
    """Return the sines and cosines that tell positions apart, shape (n_steps, width).

    References
    ----------
    .. [1] Vaswani et al., Attention is all you need, NeurIPS 2017.
    """
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(n_steps)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


SOURCE = "this project's definition; Hou et al. 2021 (arXiv:2103.02907); Vaswani et al. 2017 (arXiv:1706.03762)"
SETTINGS = {
    "optimizer": {"lr": 8e-4, "weight_decay": 1e-4},
    "batch_size": 1024,
    "epochs": 120,
    "schedule": {"factor": 0.5, "patience": 5},
    "early_stopping": {"patience": 10},
}
HEAD = one_layer_head(HEAD_WIDTH, 0.3)


@register_model(reads="signal", source=SOURCE, settings=SETTINGS)
def nsht_dual_evo(shape: InputShape) -> nn.Module:
    """Learned wavelets beside convolutions, two transformers that exchange tokens through gates.

    Both streams take positions, and a layer norm stands before the pooling. One lead and five classes make 1.309
    million parameters, of 1.31 stated.
    """
    return SignalModel(DualEvolutionEncoder(shape), shape, HEAD)


@register_model(reads="signal", source=f"{SOURCE}; Yang et al. 2018 (arXiv:1805.03438)", settings=SETTINGS)
def nsht_dual_evo_prototypes(shape: InputShape) -> nn.Module:
    """NSHT dual evolution whose vectors are drawn to a learned prototype of their class (`loss.prototype`)."""
    return SignalModel(DualEvolutionEncoder(shape), shape, prototype_head(HEAD))


@register_model(reads="signal", source=SOURCE, settings=SETTINGS)
def nsht_dual_evo_fixed_bank(shape: InputShape) -> nn.Module:
    """Ablation of NSHT dual evolution: the wavelets stay as they start, log-spaced from 1 to 45 Hz."""
    return SignalModel(DualEvolutionEncoder(shape, learned_bank=False), shape, HEAD)


@register_model(reads="signal", source=SOURCE, settings=SETTINGS)
def nsht_dual_evo_concatenation(shape: InputShape) -> nn.Module:
    """Ablation of NSHT dual evolution: no attention between the streams, which meet in the head alone."""
    return SignalModel(DualEvolutionEncoder(shape, exchange=False), shape, HEAD)


@register_model(reads="signal", source=SOURCE, settings=SETTINGS)
def nsht_dual_evo_one_round(shape: InputShape) -> nn.Module:
    """Ablation of NSHT dual evolution: one round of exchange instead of two."""
    return SignalModel(DualEvolutionEncoder(shape, n_rounds=1), shape, HEAD)
