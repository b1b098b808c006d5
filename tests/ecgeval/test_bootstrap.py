"""The bootstrap against a plain loop over the same resamples."""

from __future__ import annotations

import numpy as np
import pytest

from ecgeval import metrics
from ecgeval.statistics import bootstrap


def sample(rng, n=80, n_patients=9, ties=False):
    y = rng.random((n, 3)) < (0.5, 0.2, 0.05)
    p = rng.integers(0, 5, (n, 3)) / 5 if ties else rng.random((n, 3))
    return y, p, rng.permutation(np.arange(n) % n_patients)


def _rows_of(draw, patient):
    """The rows of a resample, each as often as its patient was drawn."""
    return np.concatenate([np.repeat(np.flatnonzero(patient == i), times) for i, times in enumerate(draw.astype(int))])


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_resamples_equal_a_plain_loop(ties, monkeypatch):
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 500)  # so that resamples come in several parts
    rng = np.random.default_rng(1)
    y, p, patient = sample(rng, ties=ties)
    draws = bootstrap.draw_patients(9, 40, rng)
    predicted = metrics.predict_labels(p)
    counts = bootstrap.resample_counts(draws, metrics.count_by_group(y, predicted, patient, 9))
    ranking = bootstrap.resample_ranking(draws, y, p, patient)
    exact = bootstrap.resample_mean(draws, metrics.exact_match(y, predicted), patient)
    for i, draw in enumerate(draws):
        rows = _rows_of(draw, patient)
        np.testing.assert_array_equal([cell[i] for cell in counts], metrics.count(y[rows], predicted[rows]))
        expected = metrics.ranking(y[rows], p[rows])
        np.testing.assert_allclose(ranking["auroc"][i], expected["auroc"])
        np.testing.assert_allclose(ranking["auprc"][i], expected["auprc"])
        assert exact[i] == pytest.approx(metrics.exact_match(y[rows], predicted[rows]).mean())


def test_a_class_of_one_patient_is_undefined_without_that_patient():
    y = np.array([[1], [0], [0], [0]], dtype=bool)
    p = np.array([[0.9], [0.1], [0.2], [0.3]])
    draws = np.array([[0, 4.0, 0, 0], [1, 1, 1, 1], [2, 2, 0, 0]])
    ranking = bootstrap.resample_ranking(draws, y, p, np.arange(4))
    np.testing.assert_array_equal(ranking["auroc"][:, 0], [np.nan, 1, 1])
    assert bootstrap.percentile_interval(ranking["auroc"][:, 0]) == (1, 1, 1)


def test_percentiles_leave_undefined_resamples_out():
    values = np.append(np.linspace(0, 1, 1001), [np.nan] * 7)
    low, high, undefined = bootstrap.percentile_interval(values)
    assert (low, high, undefined) == (pytest.approx(0.025), pytest.approx(0.975), 7)
    low, high, undefined = bootstrap.percentile_interval(np.full(5, np.nan))
    assert np.isnan([low, high]).all()
    assert undefined == 5


def test_each_resample_draws_as_many_patients_as_there_are():
    draws = bootstrap.draw_patients(22, 500, np.random.default_rng(0))
    assert (draws.sum(axis=1) == 22).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.2)


def test_intervals_of_patients_are_wider_than_those_of_rows():
    rng = np.random.default_rng(2)
    right = np.repeat(rng.random(20) < 0.7, 50)  # all rows of a patient are right, or none
    by_patient = bootstrap.resample_mean(bootstrap.draw_patients(20, 500, rng), right, np.arange(1000) // 50)
    by_row = bootstrap.resample_mean(bootstrap.draw_patients(1000, 500, rng), right, np.arange(1000))
    assert by_patient.std() > 3 * by_row.std()
