"""Matching: one to one, the nearest first, within 150 ms, as wfdb counts it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from wfdb.processing import compare_annotations

from ecgprep.rpeaks_matching import match_r_peaks


def test_pairs_by_hand() -> None:
    found, reference = np.array([10, 100, 130, 400]), np.array([12, 115, 300, 450])
    assert match_r_peaks(found, reference, 100.0).tolist() == [[0, 0], [1, 1]]
    assert match_r_peaks(found, np.array([16, 129]), 100.0).tolist() == [[0, 0], [2, 1]]


def test_nothing_matches_nothing() -> None:
    none = np.array([], np.int64)
    assert match_r_peaks(none, np.array([5]), 100.0).shape == (0, 2)
    assert match_r_peaks(np.array([5]), none, 100.0).shape == (0, 2)


@given(st.lists(st.integers(40, 200), min_size=1, max_size=40), st.data())
def test_equal_to_wfdb_where_beats_are_apart(intervals: list[int], data: st.DataObject) -> None:
    """Beats that lie at least two windows apart can match in one way only."""
    reference = np.cumsum(intervals)
    moved = reference + data.draw(st.lists(st.integers(-19, 19), min_size=len(reference), max_size=len(reference)))
    found = moved[data.draw(st.lists(st.booleans(), min_size=len(reference), max_size=len(reference)))]
    pairs = match_r_peaks(found, reference, 100.0)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    if len(found):
        assert len(pairs) == compare_annotations(reference, found, 16).tp  # its window is open
