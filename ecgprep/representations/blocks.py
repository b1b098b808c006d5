"""A block of rows that is small enough for the cache, and what several representations share about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from ecgprep.representations.taps import bilinear, block_limits, block_sums, resample_time, sparse

Array = Any
Shared = TypeVar("Shared")
Scratch = dict[Hashable, Array]

COUNTS_PER_MV = 1000
"""The store keeps int16 counts of 1 µV."""

PIXELS_IN_CORE_CACHE = 3 * 224 * 224
"""Pixels that a processor works on together: a core's own cache holds them."""


Drawer = Callable[[slice], Array]
"""Draws some planes of a block: float32, shape (n_planes, height, width), which lasts until the next call."""


class Block:
    """Signals of some planes (a row's leads), as the representations of one call see them.

    Parameters
    ----------
    signal_mv : array of float32, shape (n_planes, n_samples)
        Voltage in mV.
    valid_n : array of int64, shape (n_planes,), optional
        How many samples from the first on are signal and not padding; absent where all are.
    scratch : dict, optional
        Memory that blocks of one call hand on: fresh pages cost more than the arithmetic on them.
    """

    def __init__(self, signal_mv: Array, valid_n: Array | None = None, scratch: Scratch | None = None) -> None:
        self.xp = array_namespace(signal_mv)
        self.device = device(signal_mv)
        self.signal_mv = signal_mv
        self.valid_n = valid_n
        self._scratch = {} if scratch is None else scratch
        self._shared: dict[Hashable, Any] = {}

    @property
    def n_samples(self) -> int:
        """Length of the time axis."""
        return int(self.signal_mv.shape[-1])

    @cached_property
    def counts(self) -> Array:
        """The signals as the store's whole counts: ties and constant rows are exact in them."""
        return self.xp.astype(self.xp.round(self.signal_mv * COUNTS_PER_MV), self.xp.int32)

    @cached_property
    def valid(self) -> Array | None:
        """Which samples are signal, shape (n_planes, n_samples); None where all are."""
        if self.valid_n is None:
            return None
        return self.xp.arange(self.n_samples, device=self.device) < self.valid_n[:, None]

    @cached_property
    def n_valid(self) -> Array:
        """How many samples are signal, int64, shape (n_planes, 1), or (1, 1) where all are."""
        if self.valid_n is None:
            return self.xp.asarray([[self.n_samples]], device=self.device)
        return self.valid_n[:, None]

    def n_valid_in_blocks(self, size: int) -> Array:
        """Return how many samples of each of `size` blocks are signal, as `n_valid` does, shape (..., size)."""
        limits = self.xp.asarray(block_limits(self.n_samples, size), device=self.device)
        upto = self.xp.minimum(limits, self.n_valid)
        return upto[:, 1:] - upto[:, :-1]

    def means(self, size: int) -> tuple[Array, Array | None]:
        """Return the mean count of each of `size` blocks of samples, and which hold a valid sample (None: all do)."""
        xp = self.xp
        n_valid = self.n_valid_in_blocks(size)
        # Whole numbers add up exactly, so that a constant row stays constant.
        counts = xp.astype(self.counts, xp.float32)
        if self.valid is not None:
            counts *= self.valid
        sums = resample_time(counts, block_sums(self.n_samples, size))
        means = sums / xp.astype(at_least_one(xp, n_valid), xp.float32)
        return means, None if self.valid_n is None else n_valid > 0

    def empty(self, key: Hashable, shape: tuple[int, ...]) -> Array:
        """Return a float32 array of any content, in the memory that the block before had under this key."""
        flat = self._scratch.get(key)
        size = math.prod(shape)
        if flat is None or flat.shape[0] < size:
            flat = self._scratch[key] = self.xp.empty(size, dtype=self.xp.float32, device=self.device)
        return self.xp.reshape(flat[:size], shape)

    def neighbours(self, x: Array, places: Sequence[int]) -> list[tuple[Array, Array]]:
        """Return the values at some places of the last axis in ascending order, each with the one behind it.

        Parameters
        ----------
        x : array of float32, shape (n_planes, n)
            Values in any order.
        places : sequence of int
            Ascending, no two alike, below n − 1.
        """
        if not is_numpy_array(x):
            ordered = self.xp.sort(x, axis=-1, stable=False)
            return [(ordered[:, place], ordered[:, place + 1]) for place in places]
        rest = self.empty("ordered", x.shape)
        rest[...] = x
        found, start = [], 0
        for place in places:  # each selection leaves what is above for the next: half the time of sorting
            n_below = place + 1 - start
            rest.partition(n_below, axis=-1)
            found.append((rest[:, :n_below].max(axis=-1), rest[:, n_below].copy()))
            rest, start = rest[:, n_below:], place + 1
        return found

    def resized(self, planes: Array, height: int, key: Hashable) -> Array:
        """Return planes with their rows resized bilinearly, in the memory of this key.

        Parameters
        ----------
        planes : array of float32, shape (n_planes, n_in, width)
            Pictures.
        height : int
            Rows wanted.
        key : hashable
            Of the result's memory.

        Returns
        -------
        array of float32, shape (n_planes, height, width)
        """
        n_planes, n_in, width = planes.shape
        if n_in == height:
            return planes
        resized = self.empty(key, (n_planes, height, width))
        if is_numpy_array(planes):
            matrix = sparse(bilinear(n_in, height), n_in)
            for plane, whole in zip(planes, resized, strict=True):
                whole[...] = matrix @ plane  # SciPy adds up all taps of a row while it is in the cache
            return resized
        resized[...] = 0.0
        for index, weight in bilinear(n_in, height).on(self.xp, self.device):
            resized += self.xp.take(planes, index, axis=-2) * weight[:, None]
        return resized

    def product(self, rows: Array, columns: Array) -> Drawer:
        """Return what multiplies pictures: they take a hundred times the memory of their factors.

        Parameters
        ----------
        rows : array of float32, shape (n_planes, n_factors, height)
            Left factors, transposed.
        columns : array of float32, shape (n_planes, n_factors, width)
            Right factors.

        Returns
        -------
        callable
            Draws planes.
        """
        xp, shape = self.xp, (rows.shape[-1], columns.shape[-1])

        def draw(few: slice) -> Array:
            left, right = xp.matrix_transpose(rows[few]), columns[few]
            return xp.matmul(left, right, out=self.empty("planes", (right.shape[0], *shape)))

        return draw

    def shared(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """Return what was made under this key before, or make it now."""
        if key not in self._shared:
            self._shared[key] = make()
        result: Shared = self._shared[key]
        return result


def few_planes(planes: Array) -> Iterator[slice]:
    """Yield the planes that are worked on together where the whole would pass through memory again and again.

    Parameters
    ----------
    planes : array, shape (n_planes, height, width)
        On a GPU all of them.
    """
    n_planes, height, width = planes.shape
    step = n_planes if is_on_gpu(planes) else max(1, PIXELS_IN_CORE_CACHE // (height * width))
    for first in range(0, n_planes, step):
        yield slice(first, first + step)


def is_on_gpu(array: Array) -> bool:
    """Tell whether an array lies in memory that is no processor's."""
    return bool(is_torch_array(array) and device(array).type != "cpu")


def share_of_range(xp: Any, series: Array, valid: Array | None) -> Array:
    """Return where between its lowest and highest value each value of a series lies.

    Parameters
    ----------
    xp : namespace
        The arrays' library.
    series : array of float32, shape (n_planes, n)
        Values.
    valid : array of bool, shape (n_planes, n), optional
        Which of them count; absent where all do.

    Returns
    -------
    array of float32, shape (n_planes, n)
        From 0 to 1; 0.5 in a constant series.
    """
    inner_low = series if valid is None else xp.where(valid, series, float("inf"))
    inner_high = series if valid is None else xp.where(valid, series, -float("inf"))
    low = xp.min(inner_low, axis=-1, keepdims=True)
    span = xp.max(inner_high, axis=-1, keepdims=True) - low
    varies = span > 0
    share = (series - xp.where(varies, low, 0.0)) / xp.where(varies, span, 1.0)
    return xp.clip(xp.where(varies, share, 0.5), 0, 1)


def at_least_one(xp: Any, n: Array) -> Array:
    """Return numbers to divide by: 1 in place of 0."""
    return xp.maximum(n, xp.ones_like(n))


def count_cells(cells: Array, n_cells: int) -> Array:
    """Return how often each plane has each cell.

    Parameters
    ----------
    cells : array of int64, shape (n_planes, n)
        Numbers of cells, from 0.
    n_cells : int
        How many cells there are.

    Returns
    -------
    array of int64, shape (n_planes, n_cells)
    """
    if not is_numpy_array(cells):  # `bincount` would have a GPU wait for the largest number
        zeros = cells.new_zeros((cells.shape[0], n_cells))
        return zeros.scatter_add_(1, cells, cells.new_ones(1).expand_as(cells))
    first_cell = np.arange(len(cells))[:, None] * n_cells
    return np.bincount((cells + first_cell).reshape(-1), minlength=len(cells) * n_cells).reshape(-1, n_cells)
