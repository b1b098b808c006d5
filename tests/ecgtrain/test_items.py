from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecgtrain.config import TrainingConfig
from ecgtrain.items import balanced
from ecgtrain.loader import loaders
from ecgtrain.loop import train
from store.balance import mix_rows
from store.errors import UnknownNameError, UserError
from store.patients import choose_patients


def test_a_balance_adds_its_rows_and_keeps_its_training_rows(drawn_store):
    plain, data = loaders(drawn_store), loaders(drawn_store, balance="smote")
    balance = drawn_store.balance(None, "smote")
    kept = plain.train.rows[balance.keep[plain.train.rows]]
    np.testing.assert_array_equal(data.train.rows, np.concatenate([kept, balance.parents[:, 0]]))
    np.testing.assert_array_equal(data.train.target[-40:], balance.classes)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(data, part).rows, getattr(plain, part).rows)
        assert not getattr(data, part).items.weights.any()


@pytest.mark.parametrize("placement", ["host", "streamed"])
def test_synthetic_rows_are_mixed_before_they_are_standardised(drawn_store, placement):
    data = loaders(drawn_store, balance="smote", context=[], batch_size=64, placement=placement, device="cpu")
    stored = drawn_store.signal[:]
    seen = 0
    for batch in data.train.shuffled(0, 0):
        counts = np.rint(batch.inputs["signal"].numpy() * 300 + 100)
        for row, found in zip(batch.rows, counts, strict=True):
            if not np.array_equal(found, stored[row]):
                pairs = data.train.items.rows == row
                balances = zip(data.train.items.partners[pairs], data.train.items.weights[pairs], strict=True)
                made = [mix_rows(stored[[row]], stored[[other]], np.array([weight])) for other, weight in balances]
                assert any(np.array_equal(found, one[0]) for one in made)
                seen += 1
    assert seen > 30


@pytest.mark.parametrize("name", ["smote", "over"])
def test_rows_that_a_balance_made_are_counted(drawn_store, name):
    balance = drawn_store.balance(None, name)
    items = loaders(drawn_store).train.items
    assert items.n_made == 0
    assert balanced(items, replace(balance, keep=np.ones_like(balance.keep))).n_made == len(balance.parents)


def test_a_balance_belongs_to_its_protocol_and_fold(drawn_store):
    assert len(loaders(drawn_store, protocol="kfold-3", fold=1, balance="smote").train.items) > 40
    with pytest.raises(UnknownNameError, match="Make one: ecgprep build --balance"):
        loaders(drawn_store, protocol="kfold-3", fold=2, balance="smote")


def test_a_balance_beside_class_weights_is_refused(drawn_store):
    data = loaders(drawn_store, balance="smote", context=[])
    with pytest.raises(UserError, match="balanced once already"):
        train(torch.nn.Linear(1, 1), data, TrainingConfig(class_weights="inverse"))


def test_a_cap_is_of_each_class_drawn_by_the_seed_and_of_training_rows_alone(beats_store):
    plain = loaders(beats_store)
    capped = [loaders(beats_store, samples_per_class=20, seed=seed) for seed in (0, 0, 1)]
    counts = np.bincount(capped[0].train.target, minlength=5)
    np.testing.assert_array_equal(counts, np.minimum(np.bincount(plain.train.target, minlength=5), 20))
    np.testing.assert_array_equal(capped[0].train.rows, capped[1].train.rows)
    assert not np.array_equal(capped[0].train.rows, capped[2].train.rows)
    np.testing.assert_array_equal(capped[0].validation.rows, plain.validation.rows)
    np.testing.assert_array_equal(capped[0].test.rows, plain.test.rows)


def test_a_cap_of_several_labels_a_row_leaves_each_class_its_share(records_store):
    plain, capped = (loaders(records_store, samples_per_class=most).train.target.sum(0) for most in (None, 8))
    assert (capped >= torch.minimum(plain, torch.tensor(8.0))).all()
    assert capped.sum() < plain.sum()


def test_part_of_the_patients_trains_and_all_validate(records_store):
    whole = loaders(records_store)
    part = loaders(records_store, patients="40%")
    assert part.validation.rows.tolist() == whole.validation.rows.tolist()
    chosen = set(choose_patients("40%", 45).tolist())
    number = records_store.column("patient_number")
    expected = [row for row in whole.train.rows.tolist() if number[row] in chosen]
    assert part.train.rows.tolist() == expected
    assert 0 < len(expected) < len(whole.train.rows)


def test_patients_who_are_not_there_are_refused(records_store):
    with pytest.raises(UserError, match="none of them is among the training patients"):
        loaders(records_store, patients="1000-2000")


def test_part_of_the_patients_beside_a_balance_of_all_is_refused(records_store):
    with pytest.raises(UserError, match="'smote' was made from all training patients; use one"):
        loaders(records_store, patients="40%", balance="smote")
