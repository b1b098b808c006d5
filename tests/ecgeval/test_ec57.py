"""EC57: matching against wfdb's comparator, and the counts of a matrix by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb.processing import compare_annotations

from ecgeval import ec57

FS = 360
# two letters a beat: reference, then the algorithm's; o is missed, O a detection without a beat
BEATS = "Nn Nn Nn Ns Nv Ss Sn Vv Vv Vf Fv Qv".split()
MATRIX = np.zeros((7, 7), dtype=int)
for truth, said in BEATS:
    MATRIX["NSVFQOX".index(truth), "nsvfqox".index(said)] += 1


def test_statistics_of_twelve_beats_by_hand():
    v, s = ec57.ventricular(MATRIX), ec57.supraventricular(MATRIX)
    assert (v.tp, v.fn, v.fp) == (2, 1, 1)  # Vv Vv; Vf; Nv, while Fv and Qv are not counted
    assert (v.sensitivity, v.ppv) == (2 / 3, 2 / 3)
    assert (s.tp, s.fn, s.fp) == (1, 1, 1)  # Ss; Sn; Ns
    assert v.tn == 6  # Nn ×3, Ns, Ss, Sn
    assert v.false_positive_rate == 1 / 7


def test_missed_and_extra_beats_count_against_both():
    matrix = MATRIX.copy()
    matrix["NSVFQOX".index("V"), "nsvfqox".index("o")] = 2
    matrix["NSVFQOX".index("O"), "nsvfqox".index("v")] = 3
    v = ec57.ventricular(matrix)
    assert (v.fn, v.fp) == (3, 4)
    sensitivity, ppv = ec57.detection(matrix)
    assert (sensitivity, ppv) == (12 / 14, 12 / 15)


def test_a_matrix_of_each_record():
    truth, said, record = np.array([0, 2, 2, 1]), np.array([0, 2, 0, 1]), np.array([0, 0, 1, 1])
    by_record = ec57.matrices_by_record(truth, said, record, 2)
    np.testing.assert_array_equal(by_record[0], ec57.beat_matrix([0, 2], [0, 2]))
    np.testing.assert_array_equal(by_record[1], ec57.beat_matrix([2, 1], [0, 1]))


def test_unmatched_beats_stand_in_their_row_and_column():
    match = ec57.match_beats([1.0, 2.0, 3.0], [1.02, 2.5])
    matrix = ec57.beat_matrix([0, 2, 2], [0, 1], match)
    assert matrix[0, 0] == 1
    assert matrix[2, 5] == 2
    assert matrix[5, 1] == 1
    assert matrix.sum() == 4


def _wfdb(reference, detected):
    window = round(ec57.MATCH_WINDOW_S * FS)
    found = compare_annotations(np.array(reference), np.array(detected), window)
    return found.tp, found.fp, found.fn


beats = st.lists(st.integers(60, 500), min_size=1, max_size=30).map(lambda gaps: np.cumsum(gaps).tolist())


@settings(max_examples=60, deadline=None)
@given(beats, st.data())
def test_matching_is_that_of_wfdb_for_a_detector_that_errs(reference, data):
    """Detections up to 100 ms off, some missing, some extra; RR intervals of 167 ms and more."""
    kept = [r for r in reference if data.draw(st.integers(0, 9))]
    moved = [r + data.draw(st.integers(-25, 25)) for r in kept]
    extra = data.draw(st.lists(st.integers(0, reference[-1] + 100), max_size=3))
    detected = sorted(set(moved + [e for e in extra if min(abs(e - r) for r in reference) > 54]))
    if not detected:
        return
    match = ec57.match_beats(np.array(reference) / FS, np.array(detected) / FS)
    tp = int((match >= 0).sum())
    assert (tp, len(detected) - tp, len(reference) - tp) == _wfdb(reference, detected)


def test_a_match_is_one_to_one_and_near_enough():
    match = ec57.match_beats([1.0, 1.2], [1.1])
    assert sorted(match.tolist()) == [-1, 0]
    assert ec57.match_beats([1.0], [1.151]).tolist() == [-1]
    assert ec57.match_beats([1.0], [1.149]).tolist() == [0]
    assert ec57.match_beats([], [1.0]).size == 0


@pytest.mark.parametrize("statistics", [ec57.ventricular, ec57.supraventricular])
def test_undefined_is_nan(statistics):
    found = statistics(np.zeros((7, 7)))
    assert np.isnan([found.sensitivity, found.ppv, found.false_positive_rate]).all()
