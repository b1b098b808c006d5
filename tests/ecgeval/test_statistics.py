"""DeLong on the published example, McNemar, Holm, paired differences and spreads, each worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ecgeval.statistics import bootstrap
from ecgeval.statistics.delong import components, delong
from ecgeval.statistics.paired import Difference, holm, mcnemar, paired_difference, verdict
from ecgeval.statistics.spread import spread

# 43 patients with ovarian cancer: albumin, total protein, K-G score, and whether surgery helped (DeLong et al. 1988,
# Biometrics 44:837-845, as given in the manual of SAS/STAT, "Comparing Receiver Operating Characteristic Curves")
OVARIAN = np.array(
    """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
    3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
    4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
    4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
    2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1""".split(),
    dtype=float,
).reshape(-1, 4)
ALBUMIN, PROTEIN, KG, HELPED = OVARIAN[:, 0], OVARIAN[:, 1], 10 - OVARIAN[:, 2], OVARIAN[:, 3]


@pytest.mark.parametrize(
    ("score", "area", "se"),
    [(ALBUMIN, 0.7366, 0.0927), (KG, 0.7258, 0.1028), (PROTEIN, 0.6478, 0.1000)],
    ids=["albumin", "K-G", "protein"],
)
def test_delong_gives_the_published_areas_and_errors(score, area, se):
    found = delong(HELPED, score, KG)
    assert found.auroc_a == pytest.approx(area, abs=5e-5)
    assert found.se_a == pytest.approx(se, abs=5e-5)


def test_delong_gives_the_published_differences():
    albumin, protein = delong(HELPED, KG, ALBUMIN), delong(HELPED, KG, PROTEIN)
    assert (albumin.difference, albumin.se) == (pytest.approx(0.0108, abs=5e-5), pytest.approx(0.0953, abs=5e-5))
    assert (protein.difference, protein.se) == (pytest.approx(-0.0780, abs=5e-5), pytest.approx(0.1046, abs=5e-5))


def test_delong_by_a_plain_loop():
    y = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
    a = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.6, 0.7, 0.2, 0.2, 0.1, 0.1, 0.0])
    psi = (a[y][:, None] > a[~y]) + 0.5 * (a[y][:, None] == a[~y])
    of_positives, of_negatives = components(y, a)
    np.testing.assert_allclose(of_positives, psi.mean(axis=1))
    np.testing.assert_allclose(of_negatives, psi.mean(axis=0))
    found = delong(y, a, a[::-1].copy())
    assert found.se_a == pytest.approx(math.sqrt(psi.mean(axis=1).var(ddof=1) / 5 + psi.mean(axis=0).var(ddof=1) / 7))
    assert found.auroc_b == pytest.approx(roc_auc_score(y, a[::-1]))


def test_delong_of_equal_rankings_is_no_difference():
    found = delong(HELPED, ALBUMIN, ALBUMIN * 3 + 1)
    assert (found.difference, found.z, found.p) == (0, 0, 1)


def test_delong_needs_two_rows_on_each_side():
    assert math.isnan(delong([1, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]).p)


def test_mcnemar_by_hand():
    a = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0], dtype=bool)
    b = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0], dtype=bool)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (5, 1)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(a, a).p == 1


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.02, np.nan, 0.6, 0.9]), [0.06, np.nan, 1, 1])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_raises_p_values_and_keeps_their_order(p):
    corrected = holm(p)
    assert (corrected >= np.array(p) - 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_a_paired_difference_by_hand():
    a, b = np.full(39, 0.5), 0.5 + np.linspace(-0.01, 0.18, 39)  # 2 below 0, 1 at 0, 36 above
    found = paired_difference(0.5, 0.6, a, b)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(b - a, (2.5, 97.5))))
    assert found.p == pytest.approx(2 * (b - a <= 0).sum() / 39)
    assert math.isnan(paired_difference(0.5, 0.6, np.empty(0), np.empty(0)).p)


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [
        (Difference(0.1, 0.05, 0.15, 0.002, 0), None, "better"),
        (Difference(-0.1, -0.15, -0.05, 0.002, 0), None, "worse"),
        (Difference(0.1, -0.01, 0.2, 0.06, 0), None, "not distinguishable"),
        (Difference(0.1, 0.001, 0.2, 0.04, 0), 0.2, "not distinguishable"),
        (Difference(0.1, math.nan, math.nan, math.nan, 0), None, "not distinguishable"),
    ],
    ids=["better", "worse", "covers zero", "lost to Holm", "no interval"],
)
def test_the_verdict_needs_interval_and_corrected_p(difference, p, expected):
    assert verdict(difference, p) == expected


def test_spread_by_hand():
    found = spread([0.7, 0.8, np.nan, 0.9])
    assert found == pytest.approx((0.8, 0.1, 0.7, 0.9, 3))
    assert str(found) == "0.800 ± 0.100 (n = 3)"
    assert str(spread([0.5])) == "0.500 (n = 1)"
    assert str(spread([np.nan])) == "–"


def test_many_distinct_scores_are_merged_with_no_visible_error(monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.random((6000, 1)) < 0.4
    p = np.clip(0.3 * y + 0.7 * rng.random((6000, 1)), 0, 1)
    patient = rng.integers(0, 40, 6000)
    draws = bootstrap.draw_patients(40, 30, rng)
    exact = bootstrap.resample_ranking(draws, y, p, patient)
    monkeypatch.setattr(bootstrap, "MAX_LEVELS", 1000)
    merged = bootstrap.resample_ranking(draws, y, p, patient)
    np.testing.assert_allclose(merged["auroc"], exact["auroc"], atol=2e-4)
    np.testing.assert_allclose(merged["auprc"], exact["auprc"], atol=1e-3)


def test_draws_do_not_depend_on_the_size_of_the_parts(monkeypatch):
    whole = np.concatenate(list(bootstrap.draws_in_parts(7, 20, seed=3)))
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 21)
    parts = list(bootstrap.draws_in_parts(7, 20, seed=3))
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_benchmark_resamples_hold_every_class():
    y = np.zeros((30, 3), dtype=bool)
    y[:, 0], y[0, 1], y[5:9, 2] = True, True, True
    draws = bootstrap.draw_records_with_every_class(y, 50, np.random.default_rng(0))
    assert ((draws @ y) > 0).all()
    assert (draws.sum(axis=1) == 30).all()
