from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgtrain.losses import class_weights, make_loss, positive_weights
from store.errors import UserError

COUNTS = np.array([72471, 2223, 5788, 641, 6431])
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.standard_normal((40, 5)).astype(np.float32)
CLASSES = GENERATOR.integers(0, 5, 40)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def test_context_weights_are_those_of_the_paper():
    weights = class_weights(COUNTS, "context")
    np.testing.assert_allclose(weights / weights[0], [1, 3.484, 2.527, 4.728, 2.422], atol=5e-4)


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("none", lambda n: np.ones(5)),
        ("inverse", lambda n: 1 / n),
        ("sqrt_inverse", lambda n: n**-0.5),
        ("effective", lambda n: (1 - 0.9999) / (1 - 0.9999**n)),
    ],
)
def test_class_weights_follow_their_formula_with_mean_one(kind, formula):
    expected = formula(COUNTS.astype(float))
    np.testing.assert_allclose(class_weights(COUNTS, kind), expected / expected.mean())


def test_a_class_without_rows_has_no_weight():
    weights = class_weights(np.array([10, 0, 40]), "inverse")
    assert weights[1] == 0
    np.testing.assert_allclose(weights[[0, 2]].mean(), 1)


@pytest.mark.parametrize("kind", ["auto", "none", "inverse", "context"])
def test_cross_entropy_is_the_weighted_mean_of_minus_log_p(kind):
    weights = class_weights(np.bincount(CLASSES, minlength=5), "sqrt_inverse" if kind == "auto" else kind)[CLASSES]
    minus_log_p = -log_softmax(LOGITS)[np.arange(40), CLASSES]
    loss = make_loss(torch.from_numpy(CLASSES), 5, kind)(torch.from_numpy(LOGITS), torch.from_numpy(CLASSES))
    assert loss.item() == pytest.approx((weights * minus_log_p).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize("kind", ["auto", "none", "inverse"])
def test_binary_cross_entropy_is_the_mean_over_cells(kind):
    truth = (GENERATOR.random((40, 5)) < 0.3).astype(np.float32)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    weights = positive_weights(truth) if kind == "inverse" else np.ones(5)
    expected = -(weights * truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    loss = make_loss(torch.from_numpy(truth), 5, kind)(torch.from_numpy(LOGITS), torch.from_numpy(truth))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_positive_weights_are_negatives_over_positives_up_to_a_cap():
    truth = np.zeros((100, 2), dtype=np.float32)
    truth[:25, 0] = truth[:1, 1] = 1
    np.testing.assert_allclose(positive_weights(truth), [3.0, 10.0])


def test_weights_of_single_labels_are_refused_for_several():
    with pytest.raises(UserError, match="one label a row"):
        make_loss(torch.zeros(4, 3), 3, "context")
