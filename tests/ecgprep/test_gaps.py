"""Gaps: short ones become a line and are marked, long ones are refused with their place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgprep.gaps import fill_gaps
from store.errors import RecordError


@given(st.integers(0, 480), st.integers(1, 20), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_line_keeps_its_gap_and_nothing_else_changes(start: int, length: int, value: float) -> None:
    line = np.linspace(1, 2, 500)[None].repeat(2, axis=0)
    broken = line.copy()
    broken[1, start : start + length] = value
    filled, is_filled = fill_gaps(broken, ["I", "II"], 100.0, 0.2)
    assert np.flatnonzero(is_filled[1]).tolist() == list(range(start, start + length))
    assert not is_filled[0].any()
    inside = start > 0 and start + length < 500
    assert filled[:, :start] == pytest.approx(line[:, :start])
    assert not inside or filled == pytest.approx(line)
    assert np.isfinite(filled).all()


def test_long_gaps_are_refused() -> None:
    broken = np.zeros((1, 1000))
    broken[0, 500:530] = np.nan
    broken[0, 10] = np.nan
    message = (
        r"lead V1: 31 samples have no value; a gap of 0\.30 s from 5\.00 s is too long to fill \(up to 0\.2 s are\)"
    )
    with pytest.raises(RecordError, match=message):
        fill_gaps(broken, ["V1"], 100.0, 0.2)
    with pytest.raises(RecordError, match="lead V1 has no values"):
        fill_gaps(broken * np.nan, ["V1"], 100.0, 100.0)
