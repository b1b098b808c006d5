from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgtrain.augment import augmented, mix_up
from ecgtrain.config import AugmentationConfig
from ecgtrain.loader import loaders
from ecgtrain.reading import Raw, mixed
from store.balance import mix_rows
from store.errors import UserError

FS = 100.0
SIGNAL = torch.from_numpy(np.random.default_rng(0).integers(-900, 900, (6, 2, 3, 400)).astype(np.int16))

CHANGES = {
    "gain": {"gain": 0.3},
    "noise": {"noise_mv": 0.05},
    "wander": {"wander_mv": 0.2},
    "lead-dropout": {"lead_dropout": 0.6},
    "shift": {"shift_s": 0.1},
}


def changed(seed=1, **options):
    return augmented(SIGNAL, AugmentationConfig(**options), FS, seed)


@pytest.mark.parametrize("options", CHANGES.values(), ids=CHANGES)
def test_a_change_depends_on_its_seed_alone(options):
    assert torch.equal(changed(**options), changed(**options))
    assert not torch.equal(changed(**options), changed(seed=2, **options))
    assert not torch.equal(changed(**options), SIGNAL.float())


def test_without_parameters_nothing_changes():
    assert torch.equal(changed(), SIGNAL.float())


def test_a_gain_multiplies_all_beats_and_leads_of_a_row():
    found = (changed(gain=0.3) / SIGNAL)[SIGNAL != 0].view(-1)
    per_row = torch.stack([row[SIGNAL[i] != 0].mean() for i, row in enumerate(changed(gain=0.3) / SIGNAL)])
    assert ((per_row > 0.7) & (per_row < 1.3)).all()
    assert len(torch.unique(found.round(decimals=4))) == len(SIGNAL)


def test_noise_has_the_sd_that_was_asked_for():
    noise_mv = (changed(noise_mv=0.05) - SIGNAL) / 1000
    assert noise_mv.std().item() == pytest.approx(0.05, rel=0.05)


def test_wander_is_slow_and_no_larger_than_asked_for():
    wave = (changed(wander_mv=0.2) - SIGNAL) / 1000
    assert wave.abs().max() <= 0.2
    assert wave.diff(dim=-1).abs().max() <= 0.2 * 2 * np.pi * 0.5 / FS + 1e-4
    torch.testing.assert_close(wave[:, 0], wave[:, 1], atol=1e-4, rtol=0)


def test_silent_leads_are_silent_in_all_beats_and_one_always_speaks():
    found = changed(lead_dropout=0.9)
    silent = (found == 0).all(dim=-1)
    assert torch.equal(silent[:, 0], silent[:, 1])
    assert not silent.all(dim=2).any()
    assert silent.any()
    assert torch.equal(found[~silent], SIGNAL.float()[~silent])


def test_the_only_lead_cannot_fall_silent(beats_store):
    with pytest.raises(UserError, match="lead_dropout: one lead is read"):
        loaders(beats_store, augmentation={"lead_dropout": 0.2})


def test_a_shift_moves_a_row_and_repeats_its_edge():
    found = changed(shift_s=0.1)
    for row, moved in zip(SIGNAL.float(), found, strict=True):
        shifts = [by for by in range(-10, 11) if torch.equal(moved, moved_by(row, by))]
        assert len(shifts) == 1


def moved_by(row, by):
    place = np.clip(np.arange(row.shape[-1]) - by, 0, row.shape[-1] - 1)
    return row[..., place]


def test_mixed_rows_and_labels_have_the_same_weights():
    target = torch.eye(6)
    raw, shares = mix_up(Raw(counts=SIGNAL), target, alpha=1.0, seed=4)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
    assert (shares.max(dim=1).values < 1).any()
    expected = torch.einsum("ij,j...->i...", shares, SIGNAL.float())
    torch.testing.assert_close(raw.counts.float(), expected, atol=0.51, rtol=0)


def test_rows_are_mixed_as_a_balance_says():
    weights = np.linspace(0, 1, 6, dtype=np.float32)
    other = SIGNAL.flip(0)
    found = mixed(Raw(counts=SIGNAL), Raw(counts=other), torch.from_numpy(weights)).counts
    for beat in (0, 1):
        np.testing.assert_array_equal(
            found[:, beat], mix_rows(SIGNAL[:, beat].numpy(), other[:, beat].numpy(), weights)
        )


def test_batches_change_with_the_epoch_and_are_the_same_when_they_are_made_again(beats_store):
    data = loaders(beats_store, batch_size=64, context=[], augmentation={"gain": 0.2, "mixup": 0.4}, device="cpu")
    first, again = (list(data.train.shuffled(0, 1)) for _ in range(2))
    entered = next(data.train.shuffled(0, 1, first=3))
    for ours, theirs in zip(first, again, strict=True):
        assert torch.equal(ours.inputs["signal"], theirs.inputs["signal"])
        assert torch.equal(ours.target, theirs.target)
    assert torch.equal(first[3].inputs["signal"], entered.inputs["signal"])
    assert first[0].target.shape == (len(first[0].rows), 5)
    for batch in data.validation.in_order():
        assert batch.target.ndim == 1
