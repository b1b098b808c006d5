"""Gramian angular fields: the angle sums and differences between all pairs of samples."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from ecgprep.representations.base import Representation, RowFormat
from ecgprep.representations.blocks import COUNTS_PER_MV, Block, Drawer, share_of_range
from ecgprep.representations.taps import bilinear, block_limits, dense, resample_time

Array = Any


class GramianAngularField(Representation):
    """Gramian angular field.

    The series is reduced to `size` block means (limits floor(k n / size)), rescaled to [-1, 1] by its own
    minimum and maximum, and read as cosines of angles; the field is the cosine of their sums, or the sine of
    their differences. Both are rank-2 products, so no angle is computed. A constant series is rescaled to
    zeros. Where `size` exceeds the row's length the field of all samples is resized bilinearly, which for a
    product is a resize of its factors. In a row that is padded the minimum and maximum come from its valid
    part, a block's mean from the valid samples in it, and the picture is 0 where there is no valid sample.

    Parameters
    ----------
    size : int
        Side of the picture.
    method : {"summation", "difference"}
        GASF, cos(φi + φj), or GADF, sin(φi - φj). In a request ``both`` gives two arrays, ``gasf`` and
        ``gadf``.
    range_mv : float, optional
        Clip to ± this voltage and divide by it, instead of rescaling each row by its own range: keeps
        amplitude.

    References
    ----------
    Wang Z, Oates T. Encoding time series as images for visual inspection and classification using tiled
    convolutional neural networks. AAAI Workshop, 2015.
    """

    kind_name: ClassVar[str] = "gaf"
    prepared: ClassVar[float] = 0.25  # factors alone
    shorthands: ClassVar[dict[str, tuple[str, ...]]] = {"method": ("both",)}

    size: int = Field(ge=2, le=4096, description="side of the picture")
    method: Literal["summation", "difference"] = Field("summation", description="angle sums or differences")
    range_mv: float | None = Field(None, gt=0, description="fixed voltage range in place of the row's own")

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters; ``method=both`` gives two representations."""
        parameters: dict[str, Any] = {"size": row.size, **given}
        if given.get("method") != "both":
            return [cls(**parameters)]
        stem = "" if given["name"] == cls.kind_name else f"{given['name']}_"
        return [
            cls(**{**parameters, "name": f"{stem}{name}", "method": method})
            for name, method in (("gasf", "summation"), ("gadf", "difference"))
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def value_range(self) -> tuple[float, float]:
        """Cosines and sines."""
        return -1.0, 1.0

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        xp = block.xp
        cos, sin = block.shared(("gaf", self.size, self.range_mv), lambda: self._angles(block))
        left, right = (cos, -sin) if self.method == "summation" else (sin, -cos)
        one = xp.ones_like(cos)
        rows = xp.stack((left * gain, right * gain, one * offset), axis=1)
        columns = xp.stack((cos, sin, one), axis=1)
        return block.product(rows, columns)

    def _angles(self, block: Block) -> tuple[Array, Array]:
        """Return cosine and sine of each angle, each of shape (n_planes, size)."""
        xp = block.xp
        series, valid = block.means(min(self.size, block.n_samples))
        share = self._share(xp, series, valid)
        cos = 2 * share - 1
        sin = 2 * xp.sqrt(share * (1 - share))
        if valid is not None:
            cos, sin = cos * valid, sin * valid
        if self.size > block.n_samples:
            taps = bilinear(block.n_samples, self.size)
            cos, sin = resample_time(cos, taps), resample_time(sin, taps)
        return cos, sin

    def _share(self, xp: Any, series: Array, valid: Array | None) -> Array:
        """Return where in its range each value lies, from 0 to 1; the middle for a constant row."""
        if self.range_mv is not None:
            counts = self.range_mv * COUNTS_PER_MV
            return xp.clip(series / (2 * counts) + 0.5, 0, 1)
        return share_of_range(xp, series, valid)

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with pyts; blocks and resizing that it does not offer are added around it."""
        counts = np.rint(signal_mv * COUNTS_PER_MV)
        n = len(counts)
        if valid_n == n >= self.size:
            return self._pyts(counts, self.size)
        side = min(self.size, n)
        limits = np.minimum(block_limits(n, side), valid_n)
        n_blocks = int(np.count_nonzero(np.diff(limits)))
        means = np.array([counts[limits[k] : limits[k + 1]].mean() for k in range(n_blocks)])
        field = np.zeros((side, side))
        if n_blocks:
            field[:n_blocks, :n_blocks] = self._pyts(means, n_blocks)
        resize = dense(bilinear(side, self.size), side)
        resized: np.ndarray = resize @ field @ resize.T
        return resized

    def _pyts(self, series: np.ndarray, size: int) -> np.ndarray:
        from pyts.approximation import PiecewiseAggregateApproximation as Paa
        from pyts.image import GramianAngularField as Pyts

        reduced = Paa(window_size=None, output_size=size, overlapping=False).transform(series[None])
        if self.range_mv is not None:
            scaled = np.clip(reduced / (self.range_mv * COUNTS_PER_MV), -1, 1)
        elif np.ptp(reduced) == 0:
            scaled = np.zeros_like(reduced)
        else:
            return np.asarray(Pyts(image_size=size, method=self.method).transform(series[None])[0])
        return np.asarray(Pyts(image_size=size, sample_range=None, method=self.method).transform(scaled)[0])
