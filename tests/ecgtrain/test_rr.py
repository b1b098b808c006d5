from __future__ import annotations

import numpy as np

from ecgtrain.rr import FEATURES, names_of, rr_features

PREV = np.array([np.nan, 0.8, 0.8, 0.4, 1.2, np.nan, 1.0])
NEXT = np.array([0.8, 0.8, 0.4, 1.2, np.nan, 1.0, np.nan])
RECORD = np.array(["a"] * 5 + ["b"] * 2)
COLUMNS = {"rr_prev_s": PREV, "rr_next_s": NEXT, "record": RECORD}


def feature(name: str) -> np.ndarray:
    return np.exp(rr_features(COLUMNS)[:, FEATURES.index(name)].astype(np.float64))


def test_intervals_and_neighbours_stay_within_their_record():
    np.testing.assert_allclose(feature("log_rr_prev"), PREV, rtol=1e-6)
    np.testing.assert_allclose(
        feature("log_rr_before_prev"), [np.nan, np.nan, 0.8, 0.8, 0.4, np.nan, np.nan], rtol=1e-6
    )
    np.testing.assert_allclose(feature("log_rr_after_next"), [0.8, 0.4, 1.2, np.nan, np.nan, np.nan, np.nan], rtol=1e-6)


def test_what_lies_beyond_a_beat_that_was_left_out_is_unknown():
    kept = [0, 1, 3, 4, 5, 6]
    features = np.exp(rr_features({name: values[kept] for name, values in COLUMNS.items()}).astype(np.float64))
    before, after = (features[:, FEATURES.index(name)] for name in ("log_rr_before_prev", "log_rr_after_next"))
    np.testing.assert_allclose(before, [np.nan, np.nan, np.nan, 0.4, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(after, [0.8, np.nan, np.nan, np.nan, np.nan, np.nan], rtol=1e-6)


def test_ratios_compare_with_the_beats_before():
    mean = [np.nan, np.nan, 0.8 / 0.8, 0.4 / 0.8, 1.2 / (2.0 / 3), np.nan, np.nan]
    np.testing.assert_allclose(feature("log_rr_prev_to_mean_of_last_10"), mean, rtol=1e-6)
    median = [np.nan, np.nan, 0.8 / 0.8, 0.4 / 0.8, 1.2 / 0.8, np.nan, np.nan]
    np.testing.assert_allclose(feature("log_rr_prev_to_median_so_far"), median, rtol=1e-6)
    np.testing.assert_allclose(feature("log_rr_next_to_prev")[1:4], [1.0, 0.5, 3.0], rtol=1e-6)


def test_what_looks_back_does_not_see_what_follows():
    changed = {**COLUMNS, "rr_prev_s": np.where(np.arange(7) == 4, 9.0, PREV)}
    causal = [FEATURES.index(name) for name in FEATURES if "next" not in name]
    np.testing.assert_array_equal(rr_features(changed)[:4, causal], rr_features(COLUMNS)[:4, causal])


def test_features_of_the_past_alone_are_those_that_do_not_look_ahead():
    assert names_of("rr_past") == tuple(name for name in FEATURES if "next" not in name)
    assert names_of("rr") == names_of("auto") == FEATURES


def test_only_the_last_ten_intervals_count():
    prev = np.r_[np.nan, np.full(5, 9.0), np.full(11, 0.8)]
    columns = {"rr_prev_s": prev, "rr_next_s": prev, "record": np.full(17, "a")}
    ratio = rr_features(columns)[-1, FEATURES.index("log_rr_prev_to_mean_of_last_10")]
    np.testing.assert_allclose(ratio, 0.0, atol=1e-6)
