"""A running mean of a model's weights, which generalises better and scores more steadily than the last step's.

References
----------
.. [1] Polyak, Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30(4), 1992.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

WARM_UP = 10  # steps after which a young mean still forgets as fast as it learns


class WeightAverage:
    """An exponential moving average of weights and normalisation statistics.

    Parameters
    ----------
    model : torch.nn.Module
        Whose weights are averaged.
    decay : float
        Share of the mean that a step keeps; smaller in the first steps, so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the mean towards a model's weights after its step number `step`, counted from 0."""
        keep = min(self.decay, (1 + step) / (WARM_UP + step))
        for mean, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)
