"""A bank of Morlet wavelets whose frequencies and widths are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LOWEST_HZ, HIGHEST_SHARE = 0.5, 0.45  # the frequencies stay within (0.5 Hz, 0.45 · fs)
FIRST_HZ, LAST_HZ = 1.0, 45.0
FEWEST_CYCLES, CYCLES = 1.5, 4.0
SUPPORT_SDS = 3.5


class WaveletBank(nn.Module):
    """Log magnitudes of a signal under complex Morlet wavelets of learned frequency f and number of cycles c.

    The kernel is h(t) = (exp(2πift) − exp(−c²/2)) exp(−t²/2σ²) with σ = c/(2πf), cut off at 3.5 σ and scaled to a sum
    of magnitudes of 1. The constant makes its mean zero, so that a baseline does not leak into it; what the cut leaves
    of it is taken off too.

    Parameters
    ----------
    n_wavelets : int
        Wavelets, log-spaced from 1 to 45 Hz at the start, or to 0.45 of the sampling rate where that is less.
    fs_hz : float
        Sampling rate.
    n_samples : int
        Length of a row; no kernel is longer.
    """

    def __init__(self, n_wavelets: int, fs_hz: float, n_samples: int) -> None:
        super().__init__()
        self.fs_hz = fs_hz
        self.reach = (n_samples - 1) // 2
        highest = min(LAST_HZ, 0.99 * HIGHEST_SHARE * fs_hz)
        self.log_frequency = nn.Parameter(torch.linspace(math.log(FIRST_HZ), math.log(highest), n_wavelets))
        start = math.log(math.expm1(CYCLES - FEWEST_CYCLES))
        self.cycles = nn.Parameter(torch.full((n_wavelets,), start))

    def kernels(self) -> Tensor:
        """Return the kernels, complex, shape (n_wavelets, 2 · reach + 1)."""
        low, high = math.log(LOWEST_HZ), math.log(HIGHEST_SHARE * self.fs_hz)
        frequency = self.log_frequency.clamp(low, high).exp()[:, None]
        cycles = FEWEST_CYCLES + functional.softplus(self.cycles)[:, None]
        sd_s = cycles / (2 * math.pi * frequency)
        time_s = torch.arange(-self.reach, self.reach + 1, device=frequency.device) / self.fs_hz
        window = torch.exp(-0.5 * (time_s / sd_s) ** 2) * (time_s.abs() <= SUPPORT_SDS * sd_s)
        wave = torch.polar(torch.ones_like(window), 2 * math.pi * frequency * time_s) - torch.exp(-0.5 * cycles**2)
        kernel = wave * window
        kernel = kernel - window * kernel.sum(dim=1, keepdim=True) / window.sum(dim=1, keepdim=True)
        return kernel / kernel.abs().sum(dim=1, keepdim=True)

    def forward(self, signal: Tensor) -> Tensor:
        """Return ln(1 + magnitude) of signals (batch, n_leads, time), shape (batch, n_leads, n_wavelets, time)."""
        side = min(self.reach, signal.shape[2] - 1)
        with torch.autocast(signal.device.type, enabled=False):  # transforms need float32
            kernels = self.kernels()
            padded = functional.pad(signal.float(), (side, side), mode="reflect")
            n = padded.shape[2] + 2 * self.reach
            spectrum = torch.fft.fft(padded, n)[:, :, None] * torch.fft.fft(kernels, n)
            first = side + self.reach
            found = torch.fft.ifft(spectrum)[..., first : first + signal.shape[2]]
            return torch.log1p(torch.view_as_real(found).square().sum(dim=-1).add(1e-12).sqrt())
