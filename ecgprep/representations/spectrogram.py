"""Spectrograms: the magnitude of the short-time Fourier transform."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ecgprep.representations.base import Representation, RowFormat, require
from ecgprep.representations.blocks import Block, Drawer
from ecgprep.representations.taps import bilinear, dense

Array = Any

FLOOR_DB = -80.0
SMALLEST = 1e-5
"""Magnitude below which there is only rounding."""


class Spectrogram(Representation):
    """Magnitude of the short-time Fourier transform with a Hann window.

    Frames are centred on every `hop`-th sample, the first floor(n / hop) of them are kept, and the ends are
    reflected without repeating the end sample. The zero-frequency bin is dropped, bins 1 to `height` are
    kept, the highest at the top, and the frames are resized bilinearly to `width`, antialiased where there
    are more of them. A row of zeros gives the floor. Padding is drawn as it is, 0 mV.

    Parameters
    ----------
    height, width : int
        Size of the picture; ``size`` in a request sets both.
    window, hop, nfft : int
        Length of a frame, step between frames, and length of the zero-padded transform, in samples. Defaults
        for records are 64, 4 and 448 at 100 Hz, for beats 48, 1 and 256 at 360 Hz, and the same durations at
        other rates, so that the frequencies stay; `nfft` is at least twice the height.
    scale : {"db", "linear"}
        20 log10(max(|X|, 1e-5) / peak of the plane), floored at -80; or |X| itself in mV, stored as float16.
    """

    kind_name: ClassVar[str] = "spectrogram"
    shorthands: ClassVar[dict[str, tuple[str, ...]]] = {"size": ()}

    height: int = Field(ge=2, le=4096, description="rows of the picture")
    width: int = Field(ge=2, le=4096, description="columns of the picture")
    window: int = Field(ge=4, le=16384, description="samples in a frame")
    hop: int = Field(ge=1, description="samples between frames")
    nfft: int = Field(ge=4, le=65536, description="length of the transform")
    scale: Literal["db", "linear"] = Field("db", description="decibels below the peak, or magnitude")

    @model_validator(mode="after")
    def _bins_exist(self) -> Self:
        require(self.window % 2 == 0, f"spectrogram: window {self.window} must be even, to have a centre")
        require(self.window <= self.nfft, f"spectrogram: nfft {self.nfft} is shorter than window {self.window}")
        require(
            self.height <= self.nfft // 2,
            f"spectrogram: height {self.height} needs an nfft of at least {2 * self.height}, not {self.nfft}",
        )
        return self

    @classmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters; frames keep their duration at every sampling frequency."""
        given = dict(given)
        size = given.pop("size", row.size)
        window_s, hop_s, nfft_s = (0.64, 0.04, 4.48) if row.kind == "record" else (48 / 360, 1 / 360, 256 / 360)
        parameters: dict[str, Any] = {"height": size, "width": size, **given}
        parameters.setdefault("window", 2 * max(2, round(window_s * row.fs_hz / 2)))
        parameters.setdefault("hop", max(1, round(hop_s * row.fs_hz)))
        if str(parameters["height"]).isdecimal():
            shortest = max(2 * int(parameters["height"]), int(parameters["window"]))
            parameters.setdefault("nfft", max(shortest, round(nfft_s * row.fs_hz)))
        spectrogram = cls(**parameters)
        require(
            max(spectrogram.window // 2 + 1, spectrogram.hop) <= row.n_samples,
            f"spectrogram: window {spectrogram.window} and hop {spectrogram.hop} are too long for rows of "
            f"{row.n_samples} samples",
        )
        return [spectrogram]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Decibels below the peak; magnitude has no bound."""
        return (FLOOR_DB, 0.0) if self.scale == "db" else None

    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare a block."""
        even, odd = _even_and_odd_frames(block, self.window, self.hop)
        return lambda few: self._planes(block, even[few], odd[few], gain, offset)

    def _planes(self, block: Block, even: Array, odd: Array, gain: float, offset: float) -> Array:
        xp, shape = block.xp, (*even.shape[:2], self.height)
        cos, sin = _windowed_waves(self.window, self.nfft, self.height, xp, block.device)
        power = xp.matmul(even, cos, out=block.empty("power", shape))
        power *= power
        imaginary = xp.matmul(odd, sin, out=block.empty("tap", shape))
        imaginary *= imaginary
        power += imaginary
        # Magnitude has no range: its gain is 1 and its offset 0.
        planes = _decibels(xp, power, gain, offset) if self.scale == "db" else xp.sqrt(power, out=power)
        return xp.matrix_transpose(block.resized(planes, self.width, "planes"))

    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane with SciPy."""
        del valid_n  # padding is drawn as it is
        from scipy.signal import get_window, stft

        hann = get_window("hann", self.window)
        n_frames = len(signal_mv) // self.hop
        _, _, transform = stft(
            signal_mv,
            window=hann,
            nperseg=self.window,
            noverlap=self.window - self.hop,
            nfft=self.nfft,
            boundary="even",
        )
        magnitude = np.abs(transform[self.height : 0 : -1, :n_frames]) * hann.sum()
        if self.scale == "db":
            level = 20 * np.log10(np.maximum(magnitude, SMALLEST) / max(magnitude.max(), SMALLEST))
            magnitude = np.maximum(level, FLOOR_DB) if magnitude.max() > SMALLEST else np.full_like(level, FLOOR_DB)
        resized: np.ndarray = magnitude @ dense(bilinear(n_frames, self.width), n_frames).T
        return resized


def _even_and_odd_frames(block: Block, window: int, hop: int) -> tuple[Array, Array]:
    """Return each frame's even and odd part about its centre, shape (n_planes, n_frames, window / 2).

    A cosine about the centre hears the even part alone and a sine the odd part, which halves the products;
    the magnitude does not depend on where the phase is counted from.
    """
    xp, n = block.xp, block.n_samples
    before, after = (
        xp.reshape(xp.take(block.signal_mv, places, axis=-1), (-1, n // hop, window // 2))
        for places in _places_about_centres(n, window, hop, xp, block.device)
    )
    return before + after, after - before


@lru_cache(maxsize=8)
def _places_about_centres(n: int, window: int, hop: int, xp: Any, where: Any) -> tuple[Array, Array]:
    """Return the samples 0 ... window / 2 - 1 before and after each centre, reflected at the ends."""
    centre, away = np.arange(n // hop)[:, None] * hop, np.arange(window // 2)
    before, after = np.abs(centre - away), centre + away
    after = np.where(after >= n, 2 * (n - 1) - after, after)
    return xp.asarray(before.reshape(-1), device=where), xp.asarray(after.reshape(-1), device=where)


@lru_cache(maxsize=8)
def _windowed_waves(window: int, nfft: int, height: int, xp: Any, where: Any) -> tuple[Array, Array]:
    """Return cosines and sines of bins `height` to 1 under half a window, shape (window / 2, height)."""
    away = np.arange(window // 2)[:, None]
    hann = 0.5 + 0.5 * np.cos(2 * np.pi * away / window)
    hann[0] /= 2  # the centre is in the even part twice
    angle = 2 * np.pi * away * np.arange(height, 0, -1) / nfft
    cos, sin = (xp.asarray((wave(angle) * hann).astype(np.float32), device=where) for wave in (np.cos, np.sin))
    return cos, sin


def _decibels(xp: Any, power: Array, gain: float, offset: float) -> Array:
    """Return the level below each plane's peak, floored; the floor where there is no signal; then scaled."""
    peak = xp.max(power, axis=(-2, -1), keepdims=True)
    silent = xp.astype(peak <= SMALLEST**2, xp.float32)
    power = xp.maximum(power, xp.clip(peak * 10 ** (FLOOR_DB / 10), SMALLEST**2, None), out=power)
    power /= xp.clip(peak, SMALLEST**2, None)
    level = xp.log(power, out=power)  # the natural logarithm is the one that processors compute in vectors
    level *= 10 / math.log(10) * gain
    level += silent * (FLOOR_DB * gain) + offset
    return level
