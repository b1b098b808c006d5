"""A state-space model with diagonal state matrices.

References
----------
.. [1] Gu, Goel, Ré, Efficiently modeling long sequences with structured state spaces, ICLR 2022.
.. [2] Gu, Gupta, Goel, Ré, On the parameterization and initialization of diagonal state space models, NeurIPS 2022.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ecgtrain.models.attention import mean_over_steps
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.maps import valid_steps
from ecgtrain.models.registry import InputShape, register_model

WIDTH, STATE, LAYERS, DROPOUT = 512, 8, 4, 0.2
SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1


class DiagonalKernel(nn.Module):
    """Kernels of a bank of diagonal state-space systems (S4D-Lin).

    Parameters
    ----------
    width : int
        Systems.
    state : int
        Real size of each one's state: half as many pairs of conjugate poles, at −½ ± iπn at the start.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        pairs = state // 2
        spread = math.log(LONGEST_STEP) - math.log(SHORTEST_STEP)
        self.log_step = nn.Parameter(torch.rand(width) * spread + math.log(SHORTEST_STEP))
        self.log_decay = nn.Parameter(torch.full((width, pairs), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(pairs).repeat(width, 1).float())
        self.output = nn.Parameter(torch.randn(width, pairs, 2) * math.sqrt(0.5))

    def forward(self, n_steps: int) -> Tensor:
        """Return the kernels' first `n_steps` values, shape (width, n_steps)."""
        pole = torch.complex(-self.log_decay.exp(), self.frequency)
        exponent = self.log_step.exp()[:, None] * pole
        held = torch.view_as_complex(self.output) * exponent.expm1() / pole  # the input held over a step
        powers = torch.exp(exponent[:, :, None] * torch.arange(n_steps, device=pole.device))
        return 2 * torch.einsum("wp,wpt->wt", held, powers).real


class StateSpaceLayer(nn.Module):
    """A bank of systems run forwards and backwards over time, a gated linear unit, residual and layer norm.

    Parameters
    ----------
    width, state : int
        Channels, and the size of each one's state.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        self.forwards = DiagonalKernel(width, state)
        self.backwards = DiagonalKernel(width, state)
        self.direct = nn.Parameter(torch.randn(width))
        self.mix = nn.Sequential(nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(width, 2 * width), nn.GLU(dim=2))
        self.dropout = nn.Dropout(DROPOUT)
        self.norm = nn.LayerNorm(width)

    def forward(self, steps: Tensor) -> Tensor:
        """Return steps (batch, time, width) after the layer."""
        mixed: Tensor = self.mix(self._run(steps) + self.direct * steps)
        after: Tensor = self.norm(steps + self.dropout(mixed))
        return after

    def _run(self, steps: Tensor) -> Tensor:
        n_steps = steps.shape[1]
        with torch.autocast(steps.device.type, enabled=False):  # transforms need float32
            forwards, backwards = self.forwards(n_steps), self.backwards(n_steps)
            both = nn.functional.pad(forwards, (0, n_steps)) + nn.functional.pad(backwards.flip(1), (n_steps, 0))
            spectrum = torch.fft.rfft(both.t(), dim=0)  # the second half of the circle lies before time 0
            found: Tensor = torch.fft.irfft(
                torch.fft.rfft(steps.float(), 2 * n_steps, dim=1) * spectrum, 2 * n_steps, dim=1
            )
        return found[:, :n_steps]


class StateSpaceEncoder(Encoder):
    """A linear map of the leads, state-space layers, and the mean over time.

    Parameters
    ----------
    n_leads : int
        Leads of the signal.
    """

    width = WIDTH

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.widen = nn.Linear(n_leads, WIDTH)
        self.layers = nn.ModuleList(StateSpaceLayer(WIDTH, STATE) for _ in range(LAYERS))

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors of a batch of signals."""
        mask = None if extent is None else valid_steps(extent, signal.shape[2])
        steps = self._silence(self.widen(signal.transpose(1, 2)), mask)
        for layer in self.layers:
            steps = self._silence(layer(steps), mask)
        return mean_over_steps(steps, mask)

    @staticmethod
    def _silence(steps: Tensor, mask: Tensor | None) -> Tensor:
        return steps if mask is None else steps * mask[:, :, None]


@register_model(
    reads="signal",
    source="Gu et al. 2022 (arXiv:2111.00396, arXiv:2206.11893); Mehari, Strodthoff 2023 (arXiv:2308.15291)",
    settings={"optimizer": {"lr": 1e-3, "weight_decay": 1e-3}},
)
def s4(shape: InputShape) -> nn.Module:
    """Four bidirectional state-space layers of 512 channels, eight states each.

    References
    ----------
    .. [1] Gu, Goel, Ré, Efficiently modeling long sequences with structured state spaces, ICLR 2022. Ours departs in
       the state matrix: diagonal, with the linear start of reference 2.
    .. [2] Gu, Gupta, Goel, Ré, On the parameterization and initialization of diagonal state space models, NeurIPS 2022.
    .. [3] Mehari, Strodthoff, Towards quantitative precision for ECG analysis: leveraging state space models,
       self-supervision and patient metadata, IEEE JBHI 2023: width, state, layers.
    """
    return SignalModel(StateSpaceEncoder(shape.n_leads), shape)
