"""Which rows make up which batch.

The order of an epoch's rows is a pure function of the seed and the epoch, and batch k of it one of (seed, epoch, k):
nothing has to be remembered to go on from any batch. Rows are shuffled so that a reader of whole blocks is never asked
for one row here and one there: the blocks are shuffled, then the rows within each window of `WINDOW_BLOCKS` blocks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WINDOW_BLOCKS = 8

Rows = NDArray[np.int64]


def epoch_order(block_of: Rows, seed: int, epoch: int) -> Rows:
    """Return the places of rows in the order of one epoch.

    Parameters
    ----------
    block_of : ndarray of int64, shape (n_rows,)
        The block of each row: rows of a block are read as one piece.
    seed, epoch : int
        What the order depends on.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Each place from 0 to n_rows − 1 once.
    """
    generator = np.random.default_rng([seed, epoch])
    blocks = generator.permutation(distinct(block_of))
    place = np.empty(int(block_of.max(initial=0)) + 1, dtype=np.int64)
    place[blocks] = np.arange(len(blocks))
    window = place[block_of] // WINDOW_BLOCKS
    return np.argsort(window + generator.random(len(block_of)))  # a window's rows are below the next one's


def distinct(numbers: Rows) -> Rows:
    """Return the numbers that occur, ascending: `np.unique`, which hashes them, takes three times as long."""
    ordered = np.sort(numbers)
    is_new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def count_batches(n_rows: int, batch_size: int) -> int:
    """Return how many batches of at most `batch_size` rows hold `n_rows`."""
    return math.ceil(n_rows / batch_size)


def batch_places(order: Rows, k: int, batch_size: int, rank: int = 0, world_size: int = 1) -> Rows:
    """Return the places of the rows of one process in global batch `k`.

    An epoch is cut into batches whose sizes differ by one at most, so that none is too small to normalise.

    Parameters
    ----------
    order : ndarray of int64
        From `epoch_order`.
    k : int
        Number of the batch.
    batch_size : int
        Rows of a batch over all processes, at most.
    rank, world_size : int
        Number of the process, and how many there are.
    """
    n_batches = count_batches(len(order), batch_size)
    start, stop = k * len(order) // n_batches, (k + 1) * len(order) // n_batches
    return order[start:stop][rank::world_size]


def step_seed(seed: int, epoch: int, k: int, rank: int = 0) -> int:
    """Return the seed of dropout and augmentation in step `k` of an epoch, for one process."""
    return int(np.random.SeedSequence([seed, epoch, k, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))
