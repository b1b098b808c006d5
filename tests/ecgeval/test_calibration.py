"""Calibration: each formula on twelve rows by hand, scikit-learn, and what temperature does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from ecgeval import calibration as c

# twelve rows of two classes: probability of the first, and whether it is the label
P1 = np.array([0.95, 0.95, 0.9, 0.9, 0.7, 0.7, 0.7, 0.7, 0.4, 0.4, 0.1, 0.1])
Y1 = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
P, Y = np.stack([P1, 1 - P1], axis=1), np.stack([Y1, ~Y1], axis=1)


def test_expected_calibration_error_by_hand():
    # top label: 0.95 ×2 (2 right), 0.9 ×4 (1 of 2, and 2 of 2), 0.7 ×4 (2), 0.6 ×2 (1); bins of 1/15
    expected = (2 * abs(1 - 0.95) + 4 * abs(3 / 4 - 0.9) + 4 * abs(2 / 4 - 0.7) + 2 * abs(1 / 2 - 0.6)) / 12
    assert c.ece(Y, P) == pytest.approx(expected)


def test_class_wise_error_by_hand():
    # of the first class: 0.95, 0.9, 0.7, 0.4, 0.1 with 2/2, 1/2, 2/4, 1/2, 0/2; of the second the mirror image
    expected = (2 * 0.05 + 2 * 0.4 + 4 * 0.2 + 2 * 0.1 + 2 * 0.1) / 12
    np.testing.assert_allclose(c.classwise_ece(Y, P), [expected, expected])


def test_adaptive_bins_hold_equally_many_rows():
    bins = c.bin_equal_mass(P1, Y1, 4)
    assert bins.n.tolist() == [3, 3, 3, 3]
    np.testing.assert_allclose(bins.confidence, [(0.1 + 0.1 + 0.4) / 3, (0.4 + 0.7 + 0.7) / 3, 2.3 / 3, 2.8 / 3])
    assert c.adaptive_ece(Y, P) == pytest.approx(c.bin_equal_mass(*c.top_label(Y, P)).error())


def test_an_upper_edge_belongs_to_its_bin():
    bins = c.bin_equal_width([0.0, 0.2, 0.2000001, 1.0], [0, 0, 1, 1], 5)
    assert bins.n.tolist() == [2, 1, 0, 0, 1]
    assert np.isnan(bins.accuracy[2])


def test_brier_and_likelihood_are_those_of_scikit_learn():
    by_hand = 2 * np.mean((P1 - Y1) ** 2)
    assert c.brier(Y, P) == pytest.approx(by_hand)
    assert c.nll(Y, P) == pytest.approx(log_loss(Y1, P1))
    assert c.nll(Y, P, multilabel=True) == pytest.approx(2 * log_loss(Y1, P1))


def test_likelihood_of_an_impossible_label_is_finite():
    assert np.isfinite(c.nll([[1, 0]], [[0.0, 1.0]]))


def test_temperature_divides_logits():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.4, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    halved = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(c.apply_temperature(softmax, 2), halved)
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(c.apply_temperature(sigmoid, 2, multilabel=True), 1 / (1 + np.exp(-logits / 2)))


@given(st.floats(0.2, 5))
def test_temperature_keeps_the_order(temperature):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 20)
    scaled = c.apply_temperature(p, temperature)
    np.testing.assert_array_equal(np.argsort(scaled, axis=1), np.argsort(p, axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_the_right_temperature_mends_an_overconfident_model():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.multinomial(1, p) for p in true])
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    best = minimize_scalar(lambda t: c.nll(y, c.apply_temperature(sharp, t)), bounds=(0.5, 10), method="bounded").x
    assert best == pytest.approx(3, rel=0.1)
    assert c.ece(y, c.apply_temperature(sharp, 3)) < 0.04 < c.ece(y, sharp)


@pytest.mark.parametrize("temperature", [1e-6, 1.7, 1e9])
def test_probabilities_extremes_stay_defined_under_a_temperature(temperature):
    p = np.array([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7]])
    assert np.isfinite(c.apply_temperature(p, temperature)).all()
    assert np.isfinite(c.apply_temperature(p, temperature, multilabel=True)).all()


def test_prior_correction_by_hand():
    # trained on equal shares, read where nine in ten are of the first class
    np.testing.assert_allclose(c.correct_prior([[0.5, 0.5]], [0.5, 0.5], [0.9, 0.1]), [[0.9, 0.1]])
