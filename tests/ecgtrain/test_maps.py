"""Layers that know where padding is, against the same layers on rows without any."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ecgtrain.models.maps import (
    AveragePool,
    Convolution,
    Maps,
    MaxPool,
    Norm,
    max_over_time,
    mean_over_time,
    series_maps,
)
from ecgtrain.models.wavelet_bank import WaveletBank

LENGTHS = (23, 40, 31)
N_STEPS = 40


@pytest.fixture
def rows() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, n, generator=generator) - 3.0 for n in LENGTHS]


def padded(rows: list[torch.Tensor]) -> Maps:
    series = torch.stack([nn.functional.pad(row, (0, N_STEPS - row.shape[1]), value=9.0) for row in rows])
    return series_maps(series, torch.tensor([(0, row.shape[1]) for row in rows]))


def alone(row: torch.Tensor) -> Maps:
    return series_maps(row[None], None)


@pytest.mark.parametrize(
    "layer",
    [
        Convolution(4, 6, 7),
        Convolution(4, 6, 7, 2, bias=True),
        Convolution(4, 6, 8, padding=4),
        Convolution(4, 6, 3, dilation=4),
        MaxPool(3, 2, 1),
        MaxPool(2, 2, 1),
        MaxPool(2, 2),
        MaxPool(3, 1, 1),
        AveragePool(2),
        AveragePool(4),
    ],
    ids=str,
)
def test_layer_gives_a_padded_row_what_it_gives_the_row_alone(rows, layer):
    found = layer(padded(rows))
    mask = found.mask()
    for i, row in enumerate(rows):
        expected = layer(alone(row)).series[0]
        assert int(mask[i].sum()) == expected.shape[1]
        torch.testing.assert_close(found.series[i][:, mask[i]], expected, rtol=1e-5, atol=1e-5)
        assert not found.series[i][:, ~mask[i]].any()


def test_norm_counts_the_signal_alone_and_learns_through_its_statistics(rows):
    ours, theirs = Norm(4).train(), nn.BatchNorm1d(4).train()
    series = [row.clone().requires_grad_() for row in rows]
    found = ours(padded(series))
    joined = torch.cat(series, dim=1)[None]
    expected = theirs(joined)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    values = torch.cat([found.series[i, :, :n] for i, n in enumerate(LENGTHS)], dim=1)
    torch.testing.assert_close(values, expected[0], rtol=1e-4, atol=1e-4)
    weight = torch.linspace(-1, 1, values.numel()).reshape(values.shape)
    of_ours = torch.autograd.grad((values * weight).sum(), series[0], retain_graph=True)[0]
    of_theirs = torch.autograd.grad((expected[0] * weight).sum(), series[0])[0]
    torch.testing.assert_close(of_ours, of_theirs, rtol=1e-3, atol=1e-4)


def test_norm_counts_in_single_precision_what_comes_in_half(rows):
    whole, half = Norm(4).train(), Norm(4).train()
    maps = padded(rows)
    found = half(maps._replace(values=maps.values.bfloat16()))
    assert found.values.dtype == torch.bfloat16
    torch.testing.assert_close(found.values.float(), whole(maps).values, rtol=0.02, atol=0.02)
    torch.testing.assert_close(half.running_mean, whole.running_mean, rtol=0.01, atol=0.01)


def test_pools_over_time_leave_the_padding_out(rows):
    maps = padded(rows)
    for i, row in enumerate(rows):
        torch.testing.assert_close(mean_over_time(maps)[i], row.mean(dim=1))
        torch.testing.assert_close(max_over_time(maps)[i], row.amax(dim=1))


def test_wavelets_have_no_mean_and_find_the_frequency_of_a_tone():
    bank = WaveletBank(32, fs_hz=360.0, n_samples=720)
    kernels = bank.kernels()
    assert kernels.sum(dim=1).abs().max() < 1e-5
    torch.testing.assert_close(kernels.abs().sum(dim=1), torch.ones(32))
    time_s = torch.arange(720) / 360
    magnitudes = bank(torch.sin(2 * torch.pi * 12 * time_s)[None, None])
    assert magnitudes.shape == (1, 1, 32, 720)
    loudest = bank.log_frequency.detach().exp()[magnitudes[0, 0, :, 360].argmax()]
    assert float(loudest) == pytest.approx(12, rel=0.15)


def test_a_baseline_does_not_enter_the_wavelets():
    bank = WaveletBank(32, fs_hz=360.0, n_samples=360)
    signal = torch.randn(1, 1, 360, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(bank(signal + 50.0), bank(signal), rtol=1e-3, atol=1e-3)
