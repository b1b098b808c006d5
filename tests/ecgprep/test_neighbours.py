"""Pairs of neighbours give imbalanced-learn's own synthetic rows, whatever the block in which they are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE
from threadpoolctl import threadpool_limits

from ecgprep.neighbours import BLOCK_ROWS, NoHardNeighboursError, Pairs, draw_adasyn, draw_smote, find_neighbours

ORACLES: list[tuple[Callable[..., Pairs], Callable[..., Any]]] = [
    (draw_smote, lambda wanted, k, seed: SMOTE(sampling_strategy=wanted, k_neighbors=k, random_state=seed)),
    (draw_adasyn, lambda wanted, k, seed: ADASYN(sampling_strategy=wanted, n_neighbors=k, random_state=seed)),
]


def mixed(rows: np.ndarray, pairs: Pairs) -> np.ndarray:
    first, second = (rows[parent].astype(np.float64) for parent in pairs.parents.T)
    return first + pairs.weights[:, None] * (second - first)


@settings(max_examples=20, deadline=None)
@example(n_rows=[24, 31], n_neighbours=5, spread=300, seed=936)  # shares of halves, which ADASYN rounds
@given(
    n_rows=st.lists(st.integers(7, 60), min_size=2, max_size=4),
    n_neighbours=st.integers(1, 6),
    spread=st.sampled_from([3, 300, 30000]),  # counts; the first makes many equal rows
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.parametrize(("draw", "oracle"), ORACLES, ids=["smote", "adasyn"])
def test_rows_are_those_of_imbalanced_learn(
    draw: Callable[..., Pairs],
    oracle: Callable[..., Any],
    n_rows: list[int],
    n_neighbours: int,
    spread: int,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    classes = generator.permutation(np.repeat(np.arange(len(n_rows)), n_rows))
    rows = generator.integers(-spread, spread, (len(classes), 20)).astype(np.float64)
    most = max(n_rows) + 10
    try:
        expected, expected_classes = oracle(dict.fromkeys(range(len(n_rows)), most), n_neighbours, seed).fit_resample(
            rows, classes
        )
    except (RuntimeError, ValueError):  # ADASYN has nowhere to draw from, or rounds every share to nothing
        return
    n_new = {number: most - n for number, n in enumerate(n_rows)}
    pairs = draw(rows.astype(np.float32), classes, n_new, n_neighbours, seed)
    np.testing.assert_array_equal(mixed(rows, pairs), expected[len(rows) :])
    np.testing.assert_array_equal(pairs.classes, expected_classes[len(rows) :])
    assert (classes[pairs.parents] == pairs.classes[:, None]).all()


def test_adasyn_without_hard_neighbours_says_of_which_class() -> None:
    classes = np.repeat([0, 1], [40, 8])
    rows = np.random.default_rng(0).normal(0, 1, (48, 5)).astype(np.float32) + 1000 * classes[:, None]
    with pytest.raises(NoHardNeighboursError) as caught:
        draw_adasyn(rows.astype(np.float32), classes, {1: 32}, 5, 0)
    assert caught.value.number == 1


@pytest.mark.parametrize("n_rows", [1024, 1025, 2049, 2050, 4000])
@pytest.mark.parametrize(("draw", "oracle"), ORACLES, ids=["smote", "adasyn"])
def test_rows_at_one_distance_are_taken_in_imbalanced_learns_order(
    draw: Callable[..., Pairs], oracle: Callable[..., Any], n_rows: int
) -> None:
    """512 places for all rows, so ties are everywhere; on one thread, since on several it is not even its own equal."""
    generator = np.random.default_rng(n_rows)
    rows = np.zeros((n_rows + 300, 20))
    rows[:, :3] = generator.integers(-4, 4, (n_rows + 300, 3))
    classes = np.repeat([0, 1], [n_rows, 300])
    with threadpool_limits(limits=1):
        expected, _ = oracle({0: n_rows + 5000, 1: 2000}, 5, 42).fit_resample(rows, classes)
    pairs = draw(rows.astype(np.float32), classes, {0: 5000, 1: 1700}, 5, 42)
    np.testing.assert_array_equal(mixed(rows, pairs), expected[len(rows) :])


def test_progress_of_the_search_adds_up_to_its_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    told: list[int] = []
    find_neighbours(rows, rows, 5, told.append)
    assert sum(told) == 5000
    assert len(told) == 5000 // BLOCK_ROWS


def test_neighbours_are_the_nearest() -> None:
    rows = np.array([[0], [1], [3], [7], [20]], np.float32)
    assert find_neighbours(rows, rows[[0, 4]], 2, lambda n: None).tolist() == [[1, 2], [3, 2]]
