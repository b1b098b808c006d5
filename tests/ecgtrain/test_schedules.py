from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR, ReduceLROnPlateau

from ecgtrain.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from ecgtrain.schedules import make_optimizer, rate_factor, risen, set_rate

EPOCHS, STEPS = 30, 7
WEIGHTS = [torch.nn.Parameter(torch.zeros(3))]


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def rates(name, **options):
    config = ScheduleConfig(name=name, **options)
    return [rate_factor(config, step, STEPS, EPOCHS, []) for step in range(EPOCHS * STEPS)]


def rates_of_torch(make):
    optimizer = sgd()
    schedule = make(optimizer)
    found = []
    for _ in range(EPOCHS * STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("options", "make"),
    [
        ({"name": "cosine", "least": 0.1}, lambda o: CosineAnnealingLR(o, EPOCHS * STEPS, eta_min=0.1)),
        ({"name": "warm_restarts"}, lambda o: CosineAnnealingWarmRestarts(o, 10 * STEPS, T_mult=2)),
        ({"name": "warm_restarts", "cycle_epochs": 4, "cycle_growth": 1, "least": 0.01},
         lambda o: CosineAnnealingWarmRestarts(o, 4 * STEPS, eta_min=0.01)),
        ({"name": "one_cycle"},
         lambda o: OneCycleLR(o, 1.0, total_steps=EPOCHS * STEPS + 1, cycle_momentum=False)),
    ],
    ids=["cosine", "warm-restarts", "restarts-of-one-length", "one-cycle"],
)  # fmt: skip
def test_rates_are_those_of_torch(options, make):
    tolerance = 0.03 if options["name"] == "one_cycle" else 1e-9  # torch rounds the rise to whole steps
    np.testing.assert_allclose(rates(**options), rates_of_torch(make), atol=tolerance)


@given(
    badness=st.lists(st.floats(0, 1), max_size=30),
    patience=st.integers(0, 4),
    most=st.one_of(st.none(), st.integers(1, 3)),
)
def test_plateaus_are_those_of_torch(badness, patience, most):
    optimizer = sgd()
    least = 0.0 if most is None else 0.5**most
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, threshold=0.0, min_lr=least, eps=0.0)
    for value in badness:
        schedule.step(value)
    config = ScheduleConfig(patience=patience, max_reductions=most)
    assert rate_factor(config, 0, STEPS, EPOCHS, badness) == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("name", ["plateau", "cosine", "warm_restarts", "constant"])
def test_a_warm_up_rises_to_the_full_rate(name):
    found = rates(name, warm_up_epochs=2)
    np.testing.assert_allclose(found[: 2 * STEPS], np.arange(1, 2 * STEPS + 1) / (2 * STEPS))
    assert found[2 * STEPS] == 1.0


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"patience": 4}, "can never act"),
        ({"name": "cosine", "warm_up_epochs": 50}, "no less than epochs"),
        ({"name": "one_cycle", "warm_up_epochs": 1}, "a rise of its own"),
        ({"name": "warm_restarts", "cycle_epochs": 50}, "no restart within"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_schedule_that_can_never_act_is_refused(schedule, said):
    with pytest.raises(ValidationError, match=said):
        TrainingConfig(schedule=schedule)


def test_optimisers_are_those_that_were_named():
    config = OptimizerConfig(name="adamw", lr=0.1, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.05)
    optimizer = make_optimizer(WEIGHTS, config, torch.device("cpu"))
    assert isinstance(optimizer, torch.optim.AdamW)
    group = optimizer.param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["eps"], group["weight_decay"]) == (0.1, (0.9, 0.98), 1e-9, 0.05)
    assert not isinstance(make_optimizer(WEIGHTS, OptimizerConfig(), torch.device("cpu")), torch.optim.AdamW)


def test_weights_that_are_frozen_are_left_to_themselves():
    frozen = torch.nn.Parameter(torch.zeros(3), requires_grad=False)
    optimizer = make_optimizer([frozen, *WEIGHTS], OptimizerConfig(), torch.device("cpu"))
    assert optimizer.param_groups[0]["params"] == WEIGHTS


def test_each_group_keeps_its_share_of_the_rate():
    optimizer = torch.optim.Adam([{"params": WEIGHTS, "lr": 0.1}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
    for factor in (0.5, 0.25):
        set_rate(optimizer, factor)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.00025]


def test_a_weight_rises_over_the_first_third_of_the_steps_and_stays():
    found = [risen(step, STEPS, EPOCHS) for step in range(STEPS * EPOCHS)]
    third = STEPS * EPOCHS // 3
    assert found[: third + 1] == pytest.approx(np.linspace(0, 1, third + 1))
    assert set(found[third:]) == {1.0}
