from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgtrain.calibration import calibrate, fit_temperature
from ecgtrain.loader import loaders
from ecgtrain.predicting import Said, SameInputError, predict, predict_logits, probabilities
from store.errors import UserError

CPU = torch.device("cpu")
GENERATOR = np.random.default_rng(0)


class Mean(torch.nn.Module):
    """Says the mean of a row's samples, class by class a little more."""

    def forward(self, signal, features=None):
        return signal.mean(dim=(1, 2))[:, None] + torch.arange(5.0)


def test_windows_are_scored_one_by_one_with_their_numbers(records_store):
    data = loaders(records_store, batch_size=16, crop={"samples": 100, "stride": 50}, device="cpu")
    assert data.shape.n_samples == 100
    assert data.test.windows == [0, 50, 100, 150]
    logits = predict_logits(Mean(), data.test, CPU)
    whole = loaders(records_store, device="cpu")
    signal = whole.test.preparation.inputs(whole.test.reader.take(whole.test.rows))["signal"]
    for number, first in enumerate(data.test.windows):
        expected = signal[:, :, first : first + 100].mean(dim=(1, 2)).numpy()
        np.testing.assert_allclose(logits[:, number, 0], expected, atol=1e-5)


def test_training_takes_pieces_at_random_places(records_store):
    data = loaders(records_store, batch_size=64, crop={"samples": 100, "stride": 50}, device="cpu")
    whole = loaders(records_store, device="cpu").train
    starts = set()
    for epoch in (0, 1):
        batch = next(data.train.shuffled(0, epoch))
        rows = whole.preparation.inputs(whole.reader.take(batch.rows))["signal"]
        for row, piece in zip(rows, batch.inputs["signal"], strict=True):
            starts |= {s for s in range(151) if torch.equal(row[:, s : s + 100], piece)}
    assert len(starts) > 40


@pytest.mark.parametrize(
    ("options", "said"), [({"crop": {"samples": 251, "stride": 1}}, "rows of .* have 250")], ids=["too-long"]
)
def test_pieces_that_do_not_fit_are_refused(records_store, options, said):
    with pytest.raises(UserError, match=said):
        loaders(records_store, **options)


def test_beats_have_no_pieces(linked_store):
    with pytest.raises(UserError, match="neighbours and typical"):
        loaders(linked_store, crop={"samples": 100, "stride": 50})


def test_changed_copies_are_averaged_as_probabilities(beats_store):
    data = loaders(beats_store, context=[], augmentation={"gain": 0.5}, device="cpu")
    said = predict(Mean(), data.test, CPU, "float32", multilabel=False, n_copies=2)
    assert said.logits is None
    copies = [predict_logits(Mean(), data.test, CPU, copy=copy) for copy in (None, 0, 1)]
    assert not np.array_equal(copies[1], copies[2])
    expected = np.mean([probabilities(one, multilabel=False) for one in copies], axis=0)
    np.testing.assert_allclose(said.probability, expected, rtol=1e-5)


def test_copies_that_are_not_changed_are_refused(beats_store):
    plain = loaders(beats_store, context=[], device="cpu")
    with pytest.raises(UserError, match="needs an augmentation"):
        predict(Mean(), plain.test, CPU, "float32", multilabel=False, n_copies=2)
    faint = loaders(beats_store, context=[], augmentation={"shift_s": 1e-6}, device="cpu")
    with pytest.raises(SameInputError, match="equals the rows"):
        predict(Mean(), faint.test, CPU, "float32", multilabel=False, n_copies=2)


@pytest.mark.parametrize("multilabel", [True, False], ids=["several-labels", "one-label"])
@pytest.mark.parametrize("true", [0.5, 3.0])
def test_a_temperature_is_found_again(multilabel, true):
    logits = GENERATOR.normal(0, 2, (4000, 1, 4)).astype(np.float32)
    p = probabilities(logits, multilabel=multilabel)[:, 0]
    if multilabel:
        truth = GENERATOR.random(p.shape) < p
    else:
        truth = np.array([GENERATOR.multinomial(1, one / one.sum()) for one in p.astype(float)])
    assert fit_temperature(true * logits, truth.astype(np.int8), multilabel=multilabel) == pytest.approx(true, rel=0.1)


def test_calibration_says_what_it_was_fitted_on_and_has_no_temperature_without_logits():
    p = GENERATOR.random((50, 3, 2)).astype(np.float32)
    truth = (p.mean(axis=1) > 0.6).astype(np.int8)
    found = calibrate(Said(None, p), truth, ["a", "b"], multilabel=True)
    assert (found["temperature"], found["fitted_on"]) == (None, "validation")
    for c, name in enumerate(("a", "b")):
        np.testing.assert_array_equal(p.mean(axis=1)[:, c] >= found["thresholds"][name], truth[:, c] == 1)
    assert calibrate(Said(None, p), truth, ["a", "b"], multilabel=False)["thresholds"] == {}
