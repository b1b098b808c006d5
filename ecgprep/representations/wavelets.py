"""The continuous wavelet transform at the centres of a picture's columns, as a few real matrix products.

Both ends of a row are reflected (half-sample symmetry), so the extended row is even with period 2n: after a
shift by half a sample its spectrum R is real, and so is the spectrum of a Morlet wavelet. At the centre of
column k of W, t_k = (k + 1/2) n / W - 1/2, the transform is then

    C(t_k) = sum over m > 0 of R_m H_m [ cos(pi m (k + 1/2) / W) + i sin(pi m (k + 1/2) / W) ]

with H the response of the scale; it is the sum of x(t) psi*((t - t_k) / a) over the samples t, so the images
of the row's spectrum above half the sampling frequency count as far as a scale hears them. Cosine and sine
repeat in m with period 2W up to sign, so the terms are folded into j = 0 ... W before the products with
those cosines and sines, and the columns are exact for any n and W. Even j are symmetric about the picture's
middle and odd j antisymmetric, which halves the products. The row's mean is taken out first: a wavelet has
none, but a Morlet wavelet as it is used has a little.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from ecgprep.representations.base import Representation, RowFormat, require
from ecgprep.representations.blocks import Block
from store.errors import UnknownNameError

Array = Any

NEGLIGIBLE = 1e-8
"""Responses below this share of a scale's largest are left out; single precision has 6e-8."""

N_IMAGES = 4
"""Half sampling frequencies up to which the images of a sampled row's spectrum are heard."""

SCALES_PER_BAND = 16
"""Scales that are transformed together over the frequencies that any of them responds to."""


