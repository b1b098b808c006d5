"""Shares of a database are nested, exact and everywhere the same."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import UserError
from store.patients import choose_patients, is_chosen, patient_shares


@pytest.mark.parametrize(("percent", "n"), [(1, 110), (10, 1100), (20, 2200), (100, 11_000), (0.001, 1)])
def test_shares_of_icentia11k_hold_the_published_numbers(percent: float, n: int) -> None:
    assert len(choose_patients(f"{percent:g}%", 11_000)) == n


@given(n=st.integers(1, 300), percents=st.lists(st.integers(1, 100), min_size=2, max_size=5))
def test_smaller_shares_are_parts_of_larger_ones(n: int, percents: list[int]) -> None:
    chosen = [set(choose_patients(f"{percent}%", n).tolist()) for percent in sorted(percents)]
    assert all(less <= more for less, more in pairwise(chosen))
    assert [len(part) for part in chosen] == [math.ceil(n * percent / 100 - 1e-9) for percent in sorted(percents)]


def test_a_range_goes_by_number_with_both_ends() -> None:
    assert choose_patients("3-5", 10).tolist() == [3, 4, 5]
    assert choose_patients("8-20", 10).tolist() == [8, 9]


def test_rows_are_chosen_as_their_patients_are() -> None:
    number = np.array([4, 4, 0, 9])
    rows = is_chosen("30%", number, patient_shares(10)[number])
    assert rows.tolist() == [n in choose_patients("30%", 10) for n in number.tolist()]


def test_the_order_never_changes() -> None:
    assert choose_patients("1%", 1000).tolist() == [178, 245, 286, 342, 374, 610, 636, 671, 719, 886]


@pytest.mark.parametrize("which", ["10", "0%", "101%", "-5", "5-3", "a-b", "ten%", "", "nan%"])
def test_what_is_neither_share_nor_range_is_refused(which: str) -> None:
    with pytest.raises(UserError, match="a share such as 10%"):
        choose_patients(which, 10)
