from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgtrain.config import LossConfig
from ecgtrain.losses import attraction, class_shares, class_weights, logits_and_distances, make_loss, positive_weights
from store.errors import UserError

COUNTS = np.array([72471, 2223, 5788, 641, 6431])
GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.standard_normal((40, 5)).astype(np.float32)
CLASSES = GENERATOR.integers(0, 5, 40)


def value(target, weights="none", logits=LOGITS, **options):
    """Return the mean loss of some logits whose targets are those of the training rows, too."""
    target = torch.from_numpy(target)
    loss = make_loss(target, logits.shape[1], LossConfig(**options), weights)
    return loss.mean(torch.from_numpy(logits), class_shares(target, logits.shape[1])).item()


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


@pytest.mark.parametrize("shape", [(4, 7), (4, 1), (4,)])
def test_outputs_that_fit_no_task_are_refused(shape):
    with pytest.raises(UserError, match="classes it has to be \\(4, 5\\)"):
        logits_and_distances(torch.zeros(shape), 5)


def test_attraction_is_the_distance_from_the_prototype_of_a_row_s_class():
    distances = torch.tensor([[0.1, 2.0, 3.0], [0.4, 0.5, 0.6]])
    shares = class_shares(torch.tensor([2, 0]), 3)
    assert attraction(distances, shares).tolist() == pytest.approx([3.0, 0.4])
    mixed = torch.tensor([[0.75, 0.25, 0.0], [0.0, 1.0, 1.0]])  # two rows mixed, and two labels of one row
    assert attraction(distances, mixed).tolist() == pytest.approx([0.575, 1.1])
    assert attraction(distances[:, :0], shares).tolist() == [0.0, 0.0]


def test_a_class_without_rows_has_no_weight():
    weights = class_weights(np.array([10, 0, 40]), "inverse")
    assert weights[1] == 0
    np.testing.assert_allclose(weights[[0, 2]].mean(), 1)


@pytest.mark.parametrize("kind", ["auto", "none", "inverse", "context"])
def test_cross_entropy_is_the_weighted_mean_of_minus_log_p(kind):
    weights = class_weights(np.bincount(CLASSES, minlength=5), "sqrt_inverse" if kind == "auto" else kind)[CLASSES]
    minus_log_p = -log_softmax(LOGITS)[np.arange(40), CLASSES]
    assert value(CLASSES, kind) == pytest.approx((weights * minus_log_p).sum() / weights.sum(), rel=1e-5)


@pytest.mark.parametrize("kind", ["auto", "none", "inverse"])
def test_binary_cross_entropy_is_the_mean_over_cells(kind):
    truth = (GENERATOR.random((40, 5)) < 0.3).astype(np.float32)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    weights = positive_weights(truth) if kind == "inverse" else np.ones(5)
    expected = -(weights * truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    assert value(truth, kind) == pytest.approx(expected, rel=1e-5)


def test_positive_weights_are_negatives_over_positives_up_to_a_cap():
    truth = np.zeros((100, 2), dtype=np.float32)
    truth[:25, 0] = truth[:1, 1] = 1
    np.testing.assert_allclose(positive_weights(truth), [3.0, 10.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_is_that_of_torch(smoothing):
    weights = torch.from_numpy(class_weights(np.bincount(CLASSES, minlength=5), "inverse")).float()
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(LOGITS), torch.from_numpy(CLASSES), weight=weights, label_smoothing=smoothing
    )
    assert value(CLASSES, "inverse", label_smoothing=smoothing) == pytest.approx(expected.item(), rel=1e-5)


def test_focal_loss_of_one_label_a_row():
    log_p = log_softmax(LOGITS.astype(np.float64))[np.arange(40), CLASSES]
    expected = -((1 - np.exp(log_p)) ** 2 * log_p).mean()
    assert value(CLASSES, name="focal") == pytest.approx(expected, rel=1e-5)
    assert value(CLASSES, name="focal", gamma=0.0) == pytest.approx(-log_p.mean(), rel=1e-5)


TRUTH = (GENERATOR.random((40, 5)) < 0.3).astype(np.float32)
P = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))


def test_focal_loss_of_several_labels_a_row():
    p_t, alpha_t = np.where(TRUTH == 1, P, 1 - P), np.where(TRUTH == 1, 0.25, 0.75)
    expected = -(alpha_t * (1 - p_t) ** 2 * np.log(p_t)).mean()
    assert value(TRUTH, name="focal") == pytest.approx(expected, rel=1e-5)


def test_asymmetric_loss_shifts_negative_labels_alone():
    shifted = np.maximum(P - 0.05, 0)
    positive, negative = (1 - P) * np.log(P), shifted**4 * np.log(1 - shifted)
    expected = -np.where(TRUTH == 1, positive, negative).mean()
    assert value(TRUTH, name="asymmetric", gamma_positive=1.0) == pytest.approx(expected, rel=1e-5)


def test_no_gradient_flows_through_the_focusing_of_the_asymmetric_loss():
    logits = torch.from_numpy(LOGITS).requires_grad_()
    target = torch.from_numpy(TRUTH)
    make_loss(target, 5, LossConfig(name="asymmetric", gamma_positive=1.0), "none").mean(logits, target).backward()
    shifted = np.maximum(P - 0.05, 0)
    positive = -(1 - P) * (1 - P)  # (1-p) held, times d/dz ln p
    negative = shifted**4 * (P > 0.05) * P * (1 - P) / (1 - shifted)
    np.testing.assert_allclose(logits.grad, np.where(TRUTH == 1, positive, negative) / TRUTH.size, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("target", "weights"), [(CLASSES, "inverse"), (TRUTH, "inverse")], ids=["classes", "labels"])
def test_a_loss_in_parts_is_the_loss_of_the_whole(target, weights):
    target, logits = torch.from_numpy(target), torch.from_numpy(LOGITS)
    shares = class_shares(target, 5)
    loss = make_loss(target, 5, LossConfig(), weights)
    parts = [loss.terms(logits[p], shares[p]).sum() for p in (slice(0, 13), slice(13, 40))]
    torch.testing.assert_close(sum(parts) / loss.shares(shares).sum(), loss.mean(logits, shares))


@pytest.mark.parametrize(
    ("target", "name", "weights", "said"),
    [
        (TRUTH, "auto", "context", "one label a row"),
        (TRUTH, "cross_entropy", "none", "with several use bce"),
        (CLASSES, "asymmetric", "none", "with one use cross_entropy"),
        (TRUTH, "focal", "inverse", "weights of its own"),
    ],
)
def test_a_loss_that_does_not_fit_the_task_is_refused(target, name, weights, said):
    with pytest.raises(UserError, match=said):
        value(target, weights, name=name)
