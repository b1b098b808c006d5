"""Optimisers and learning rates by name.

The rate of a step is a pure function of the step's number and of the scores so far: a run that is resumed needs no
state of a schedule to go on as if it had not stopped.

References
----------
.. [1] Smith, Topin, Super-convergence, arXiv:1708.07120 (``one_cycle``); momentum is not cycled here.
.. [2] Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017 (``cosine``,
   ``warm_restarts``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from ecgtrain.config import OptimizerConfig, ScheduleConfig

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4
RISE = 1 / 3  # of the training

Factor = Callable[[float], float]


def make_optimizer(parameters: Iterable[Parameter], config: OptimizerConfig, device: torch.device) -> Optimizer:
    """Return an optimiser by its name; its steps are fused on a GPU, where that pays."""
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[config.name](
        (parameter for parameter in parameters if parameter.requires_grad),
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=device.type == "cuda",
    )


def rate_factor(config: ScheduleConfig, step: int, steps_an_epoch: int, epochs: int, badness: Sequence[float]) -> float:
    """Return what the learning rate of one step is multiplied by.

    Parameters
    ----------
    config : ScheduleConfig
        The schedule.
    step : int
        Number of the step, counted over the epochs from 0.
    steps_an_epoch, epochs : int
        How long the training is, at most.
    badness : sequence of float
        The watched score of the epochs that are done; less is better.
    """
    epoch = step / steps_an_epoch
    if epoch < config.warm_up_epochs:
        return (step + 1) / (config.warm_up_epochs * steps_an_epoch)
    factors: dict[str, Factor] = {
        "constant": lambda _: 1.0,
        "plateau": lambda _: config.factor ** count_reductions(badness, config.patience, config.max_reductions),
        "cosine": lambda share: _fall(share, config.least),
        "one_cycle": lambda share: _one_cycle(share * epochs * steps_an_epoch / (epochs * steps_an_epoch - 1)),
        "warm_restarts": lambda _: _fall(_share_of_cycle(epoch - config.warm_up_epochs, config), config.least),
    }
    return factors[config.name]((epoch - config.warm_up_epochs) / max(epochs - config.warm_up_epochs, 1e-9))


def risen(step: int, steps_an_epoch: int, epochs: int) -> float:
    """Return the share of a weight that rises evenly from 0 to 1 over the first third of the steps and stays there."""
    return min(step / (steps_an_epoch * epochs * RISE), 1.0)


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Multiply the rate that each group of weights started with."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def count_reductions(badness: Sequence[float], patience: int, most: int | None) -> int:
    """Return how often a score has stood still for more than `patience` epochs, each time counted anew."""
    best, stalled, reductions = math.inf, 0, 0
    for value in badness:
        stalled = 0 if value < best else stalled + 1
        best = min(best, value)
        if stalled > patience:
            reductions, stalled = reductions + 1, 0
    return reductions if most is None else min(reductions, most)


def _fall(share: float, least: float) -> float:
    return least + (1 - least) * (1 + math.cos(math.pi * share)) / 2


def _one_cycle(share: float) -> float:
    """Return the factor after a share of all steps but one, as in fastai and torch: half a cosine up, half one down."""
    if share <= ONE_CYCLE_RISE:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * (1 - math.cos(math.pi * share / ONE_CYCLE_RISE)) / 2
    return _fall((share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE), ONE_CYCLE_END)


def _share_of_cycle(epoch: float, config: ScheduleConfig) -> float:
    length = float(config.cycle_epochs)
    while epoch >= length:
        epoch -= length
        length *= config.cycle_growth
    return epoch / length
