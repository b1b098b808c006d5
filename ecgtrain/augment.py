"""Changes of training rows: drawn from (seed, epoch, step), made on the device, before pictures and scaling.

A row's beats (itself, its neighbours, its record's typical beat) are changed alike where the change is one of the
recording: its gain, its silent leads.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ecgtrain.config import AugmentationConfig
from ecgtrain.reading import Raw, mixed

COUNTS_PER_MV = 1000.0
WANDER_HZ = (0.05, 0.5)


def augmented(signal: Tensor, config: AugmentationConfig, fs_hz: float, seed: int) -> Tensor:
    """Return changed signals.

    Parameters
    ----------
    signal : torch.Tensor
        In counts, shape (n, n_beats, n_leads, n_samples).
    config : AugmentationConfig
        What is changed, and how much.
    fs_hz : float
        Sampling rate.
    seed : int
        What all draws depend on; the white noise depends on the kind of device as well.

    Returns
    -------
    torch.Tensor
        float32, of the same shape.
    """
    draw = np.random.default_rng(seed)
    changed = signal.float()
    n, n_leads = signal.shape[0], signal.shape[2]
    if config.shift_s:
        most = round(config.shift_s * fs_hz)
        changed = _shifted(changed, torch.from_numpy(draw.integers(-most, most + 1, n)).to(signal.device))
    if config.gain:
        changed = changed * _of_rows(draw.uniform(1 - config.gain, 1 + config.gain, n), changed)
    if config.wander_mv:
        changed = changed + _wander(draw, changed, config.wander_mv, fs_hz)
    if config.noise_mv:
        generator = torch.Generator(signal.device).manual_seed(int(draw.integers(2**62)))
        noise = torch.randn(changed.shape, generator=generator, device=signal.device)
        changed = changed + config.noise_mv * COUNTS_PER_MV * noise
    if config.lead_dropout:
        speaks = _speaking(draw.random((n, n_leads)), config.lead_dropout)
        changed = changed * torch.from_numpy(speaks).to(signal.device)[:, None, :, None]
    return changed


def mix_up(raw: Raw, target: Tensor, alpha: float, seed: int) -> tuple[Raw, Tensor]:
    """Return rows and their labels, each mixed with those of another row of the batch.

    Parameters
    ----------
    raw : Raw
        The rows.
    target : torch.Tensor
        Shares of each class, float32, shape (n, n_classes).
    alpha : float
        Parameter of the beta distribution of the mixture's weight.
    seed : int
        What all draws depend on.

    References
    ----------
    .. [1] Zhang et al., mixup: beyond empirical risk minimization, ICLR 2018. Ours draws a weight for each row.
    """
    draw = np.random.default_rng([seed, 1])
    partner = torch.from_numpy(draw.permutation(len(target)))
    weights = torch.from_numpy(draw.beta(alpha, alpha, len(target)).astype(np.float32))
    other = raw.map(lambda values: values[partner.to(values.device)])
    step = weights.to(target.device)[:, None]
    return mixed(raw, other, weights), target + step * (target[partner.to(target.device)] - target)


def _of_rows(values: np.ndarray, signal: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(signal.device)[:, None, None, None]


def _shifted(signal: Tensor, by: Tensor) -> Tensor:
    """Return signals later by so many samples; what comes in has the value of the edge."""
    n_samples = signal.shape[-1]
    place = (torch.arange(n_samples, device=signal.device) - by[:, None]).clamp(0, n_samples - 1)
    return signal.gather(-1, place[:, None, None, :].expand_as(signal))


def _wander(draw: np.random.Generator, signal: Tensor, most_mv: float, fs_hz: float) -> Tensor:
    """Return a slow wave for each row and lead, of one frequency and phase."""
    n, _, n_leads, n_samples = signal.shape
    amplitude, hz, phase = (
        torch.from_numpy(values.astype(np.float32)).to(signal.device)[:, None, :, None]
        for values in (
            draw.uniform(0, most_mv * COUNTS_PER_MV, (n, n_leads)),
            np.repeat(draw.uniform(*WANDER_HZ, (n, 1)), n_leads, axis=1),
            draw.uniform(0, 2 * math.pi, (n, n_leads)),
        )
    )
    time_s = torch.arange(n_samples, device=signal.device) / fs_hz
    return amplitude * torch.sin(2 * math.pi * hz * time_s + phase)


def _speaking(drawn: np.ndarray, dropout: float) -> np.ndarray:
    """Return which leads are heard, 0 or 1: those that draw above the probability, and of each row the highest."""
    heard = (drawn >= dropout) | (drawn == drawn.max(axis=1, keepdims=True))
    spoken: np.ndarray = heard.astype(np.float32)
    return spoken