@dataclass(frozen=True)
class Wavelet:
    """A wavelet whose Fourier transform is real.

    Parameters
    ----------
    name : str
        As PyWavelets spells it: ``cmorB-C`` (complex Morlet of bandwidth B and centre frequency C) or
        ``morl``.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name != "morl" and self._cmor is None:
            raise UnknownNameError("wavelet", self.name, ["cmor1.5-1.0", "cmor2.0-1.0", "morl"])
        if self._cmor:
            bandwidth, centre = self._cmor
            require(
                bandwidth * centre**2 >= 1,
                f"wavelet {self.name!r} hears the mean: B C² of cmorB-C must be at least 1",
            )

    @cached_property
    def _cmor(self) -> tuple[float, float] | None:
        found = re.fullmatch(r"cmor(\d+\.?\d*)-(\d+\.?\d*)", self.name)
        return (float(found[1]), float(found[2])) if found else None

    @property
    def is_complex(self) -> bool:
        """Whether it tells phase from amplitude."""
        return self._cmor is not None

    @property
    def centre(self) -> float:
        """Centre frequency at scale 1, in cycles per sample, as PyWavelets counts it."""
        return self._cmor[1] if self._cmor else 0.8125

    def spectrum(self, frequency: np.ndarray) -> np.ndarray:
        """Return the Fourier transform at scale 1 at frequencies above 0, in cycles per sample."""
        if self._cmor:
            bandwidth, centre = self._cmor
            height, exponent = 1.0, np.pi**2 * bandwidth * (frequency - centre) ** 2
        else:
            height, exponent = np.sqrt(np.pi / 2), (2 * np.pi * frequency - 5) ** 2 / 2
        bump: np.ndarray = height * np.exp(-exponent)
        return bump


@dataclass(frozen=True)
class WaveletTransform:
    """The transform that a scalogram and a phasogram share.

    Parameters
    ----------
    wavelet : Wavelet
        The wavelet.
    n_freqs : int
        Number of frequencies, spaced evenly in their logarithm.
    f_min_hz, f_max_hz : float
        Lowest and highest frequency.
    fs_hz : float
        Sampling frequency of the rows.
    width : int
        Number of columns.
    """

    wavelet: Wavelet
    n_freqs: int
    f_min_hz: float
    f_max_hz: float
    fs_hz: float
    width: int

    @property
    def frequencies_hz(self) -> np.ndarray:
        """Frequencies from high to low: the rows of a picture from the top."""
        return np.geomspace(self.f_max_hz, self.f_min_hz, self.n_freqs)

    @property
    def scales(self) -> np.ndarray:
        """Scales in samples."""
        return self.wavelet.centre * self.fs_hz / self.frequencies_hz

    def responses(self, frequency: np.ndarray) -> np.ndarray:
        """Return the Fourier transform of a^(-1/2) psi(t / a) at frequencies above 0, in cycles per sample.

        A complex wavelet hears no negative frequency; a real one hears both alike, which is counted here.
        """
        scale = self.scales[:, None]
        n_sides = 1 if self.wavelet.is_complex else 2
        response: np.ndarray = n_sides * np.sqrt(scale) * self.wavelet.spectrum(scale * frequency)
        return response

    def coefficients(self, block: Block) -> tuple[Array, Array]:
        """Return real and imaginary part of the coefficients.

        Parameters
        ----------
        block : Block
            Signals of n_planes planes in mV.

        Returns
        -------
        real, imaginary : array of float32, shape (n_planes, n_freqs, width)
            In mV times the square root of a sample, as PyWavelets scales them.
        """
        xp = block.xp
        spectrum = _even_spectrum(block)
        shape = (spectrum.shape[0], self.n_freqs, self.width)
        real, imaginary = (block.empty((self, part), shape) for part in ("real", "imaginary"))
        for band in _bands(self, block.n_samples, xp, block.device):
            (even_cos, even_sin), (odd_cos, odd_sin) = (half.product(xp, spectrum) for half in band.halves)
            _mirror(xp, even_cos, odd_cos, real[:, band.rows])
            _mirror(xp, odd_sin, even_sin, imaginary[:, band.rows])
        if not self.wavelet.is_complex:
            imaginary[...] = 0
        return real, imaginary


def _mirror(xp: Any, symmetric: Array, antisymmetric: Array, out: Array) -> None:
    """Put the sum of both into the left half of the columns and the difference, mirrored, into the right."""
    half = symmetric.shape[-1]
    n_right = out.shape[-1] - half
    xp.add(symmetric, antisymmetric, out=out[..., :half])
    symmetric -= antisymmetric
    out[..., half:] = xp.flip(symmetric[..., :n_right], axis=-1)


def _even_spectrum(block: Block) -> Array:
    """Return R_m for m = 0 ... n - 1 of the reflected rows, divided by 2n: their cosine transform."""
    xp, n = block.xp, block.n_samples
    # A constant row becomes exactly zero; what else is left of its mean is in R_0, which no scale reads.
    signal = block.signal_mv - block.signal_mv[:, :1]
    turned = xp.fft.rfft(xp.concat((signal, xp.flip(signal, axis=-1)), axis=-1))[:, :n]
    cos, sin = _half_sample_shift(n, xp, block.device)
    return xp.real(turned) * cos + xp.imag(turned) * sin


@lru_cache(maxsize=8)
def _half_sample_shift(n: int, xp: Any, where: Any) -> tuple[Array, Array]:
    angle = np.pi * np.arange(n) / (2 * n)
    cos, sin = (np.float32(turn(angle) / (2 * n)) for turn in (np.cos, np.sin))
    return xp.asarray(cos, device=where), xp.asarray(sin, device=where)


@dataclass(frozen=True, eq=False)
class _Half:
    """The even or the odd j of a band.

    Parameters
    ----------
    places : array of int64, shape (n_folds * n_j,)
        Which m of the spectrum is folded onto each j.
    gain : list of array of float32, shape (n_scales, n_j)
        Response at each fold from an even one on, with the sign that sines take; cosines of odd folds take
        the other.
    cos, sin : array of float32, shape (n_j, ceil(width / 2))
        Cosines and sines of the left half of the columns.
    """

    places: Array
    gain: list[Array]
    cos: Array
    sin: Array

    def product(self, xp: Any, spectrum: Array) -> tuple[Array, Array]:
        """Return the cosine and the sine part, each of shape (n_planes, n_scales, ceil(width / 2))."""
        n_scales, n_j = self.gain[0].shape
        folds = xp.reshape(xp.take(spectrum, self.places, axis=-1), (-1, len(self.gain), 1, n_j))
        forward = self._sum_every_second(folds, 0)
        if len(self.gain) == 1:
            cos_fold = sin_fold = forward
        else:
            backward = self._sum_every_second(folds, 1)
            cos_fold, sin_fold = forward - backward, forward + backward
        cos, sin = (
            xp.reshape(xp.matmul(xp.reshape(fold, (-1, n_j)), wave), (-1, n_scales, wave.shape[-1]))
            for fold, wave in ((cos_fold, self.cos), (sin_fold, self.sin))
        )
        return cos, sin

    def _sum_every_second(self, folds: Array, first: int) -> Array:
        total = folds[:, first] * self.gain[first]
        for fold in range(first + 2, len(self.gain), 2):
            total += folds[:, fold] * self.gain[fold]
        return total


@dataclass(frozen=True, eq=False)
class _Band:
    """Neighbouring scales and the frequencies that any of them responds to."""

    rows: slice
    halves: tuple[_Half, _Half]


@lru_cache(maxsize=8)
def _bands(transform: WaveletTransform, n: int, xp: Any, where: Any) -> list[_Band]:
    response = transform.responses(np.arange(N_IMAGES * n) / (2 * n))
    response[:, ::n] = 0  # the mean, its images, and the empty Nyquist bin
    bands = []
    for first in range(0, transform.n_freqs, SCALES_PER_BAND):
        rows = slice(first, min(first + SCALES_PER_BAND, transform.n_freqs))
        peak = response[rows].max(axis=1, keepdims=True)
        heard = np.flatnonzero((response[rows] > NEGLIGIBLE * peak).any(axis=0))
        heard = np.union1d(heard, (1, 2))  # so that neither parity is empty
        even, odd = (_half(parity, heard, response[rows], n, transform.width, xp, where) for parity in (0, 1))
        bands.append(_Band(rows, (even, odd)))
    return bands


def _half(
    parity: int,
    heard: np.ndarray,
    response: np.ndarray,
    n: int,
    width: int,
    xp: Any,
    where: Any,
) -> _Half:
    """Fold the frequencies of a band onto the j of one parity."""
    fold, within = np.divmod(heard, width)
    # Odd folds run backwards: m = 2W r - j. A whole turn of m by 2W changes the sign of cosine and sine.
    j_heard = np.where(fold % 2, width - within, within)
    j = np.unique(j_heard[j_heard % 2 == parity])
    folds = np.arange(fold.min() // 2 * 2, fold.max() + 1)[:, None]
    m = np.where(folds % 2, (folds + 1) * width - j, folds * width + j)
    # j = 0 and j = W border on two folds; the one that holds m counts it.
    held = (m // width == folds) & (m < response.shape[1])
    m = np.where(held, m, 0)
    place, image_sign = _place_in_spectrum(m, n)
    sign = np.where(folds // 2 % 2, -1, 1) * held * image_sign
    gain = np.moveaxis(response[:, m] * sign, 0, 1)
    angle = np.pi * j[:, None] * (np.arange((width + 1) // 2) + 0.5) / width
    *gains, cos, sin = (
        xp.asarray(np.ascontiguousarray(table, dtype=np.float32), device=where)
        for table in (*gain, np.cos(angle), np.sin(angle))
    )
    return _Half(xp.asarray(place.reshape(-1), device=where), gains, cos, sin)


def _place_in_spectrum(m: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where among 0 ... n - 1 the spectrum of the reflected row holds R_m, and with which sign."""
    turn, place = np.divmod(m, 2 * n)
    mirrored = place >= n
    sign = np.where((turn % 2 == 1) != mirrored, -1, 1)
    return np.where(mirrored, (2 * n - place) % n, place), sign


