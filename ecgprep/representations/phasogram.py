"""Phasograms: the phase of the continuous wavelet transform."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator

from ecgprep.representations.base import RowFormat, require
from ecgprep.representations.blocks import Block, Drawer
from ecgprep.representations.taps import bilinear, dense
from ecgprep.representations.wavelets import Wavelet, WaveletPicture, wavelet_parameters

Array = Any

FLOOR = 0.01
"""Share of the plane's largest magnitude below which phase is noise."""

NO_PHASE = 0.5
"""What is drawn there, and for a phase of 0."""


class Phasogram(WaveletPicture):
    """Phase of the continuous wavelet transform, as (phi + pi) / 2 pi in [0, 1].

    The transform, its presets and its sampling are those of the scalogram. Phase is circular, so the real and
    the imaginary part are resized to the picture's rows and the angle is taken afterwards. Where the
    magnitude is below 1 % of the plane's largest the value is 0.5.
    """

    kind_name: ClassVar[str] = "phasogram"

    @model_validator(mode="after")
    def _has_phase(self) -> Self:
        require(
            Wavelet(self.wavelet).is_complex,
            f"phasogram: the real wavelet {self.wavelet!r} has no phase. Take cmor1.5-1.0",
        )
        return self

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters from the preset."""
        parameters, _ = wavelet_parameters(cls.kind_name, given, row)
        return [cls(**parameters)]

    @property
    def value_range(self) -> tuple[float, float]:
        """One turn."""
        return 0.0, 1.0

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        real, imaginary = self.coefficients(block)
        return lambda few: self._planes(block, (real[few], imaginary[few]), gain, offset)

    def _planes(self, block: Block, parts: tuple[Array, Array], gain: float, offset: float) -> Array:
        xp = block.xp
        real, imaginary = (block.resized(part, self.height, ("phasogram", i)) for i, part in enumerate(parts))
        power = xp.multiply(real, real, out=block.empty("planes", real.shape))
        power += xp.multiply(imaginary, imaginary, out=block.empty("tap", real.shape))
        noise = power <= FLOOR**2 * xp.max(power, axis=(-2, -1), keepdims=True)
        phase = xp.atan2(imaginary, real, out=power)
        phase *= gain / (2 * np.pi)
        phase += 0.5 * gain + offset
        phase[noise] = NO_PHASE * gain + offset
        return phase

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with PyWavelets."""
        del valid_n  # padding is drawn as it is
        if np.ptp(signal_mv) == 0:
            return np.full(self.shape, NO_PHASE)
        resize = dense(bilinear(self.n_freqs, self.height), self.n_freqs)
        resized = resize @ self.reference_coefficients(signal_mv)
        noise = np.abs(resized) <= FLOOR * np.abs(resized).max()
        return np.where(noise, NO_PHASE, np.angle(resized) / (2 * np.pi) + 0.5)
