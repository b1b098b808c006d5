from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgtrain.samplers import WINDOW_BLOCKS, batch_places, count_batches, epoch_order, step_seed

row_sets = st.sets(st.integers(0, 5000), min_size=1, max_size=400).map(lambda rows: np.array(sorted(rows)))


@given(rows=row_sets, block_rows=st.integers(1, 300), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_an_epoch_holds_each_row_once_and_depends_on_seed_and_epoch_alone(rows, block_rows, seed, epoch):
    order = epoch_order(rows // block_rows, seed, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(rows)))
    np.testing.assert_array_equal(order, epoch_order(rows // block_rows, seed, epoch))


def test_epochs_and_seeds_differ():
    rows = np.arange(200)
    orders = [epoch_order(rows // 16, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_a_window_of_the_order_lies_in_few_blocks():
    block_rows = 8
    order = epoch_order(np.arange(100 * block_rows) // block_rows, seed=0, epoch=0)
    for window in np.split(order, range(WINDOW_BLOCKS * block_rows, len(order), WINDOW_BLOCKS * block_rows)):
        assert len(np.unique(window // block_rows)) <= WINDOW_BLOCKS


def test_neighbours_in_the_order_are_strangers():
    order = epoch_order(np.arange(4096) // 64, seed=0, epoch=0)
    same_block = np.mean(order[1:] // 64 == order[:-1] // 64)
    assert same_block < 2 / WINDOW_BLOCKS


@given(n=st.integers(1, 300), batch_size=st.integers(1, 64), world_size=st.integers(1, 4))
def test_batches_and_their_slices_part_an_epoch(n, batch_size, world_size):
    order = epoch_order(np.arange(n) // 16, seed=0, epoch=0)
    batches = [batch_places(order, k, batch_size) for k in range(count_batches(n, batch_size))]
    np.testing.assert_array_equal(np.concatenate(batches), order)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    slices = [batch_places(order, 0, batch_size, rank, world_size) for rank in range(world_size)]
    np.testing.assert_array_equal(np.sort(np.concatenate(slices)), np.sort(batches[0]))


@pytest.mark.parametrize("other", [(1, 2, 3), (0, 3, 3), (0, 2, 4)])
def test_each_step_has_its_own_seed(other):
    assert step_seed(0, 2, 3) == step_seed(0, 2, 3)
    assert step_seed(0, 2, 3) != step_seed(*other)