@dataclass(frozen=True)
class Preset:
    """Named parameters of a transform.

    Parameters
    ----------
    wavelet : str
        Wavelet.
    n_freqs : int
        Number of frequencies.
    f_min_hz, f_max_hz : float
        Lowest and highest frequency.
    value : str
        What a scalogram draws.
    """

    wavelet: str
    n_freqs: int
    f_min_hz: float
    f_max_hz: float
    value: str


PRESETS = {
    "cwt_ptbxl_log": Preset("cmor1.5-1.0", 128, 0.5, 40.0, "log10_power"),
    "cwt_beat_log": Preset("cmor1.5-1.0", 64, 1.0, 60.0, "log1p_magnitude"),
}


def wavelet_parameters(kind_name: str, given: dict[str, str], row: RowFormat) -> tuple[dict[str, Any], Preset]:
    """Complete the parameters of a wavelet picture.

    Parameters
    ----------
    kind_name : str
        Who asks, for the message.
    given : dict of str to str
        Parameters as they were written; ``preset`` and ``size`` stand for several.
    row : RowFormat
        What is drawn; beats and records have a preset each.

    Returns
    -------
    parameters : dict
        Without the preset's ``value``, which a scalogram alone has.
    preset : Preset
        The one that was named, or the default.

    Raises
    ------
    UnknownNameError
        Where no preset has that name.
    """
    given = dict(given)
    name = given.pop("preset", "cwt_beat_log" if row.kind == "beat" else "cwt_ptbxl_log")
    if name not in PRESETS:
        raise UnknownNameError(f"preset of {kind_name}", name, PRESETS)
    preset = PRESETS[name]
    size = given.pop("size", row.size)
    defaults = {
        "height": size,
        "width": size,
        "wavelet": preset.wavelet,
        "n_freqs": preset.n_freqs,
        "f_min_hz": preset.f_min_hz,
        "f_max_hz": min(preset.f_max_hz, 0.48 * row.fs_hz),
        "fs_hz": row.fs_hz,
    }
    return {**defaults, **given}, preset


