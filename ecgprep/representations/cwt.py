"""Scalograms: the magnitude of the continuous wavelet transform."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from ecgprep.representations.base import RowFormat
from ecgprep.representations.blocks import Block, Drawer
from ecgprep.representations.taps import bilinear, dense
from ecgprep.representations.wavelets import WaveletPicture, wavelet_parameters

Array = Any

FIXED_TOP = 2.0
"""Upper end of log(1 + |C|): of beats in mV, 99.9 % of the values lie below 1.65."""

PERCENTILES = (0.05, 0.95)
"""What a plane of log power is clipped to before it is spread over [0, 1]."""


class Scalogram(WaveletPicture):
    """Magnitude of the continuous wavelet transform, C(a, b) = a^(-1/2) sum of x(t) psi*((t - b) / a).

    Columns are the exact transform at the centres of equal cells of time, with both ends of the row
    reflected; rows are resized bilinearly, after the logarithm, from the transform's frequencies. High
    frequencies are at the top. Padding is drawn as it is, 0 mV. A constant row gives 0 everywhere.

    Parameters
    ----------
    value : {"log10_power", "log1p_magnitude"}
        ``log10_power``: log10(|C|² + 1e-10), clipped to the plane's 5th and 95th percentile and spread over
        [0, 1]. ``log1p_magnitude``: log(1 + |C|), clipped to [0, 2].

    Notes ----- The presets are ``cwt_ptbxl_log`` (default of records: cmor1.5-1.0, 128 frequencies, 0.5 to 40
    Hz, log10_power) and ``cwt_beat_log`` (default of beats: cmor1.5-1.0, 64 frequencies, 1 to 60 Hz,
    log1p_magnitude). At low sampling frequencies a preset's highest frequency is lowered to 0.48 of the
    sampling frequency.
    """

    kind_name: ClassVar[str] = "cwt"

    value: Literal["log10_power", "log1p_magnitude"] = Field(description="what is drawn of a coefficient")

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters from the preset."""
        parameters, preset = wavelet_parameters(cls.kind_name, given, row)
        return [cls(**{"value": preset.value, **parameters})]

    @property
    def value_range(self) -> tuple[float, float]:
        """Relative to the plane for power, fixed for magnitude."""
        return (0.0, 1.0) if self.value == "log10_power" else (0.0, FIXED_TOP)

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        real, imaginary = self.coefficients(block)
        return lambda few: self._planes(block, real[few], imaginary[few], gain, offset)

    def _planes(self, block: Block, real: Array, imaginary: Array, gain: float, offset: float) -> Array:
        xp = block.xp
        power = xp.multiply(real, real, out=block.empty("power", real.shape))
        power += xp.multiply(imaginary, imaginary, out=block.empty("planes", real.shape))
        if self.value == "log10_power":
            power += 1e-10
            # The place between two percentiles is the same for every base of the logarithm.
            planes = _spread_between_percentiles(block, xp.log(power, out=power), gain, offset)
        else:
            planes = xp.log1p(xp.sqrt(power, out=power), out=power)
            planes *= gain
            planes += offset
            planes = xp.clip(planes, offset, FIXED_TOP * gain + offset, out=planes)
        return block.resized(planes, self.height, "planes")

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with PyWavelets."""
        del valid_n  # padding is drawn as it is
        magnitude = np.abs(self.reference_coefficients(signal_mv))
        if np.ptp(signal_mv) == 0:
            plane = np.zeros_like(magnitude)
        elif self.value == "log10_power":
            power = np.log10(magnitude**2 + 1e-10)
            low, high = np.quantile(power, PERCENTILES)
            plane = (np.clip(power, low, high) - low) / (high - low)
        else:
            plane = np.clip(np.log1p(magnitude), 0, FIXED_TOP)
        resized: np.ndarray = dense(bilinear(self.n_freqs, self.height), self.n_freqs) @ plane
        return resized


def _spread_between_percentiles(block: Block, planes: Array, gain: float, offset: float) -> Array:
    """Overwrite planes with their place between their percentiles, clipped to [0, 1], 0 if flat; then scaled."""
    xp = block.xp
    low, high = (level[:, None, None] for level in _percentiles(block, xp.reshape(planes, (planes.shape[0], -1))))
    span = high - low
    planes -= low
    planes *= xp.where(span > 0, gain / xp.where(span > 0, span, 1.0), 0.0)
    planes += offset
    return xp.clip(planes, offset, gain + offset, out=planes)


def _percentiles(block: Block, values: Array) -> list[Array]:
    """Return the linearly interpolated `PERCENTILES` of each row of values, shape (n_planes,)."""
    exact = [share * (values.shape[-1] - 1) for share in PERCENTILES]
    pairs = block.neighbours(values, [int(place) for place in exact])
    return [low + (high - low) * (place - int(place)) for place, (low, high) in zip(exact, pairs, strict=True)]
