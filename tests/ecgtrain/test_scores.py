from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from ecgtrain.scores import auroc, best_threshold, f1, score

GENERATOR = np.random.default_rng(1)
PROBABILITY = GENERATOR.dirichlet(np.ones(4), 200).round(2)  # rounded: with ties
TRUTH = np.arange(4) == GENERATOR.integers(0, 4, 200)[:, None]


def test_auroc_equals_scikit_learn():
    for c in range(4):
        assert auroc(TRUTH[:, c], PROBABILITY[:, c]) == pytest.approx(roc_auc_score(TRUTH[:, c], PROBABILITY[:, c]))


@pytest.mark.parametrize("multilabel", [True, False])
def test_f1_equals_scikit_learn(multilabel):
    found = score(TRUTH, PROBABILITY, multilabel=multilabel).f1
    if multilabel:
        expected = f1_score(TRUTH, PROBABILITY >= 0.5, average=None)
    else:
        expected = f1_score(TRUTH.argmax(1), PROBABILITY.argmax(1), average=None)
    np.testing.assert_allclose(found, expected)


def test_scores_of_an_absent_class_are_undefined_and_left_out_of_the_mean():
    truth = TRUTH.copy()
    truth[:, 3] = False
    scores = score(truth, np.where(np.arange(4) == 3, 0.0, PROBABILITY), multilabel=True)
    assert np.isnan(scores.auroc[3])
    assert np.isnan(scores.f1[3])
    assert scores.macro([0, 1, 2, 3]) == scores.macro([0, 1, 2])


@given(seed=st.integers(0, 1000), n=st.integers(1, 60))
def test_no_other_threshold_has_a_higher_f1(seed, n):
    generator = np.random.default_rng(seed)
    truth, probability = generator.random(n) < 0.4, generator.random(n).round(1)
    threshold = best_threshold(truth, probability)
    if truth.any():
        others = [f1(truth, probability >= other) for other in np.linspace(0, 1, 101)]
        assert f1(truth, probability >= threshold) == pytest.approx(max(others))
    else:
        assert threshold == 0.5
