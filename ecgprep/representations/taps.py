"""Resampling of an axis as a weighted sum of taps: block means, and bilinear resizing.

Output k is the sum over l of ``weight[l, k] * x[index[l, k]]``. Every picture resamples with few taps (two
when it enlarges, the block's length when it shrinks), so this is quicker than a product with a dense matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from scipy.sparse import csr_array

Array = Any


@dataclass(frozen=True, eq=False)
class Taps:
    """Weights and places of the samples that make each output.

    Parameters
    ----------
    index : ndarray of int64, shape (n_taps, n_out)
        Which input each tap reads; an unused tap reads input 0 with weight 0.
    weight : ndarray of float32, shape (n_taps, n_out)
        What it is multiplied with.
    """

    index: np.ndarray
    weight: np.ndarray

    def on(self, xp: Any, where: Any) -> list[tuple[Array, Array]]:
        """Return index and weight of each tap as arrays of a library on a device."""
        return _on_device(self, xp, where)


def block_limits(n_in: int, n_out: int) -> np.ndarray:
    """Return the n_out + 1 limits floor(k * n_in / n_out) of near-equal blocks."""
    return np.arange(n_out + 1) * n_in // n_out


@lru_cache(maxsize=32)
def block_numbers(n_in: int, n_out: int) -> np.ndarray:
    """Return the number of each sample's block, of near-equal blocks; shape (n_in,)."""
    return np.repeat(np.arange(n_out), np.diff(block_limits(n_in, n_out)))


@lru_cache(maxsize=32)
def block_sums(n_in: int, n_out: int) -> Taps:
    """Return the taps that add up near-equal blocks.

    Parameters
    ----------
    n_in, n_out : int
        Lengths before and after, ``n_in >= n_out``.

    Returns
    -------
    Taps
        With weights 0 and 1.
    """
    limits = block_limits(n_in, n_out)
    place = limits[:-1] + np.arange(np.diff(limits).max())[:, None]
    inside = place < limits[1:]
    return Taps(np.where(inside, place, 0), inside.astype(np.float32))


@lru_cache(maxsize=32)
def bilinear(n_in: int, n_out: int) -> Taps:
    """Return the taps of linear resizing with half-sample centres, antialiased when it shrinks.

    Parameters
    ----------
    n_in, n_out : int
        Lengths before and after.

    Returns
    -------
    Taps
        Weights that sum to 1 for every output.
    """
    support = max(n_in / n_out, 1.0)
    centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    first = np.floor(centre - support).astype(np.int64) + 1
    place = first + np.arange(int(np.ceil(2 * support)))[:, None]
    triangle = np.maximum(1 - np.abs(place - centre) / support, 0)
    if support > 1:
        triangle[(place < 0) | (place >= n_in)] = 0
    weight = triangle / triangle.sum(axis=0)
    return Taps(np.clip(place, 0, n_in - 1), weight.astype(np.float32))


@lru_cache(maxsize=64)
def _on_device(taps: Taps, xp: Any, where: Any) -> list[tuple[Array, Array]]:
    return [
        (xp.asarray(index, device=where), xp.asarray(weight, device=where))
        for index, weight in zip(taps.index, taps.weight, strict=True)
    ]


def resample_time(x: Array, taps: Taps) -> Array:
    """Resample the last axis.

    Parameters
    ----------
    x : array of float32, shape (..., n_in)
        Signals or pictures.
    taps : Taps
        From `block_sums` or `bilinear`.

    Returns
    -------
    array of float32, shape (..., n_out)
    """
    xp = array_namespace(x)
    (index, weight), *more = taps.on(xp, device(x))
    total = xp.take(x, index, axis=-1)
    total *= weight
    for index, weight in more:
        total += xp.take(x, index, axis=-1) * weight
    return total


def dense(taps: Taps, n_in: int) -> np.ndarray:
    """Return the same resampling as a float64 matrix of shape (n_out, n_in), for the reference engine."""
    matrix = np.zeros((taps.index.shape[1], n_in))
    for index, weight in zip(taps.index, taps.weight, strict=True):
        matrix[np.arange(len(index)), index] += weight
    return matrix


@lru_cache(maxsize=32)
def sparse(taps: Taps, n_in: int) -> csr_array:
    """Return the same resampling as a sparse float32 matrix of shape (n_out, n_in)."""
    return csr_array(dense(taps, n_in), dtype=np.float32)
