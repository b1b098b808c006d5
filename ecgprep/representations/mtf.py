"""Markov transition fields: how likely a signal's level at one time is to be followed by that at another."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from ecgprep.representations.base import Representation, RowFormat
from ecgprep.representations.blocks import COUNTS_PER_MV, Block, Drawer, at_least_one, count_cells
from ecgprep.representations.taps import bilinear, block_limits, block_numbers, block_sums, dense, resample_time

Array = Any


class MarkovTransitionField(Representation):
    """Markov transition field.

    Each sample of the full-length row is put into one of `n_bins` bins; W[a, b] is the share of the samples
    in bin a that are followed by one in bin b; the field is W[bin of i, bin of j], averaged over blocks with
    the limits floor(k n / size). The average over a pair of blocks equals h_i' W h_j with h the share of each
    bin in a block, so no n x n array is made. Where `size` exceeds the row's length the field is resized
    bilinearly, which for a product is a resize of its factors.

    Inner bin edges are the linearly interpolated percentiles of the row; a sample equal to an edge belongs to
    the lower bin. All is computed on the store's whole counts, where ties are exact. In a row that is padded
    the edges, the transitions and a block's average come from the valid samples, and the picture is 0 where
    there is none.

    Parameters
    ----------
    size : int
        Side of the picture.
    n_bins : int
        Number of bins.
    strategy : {"quantile", "uniform"}
        Bins of equal population, or of equal width.

    References
    ----------
    Wang Z, Oates T. Encoding time series as images for visual inspection and classification using tiled
    convolutional neural networks. AAAI Workshop, 2015.
    """

    kind_name: ClassVar[str] = "mtf"
    prepared: ClassVar[float] = 0.25  # factors alone

    size: int = Field(ge=2, le=4096, description="side of the picture")
    n_bins: int = Field(8, ge=2, le=64, description="number of bins")
    strategy: Literal["quantile", "uniform"] = Field("quantile", description="bins of equal population or width")

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters."""
        parameters: dict[str, Any] = {"size": row.size, **given}
        return [cls(**parameters)]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def value_range(self) -> tuple[float, float]:
        """Probabilities."""
        return 0.0, 1.0

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        xp = block.xp
        bins = self._bins(block)
        followed = _transition_probabilities(xp, bins, self.n_bins) * gain
        share = self._bin_shares(block, bins)
        one = xp.ones_like(share[:, :1])
        rows = xp.concat((xp.matmul(xp.matrix_transpose(followed), share), one * offset), axis=1)
        columns = xp.concat((share, one), axis=1)
        return block.product(rows, columns)

    def _bins(self, block: Block) -> Array:
        """Return each sample's bin, int64, shape (n_planes, n_samples); `n_bins` for padding."""
        xp = block.xp
        above = block.counts[:, None, :] > self._edges(block)[:, :, None]
        bins = xp.astype(xp.sum(above, axis=1, dtype=xp.uint8), xp.int64)
        return bins if block.valid is None else xp.where(block.valid, bins, self.n_bins)

    def _edges(self, block: Block) -> Array:
        """Return the inner edges rounded down to whole counts: none lies between an edge and its floor."""
        xp = block.xp
        last_count = xp.iinfo(xp.int32).max
        counts = block.counts if block.valid is None else xp.where(block.valid, block.counts, last_count)
        ordered = xp.sort(counts, axis=-1, stable=False)
        plane = xp.arange(ordered.shape[0], device=block.device)[:, None]
        k = xp.arange(1, self.n_bins, device=block.device)
        last = at_least_one(xp, block.n_valid) - 1
        if self.strategy == "uniform":
            low, high = ordered[:, :1], ordered[plane, last]
            edges = low + (high - low) * k // self.n_bins
        else:
            place = last * k
            below = place // self.n_bins
            low, high = ordered[plane, below], ordered[plane, xp.minimum(below + 1, last)]
            edges = low + (high - low) * (place - below * self.n_bins) // self.n_bins
        return xp.astype(edges, counts.dtype)  # or each count would be widened to be compared

    def _bin_shares(self, block: Block, bins: Array) -> Array:
        """Return the share of each bin in each block of samples, float32, shape (n_planes, n_bins, size)."""
        xp, n = block.xp, block.n_samples
        if self.size > n:
            is_in = xp.astype(bins[:, None, :] == xp.arange(self.n_bins, device=block.device)[:, None], xp.float32)
            return resample_time(is_in, bilinear(n, self.size))
        cells = bins * self.size + xp.asarray(block_numbers(n, self.size), device=block.device)
        n_cells = self.n_bins + 1
        held = xp.reshape(count_cells(cells, n_cells * self.size), (-1, n_cells, self.size))
        n_valid = at_least_one(xp, block.n_valid_in_blocks(self.size))
        return xp.astype(held[:, :-1], xp.float32) / xp.astype(n_valid, xp.float32)[:, None, :]

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with pyts; blocks and resizing that it does not offer are added around it."""
        counts = np.rint(signal_mv * COUNTS_PER_MV)
        n = len(counts)
        if valid_n == n >= self.size:
            return self._pyts(counts, self.size)
        field = np.zeros((n, n))
        if valid_n > 1:
            field[:valid_n, :valid_n] = self._pyts(counts[:valid_n], valid_n)
        if self.size > n:
            resize = dense(bilinear(n, self.size), n)
        else:
            resize = dense(block_sums(n, self.size), n)
            resize /= np.maximum(np.diff(np.minimum(block_limits(n, self.size), valid_n)), 1)[:, None]
        resized: np.ndarray = resize @ field @ resize.T
        return resized

    def _pyts(self, counts: np.ndarray, size: int) -> np.ndarray:
        from pyts.image import MarkovTransitionField as Pyts

        if np.ptp(counts) == 0:  # one bin, always followed by itself; pyts refuses some of these
            return np.ones((size, size))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Some quantiles are equal", UserWarning)
            drawn = Pyts(image_size=size, n_bins=self.n_bins, strategy=self.strategy).transform(counts[None])
        return np.asarray(drawn[0])


def _transition_probabilities(xp: Any, bins: Array, n_bins: int) -> Array:
    """Return W, shape (n_planes, n_bins, n_bins); the row of a bin that nothing follows is 0."""
    n_cells = n_bins + 1
    held = count_cells(bins[:, :-1] * n_cells + bins[:, 1:], n_cells**2)
    pairs = xp.astype(xp.reshape(held, (-1, n_cells, n_cells))[:, :-1, :-1], xp.float32)
    return pairs / at_least_one(xp, xp.sum(pairs, axis=-1, keepdims=True))