class WaveletPicture(Representation):
    """What a scalogram and a phasogram have in common: the transform, and the picture's size.

    Parameters
    ----------
    height, width : int
        Size of the picture; ``size`` in a request sets both.
    wavelet : str
        ``cmorB-C`` or ``morl``.
    n_freqs : int
        Number of frequencies, spaced evenly in their logarithm, before the rows are resized to `height`.
    f_min_hz, f_max_hz : float
        Lowest and highest frequency; the highest is at the top.
    fs_hz : float
        Sampling frequency of the rows; follows from the store.
    """

    shorthands: ClassVar[dict[str, tuple[str, ...]]] = {"size": (), "preset": tuple(PRESETS)}

    height: int = Field(ge=2, le=4096, description="rows of the picture")
    width: int = Field(ge=2, le=4096, description="columns of the picture")
    wavelet: str = Field("cmor1.5-1.0", description="wavelet, as PyWavelets spells it")
    n_freqs: int = Field(ge=2, le=1024, description="frequencies before resizing")
    f_min_hz: float = Field(gt=0, description="lowest frequency")
    f_max_hz: float = Field(gt=0, description="highest frequency")
    fs_hz: float = Field(gt=0, description="sampling frequency of the rows")

    @model_validator(mode="after")
    def _fits_the_sampling_frequency(self) -> Self:
        Wavelet(self.wavelet)
        require(
            self.f_min_hz < self.f_max_hz,
            f"{self.kind_name}: f_min_hz {self.f_min_hz:g} must lie below f_max_hz {self.f_max_hz:g}",
        )
        require(
            self.f_max_hz < self.fs_hz / 2,
            f"{self.kind_name}: f_max_hz {self.f_max_hz:g} must lie below half the sampling frequency, "
            f"{self.fs_hz / 2:g} Hz",
        )
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def transform(self) -> WaveletTransform:
        """The transform that is drawn."""
        return WaveletTransform(
            Wavelet(self.wavelet), self.n_freqs, self.f_min_hz, self.f_max_hz, self.fs_hz, self.width
        )

    def coefficients(self, block: Block) -> tuple[Array, Array]:
        """Return real and imaginary part, which pictures of one transform share and must not change."""
        transform = self.transform
        return block.shared(transform, lambda: transform.coefficients(block))

    def reference_coefficients(self, signal_mv: np.ndarray) -> np.ndarray:
        """Return the coefficients of one row by PyWavelets, complex, shape (n_freqs, width).

        PyWavelets transforms the row between enough of its reflections at every sample; its columns are then
        interpolated by their Fourier series. It samples the wavelet's integral on [-8, 8] and takes
        differences, so a coefficient belongs to a time up to one sample before its place, which is put right
        here, and averages over one sample, which is left: at frequency f it is smaller by about sinc(f / fs).
        """
        import pywt

        transform, n = self.transform, len(signal_mv)
        row = signal_mv - signal_mv.mean()
        period = np.concatenate((row, row[::-1]))
        n_periods = 2 * int(np.ceil(8 * transform.scales.max() / len(period))) + 1
        dense, _ = pywt.cwt(np.tile(period, n_periods), transform.scales, self.wavelet, method="fft", precision=16)
        first = n_periods // 2 * len(period)
        spectrum = np.fft.fft(dense[:, first : first + len(period)], axis=-1) / len(period)
        frequency = np.fft.fftfreq(len(period))
        length = np.ceil(16 * transform.scales * 2**16 / (2**16 - 1))
        late = 1.5 - length + 8 * transform.scales + (length - 2) // 2
        spectrum *= np.exp(-2j * np.pi * late[:, None] * frequency)
        time = (np.arange(self.width) + 0.5) * n / self.width - 0.5
        columns: np.ndarray = spectrum @ np.exp(2j * np.pi * frequency[:, None] * time)
        return columns
