"""Recurrence plots: how far the signal at one time is from the signal at another."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from ecgprep.representations.base import Representation, RowFormat
from ecgprep.representations.blocks import COUNTS_PER_MV, Block, Drawer, share_of_range
from ecgprep.representations.taps import bilinear, block_limits, dense, resample_time

Array = Any


class RecurrencePlot(Representation):
    """Recurrence plot.

    The series is reduced to points, block means with the limits floor(k n / points), or resized bilinearly
    where the row has fewer samples. A state is `dimension` points, each `delay` after the one before, and
    there are `size` states. The plot is the Euclidean distance of each pair of states, divided by the largest
    that the range of the points allows: gain and offset change nothing, and a constant series is 0. With a
    `threshold` it is 1 where the distance is at most that, else 0, as Eckmann and others drew it. In a row
    that is padded the range comes from the valid part, and the picture is 0 for states outside it.

    Parameters
    ----------
    size : int
        Side of the picture.
    dimension : int
        Points of a state.
    delay : int
        Points from one of them to the next.
    threshold : float, optional
        Distance up to which two states recur, as a share of the largest.

    References
    ----------
    Eckmann J-P, Kamphorst SO, Ruelle D. Recurrence plots of dynamical systems. Europhysics Letters 4:973, 1987.
    """

    kind_name: ClassVar[str] = "rp"

    size: int = Field(ge=2, le=4096, description="side of the picture")
    dimension: int = Field(1, ge=1, le=16, description="points of a state")
    delay: int = Field(1, ge=1, le=256, description="points from one of a state to the next")
    threshold: float | None = Field(None, gt=0, lt=1, description="share of the largest distance that recurs")

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters."""
        parameters: dict[str, Any] = {"size": row.size, **given}
        return [cls(**parameters)]

    @property
    def n_points(self) -> int:
        """Points that the states are made of."""
        return self.size + (self.dimension - 1) * self.delay

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def value_range(self) -> tuple[float, float]:
        """Shares of the largest distance, or yes and no."""
        return 0.0, 1.0

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        points, whole = self._points(block)
        return lambda few: self._planes(block, points[few], None if whole is None else whole[few], gain, offset)

    def _planes(self, block: Block, points: Array, whole: Array | None, gain: float, offset: float) -> Array:
        xp = block.xp
        planes = block.empty("planes", (points.shape[0], *self.shape))
        planes[...] = 0.0
        for k in range(self.dimension):
            coordinate = points[:, k * self.delay :][:, : self.size]
            planes += (coordinate[:, :, None] - coordinate[:, None, :]) ** 2
        planes[...] = xp.sqrt(planes / self.dimension)
        if self.threshold is not None:
            planes[...] = xp.astype(planes <= self.threshold, xp.float32)
        if whole is not None:
            planes *= whole[:, :, None]
            planes *= whole[:, None, :]
        planes *= gain
        planes += offset
        return planes

    def _points(self, block: Block) -> tuple[Array, Array | None]:
        """Return the points, shape (n_planes, n_points), and which states lie in the valid part (None: all)."""
        xp, side = block.xp, min(self.n_points, block.n_samples)
        series, valid = block.means(side)
        points = share_of_range(xp, series, valid)
        if side < self.n_points:
            taps = bilinear(side, self.n_points)
            points = resample_time(points, taps)
            valid = None if valid is None else resample_time(xp.astype(valid, xp.float32), taps) > 1 - 1e-5
        if valid is None:
            return points, None
        last = (self.dimension - 1) * self.delay  # the valid part is in front, so the last point decides
        return points, xp.astype(valid[:, last:], xp.float32)

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with pyts; blocks and resizing are added around it."""
        from pyts.image import RecurrencePlot as Pyts

        counts = np.rint(signal_mv * COUNTS_PER_MV)
        side = min(self.n_points, len(counts))
        limits = np.minimum(block_limits(len(counts), side), valid_n)
        n_blocks = int(np.count_nonzero(np.diff(limits)))
        means = np.array([counts[limits[k] : limits[k + 1]].mean() for k in range(n_blocks)])
        resize = dense(bilinear(side, self.n_points), side)
        n_points = int(np.count_nonzero(resize[:, :n_blocks].sum(axis=1) > 1 - 1e-5))
        n_states = n_points - (self.n_points - self.size)
        plane = np.zeros(self.shape)
        if n_states > 0:
            largest = np.ptp(means) * self.dimension**0.5 or 1.0
            threshold = None if self.threshold is None else self.threshold * largest
            pyts = Pyts(dimension=self.dimension, time_delay=self.delay, threshold=threshold)
            points = resize[:n_points, :n_blocks] @ means
            drawn = (
                np.asarray(pyts.transform(points[None])[0])
                if n_points > 1
                else np.ones((1, 1)) * (threshold is not None)
            )
            plane[:n_states, :n_states] = drawn / (largest if threshold is None else 1)
        return plane
