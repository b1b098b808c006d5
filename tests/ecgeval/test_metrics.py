"""Metrics against scikit-learn over one table of inputs, and what must hold for any input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from ecgeval import metrics

RNG = np.random.default_rng(5)


def one_hot(labels, n_classes):
    return np.eye(n_classes, dtype=bool)[labels]


def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


INPUTS = {
    "single": (one_hot(RNG.choice(4, 200, p=(0.7, 0.15, 0.1, 0.05)), 4), softmax(RNG.normal(size=(200, 4)))),
    "multi": (RNG.random((150, 5)) < 0.3, RNG.random((150, 5))),
    "ties": (RNG.random((120, 3)) < 0.4, RNG.integers(0, 4, (120, 3)) / 4),
    "all tied": (RNG.random((30, 2)) < 0.5, np.full((30, 2), 0.5)),
    "absent class": (one_hot(RNG.choice(2, 60), 3), softmax(RNG.normal(size=(60, 3)))),
    "one row": (np.array([[True, False]]), np.array([[0.75, 0.25]])),
    "all one class": (one_hot(np.zeros(20, int), 3), softmax(RNG.normal(size=(20, 3)))),
    "never predicted": (RNG.random((40, 2)) < 0.5, RNG.random((40, 2)) / 3),
}


@pytest.fixture(params=INPUTS, ids=str)
def data(request):
    return INPUTS[request.param]


def test_counts_are_those_of_scikit_learn(data):
    y, p = data
    predicted = metrics.predict_labels(p)
    counts = metrics.count(y, predicted)
    for i in range(y.shape[1]):
        tn, fp, fn, tp = sk.confusion_matrix(y[:, i], predicted[:, i], labels=[False, True]).ravel()
        assert (counts.tp[i], counts.fp[i], counts.fn[i], counts.tn[i]) == (tp, fp, fn, tn)


def test_rates_are_those_of_scikit_learn(data):
    y, p = data
    predicted = metrics.predict_labels(p)
    ours = metrics.rates(metrics.count(y, predicted))
    for i in range(y.shape[1]):
        pair = (y[:, i], predicted[:, i])
        expected = {
            "sensitivity": sk.recall_score(*pair, zero_division=np.nan),
            "specificity": sk.recall_score(~pair[0], ~pair[1], zero_division=np.nan),
            "precision": sk.precision_score(*pair, zero_division=np.nan),
            "npv": sk.precision_score(~pair[0], ~pair[1], zero_division=np.nan),
            "f1": sk.f1_score(*pair, zero_division=np.nan),
            "accuracy": sk.accuracy_score(*pair),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(ours[name][i], value, err_msg=name)


def _reference_auroc(y, score):
    return sk.roc_auc_score(y, score) if 0 < y.sum() < len(y) else np.nan


def _reference_average_precision(y, score):
    return sk.average_precision_score(y, score) if y.any() else np.nan


def test_ranking_is_that_of_scikit_learn(data):
    y, p = data
    ours = metrics.ranking(y, p)
    np.testing.assert_allclose(ours["auroc"], [_reference_auroc(*c) for c in zip(y.T, p.T, strict=True)])
    expected = [_reference_average_precision(*c) for c in zip(y.T, p.T, strict=True)]
    np.testing.assert_allclose(ours["auprc"], expected)


def test_curves_are_those_of_scikit_learn(data):
    y, p = data
    for truth, score in zip(y.T, p.T, strict=True):
        if not 0 < truth.sum() < len(truth):
            continue
        fpr, tpr, _ = sk.roc_curve(truth, score, drop_intermediate=False)
        np.testing.assert_allclose(metrics.roc_curve(truth, score), (fpr, tpr))
        precision, recall, _ = sk.precision_recall_curve(truth, score)
        np.testing.assert_allclose(metrics.pr_curve(truth, score), (recall[-2::-1], precision[-2::-1]))


def test_averages_are_those_of_scikit_learn():
    y, p = INPUTS["multi"]
    predicted = metrics.predict_labels(p)
    counts, every = metrics.count(y, predicted), np.ones(5, dtype=bool)
    f1 = metrics.rates(counts)["f1"]
    np.testing.assert_allclose(metrics.macro(f1, every), sk.f1_score(y, predicted, average="macro"))
    np.testing.assert_allclose(metrics.micro(counts, every)["f1"], sk.f1_score(y, predicted, average="micro"))
    expected = sk.f1_score(y, predicted, average="weighted")
    np.testing.assert_allclose(metrics.weighted(f1, counts.support, every), expected)
    np.testing.assert_allclose(metrics.exact_match(y, predicted).mean(), sk.accuracy_score(y, predicted))


def test_confusion_matrix_is_that_of_scikit_learn():
    y, p = INPUTS["single"]
    predicted = metrics.predict_classes(p)
    expected = sk.confusion_matrix(y.argmax(1), predicted.argmax(1))
    np.testing.assert_array_equal(metrics.confusion_matrix(y, predicted), expected)


def test_twelve_rows_by_hand():
    y = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)[:, None]
    p = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.6, 0.7, 0.2, 0.2, 0.1, 0.1, 0.0])[:, None]
    counts = metrics.count(y, metrics.predict_labels(p, 0.5))
    assert [float(cell[0]) for cell in counts] == [3, 2, 2, 5]
    rates = {name: float(value[0]) for name, value in metrics.rates(counts).items()}
    assert rates == {
        "sensitivity": 3 / 5,
        "specificity": 5 / 7,
        "precision": 3 / 5,
        "npv": 5 / 7,
        "f1": 6 / 10,
        "accuracy": 8 / 12,
    }
    # of 35 pairs: 0.9 and 0.8 beat all 7; 0.7 beats 6 and ties 1; 0.4 and 0.3 beat 5 each
    assert metrics.auroc(y[:, 0], p[:, 0]) == pytest.approx((14 + 6.5 + 10) / 35)
    # precision at each distinct score that gains a positive: 1/1, 2/2, 3/4, 4/6, 5/7
    expected = (1 + 1 + 3 / 4 + 4 / 6 + 5 / 7) / 5
    assert metrics.average_precision(y[:, 0], p[:, 0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cells", "undefined"),
    [
        ((0, 2, 0, 5), {"sensitivity", "auroc", "auprc"}),
        ((0, 0, 0, 5), {"sensitivity", "precision", "f1", "auroc", "auprc"}),
        ((0, 0, 3, 5), {"precision"}),
        ((4, 0, 0, 0), {"specificity", "npv", "auroc"}),
        ((4, 3, 0, 0), {"npv"}),
        ((2, 1, 1, 2), set()),
    ],
    ids=["absent, predicted", "absent", "never predicted", "only class", "always predicted", "all defined"],
)
def test_what_is_undefined_is_nan_and_has_a_reason(cells, undefined):
    counts = metrics.Counts(*(np.array([float(cell)]) for cell in cells))
    rates = metrics.rates(counts)
    assert {name for name in rates if np.isnan(rates[name][0])} == undefined - set(metrics.RANKING)
    assert {name for name in metrics.METRICS if metrics.why_undefined(name, counts)[0]} == undefined


def test_a_mean_over_no_class_is_undefined():
    none = np.zeros(3, dtype=bool)
    assert np.isnan(metrics.macro(np.ones(3), none))
    assert np.isnan(metrics.weighted(np.ones(3), np.ones(3), none))


def test_an_absent_class_raises_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, p = INPUTS["absent class"]
        assert np.isnan(metrics.ranking(y, p)["auroc"][2])


labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)
scores = hnp.arrays(np.float64, st.integers(2, 50), elements=st.integers(0, 8).map(lambda i: i / 8))


@given(labels)
def test_micro_f1_of_a_single_label_task_is_its_accuracy(pairs):
    y, predicted = (one_hot(list(column), 4) for column in zip(*pairs, strict=True))
    micro = metrics.micro(metrics.count(y, predicted), np.ones(4, dtype=bool))["f1"]
    assert micro == pytest.approx(metrics.exact_match(y, predicted).mean())


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(score, random):
    y = np.array([random.random() < 0.4 for _ in score])
    order = list(range(len(score)))
    random.shuffle(order)
    for metric in (metrics.auroc, metrics.average_precision):
        np.testing.assert_allclose(metric(y, score), metric(y[order], score[order]))


@given(scores, st.randoms(use_true_random=False))
def test_turning_scores_round_turns_auroc_round(score, random):
    y = np.array([random.random() < 0.4 for _ in score])
    np.testing.assert_allclose(metrics.auroc(y, 1 - score), 1 - metrics.auroc(y, score))
