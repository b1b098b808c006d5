"""Cleaning whole recordings: band-pass, high-pass, baseline removal and notch, by name.

``bandpass:low_hz=0.5:high_hz=40,notch:hz=50``: commas between filters, which run in that order, colons between
parameters. All are zero-phase, so R peaks stay where they are.

References
----------
.. [1] Kligfield et al., Recommendations for the standardization and interpretation of the electrocardiogram, part I,
   Circulation 115:1306-1324, 2007: zero-phase filters may cut up to 0.67 Hz; with others 0.05 Hz is the limit for ST.
.. [2] de Chazal, O'Dwyer, Reilly, IEEE Trans. Biomed. Eng. 51(7):1196-1206, 2004: the baseline by two median filters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from store.errors import RecordError, UnknownNameError, UserError

Array = NDArray[np.float64]
GROUP_SAMPLES = 4_000_000  # of the leads that are worked on together: 32 MB
PIECE_SAMPLES, OVERLAP_SAMPLES = 1_200_000, 100_000  # an hour at 333 Hz; 100 s at 1000 Hz, where 0.05 Hz has died out


class Filter(BaseModel, ABC):
    """A filter on whole recordings; its fields are its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]

    @abstractmethod
    def apply(self, signal_mv: Array, fs_hz: float) -> Array:
        """Return the filtered leads, (n_leads, n_samples) as they came."""

    @property
    def highest_hz(self) -> float:
        """The highest frequency that the filter names; it has to lie below half the sampling rate."""
        return 0.0


class BandPass(Filter):
    """Butterworth band-pass, forwards and backwards: −6 dB at both limits.

    0.5 Hz distorts the ST segment; take ``baseline`` or a gentle ``highpass`` for work on ST and T.
    """

    name = "bandpass"
    low_hz: float = Field(0.5, gt=0, description="lower limit")
    high_hz: float = Field(40.0, gt=0, description="upper limit")
    order: int = Field(3, ge=1, le=8, description="order of each pass")

    @model_validator(mode="after")
    def _limits_in_order(self) -> BandPass:
        if self.low_hz >= self.high_hz:
            raise UserError(f"filter bandpass: low_hz={self.low_hz:g} is not below high_hz={self.high_hz:g}")
        return self

    @property
    def highest_hz(self) -> float:
        """The upper limit."""
        return self.high_hz

    def apply(self, signal_mv: Array, fs_hz: float) -> Array:
        """Return the band."""
        return pass_both_ways(signal_mv, fs_hz, self.order, (self.low_hz, self.high_hz))


class HighPass(Filter):
    """Butterworth high-pass, forwards and backwards: −6 dB at the limit. At 0.05 Hz ST stays as it is."""

    name = "highpass"
    low_hz: float = Field(0.05, gt=0, description="limit")
    order: int = Field(2, ge=1, le=8, description="order of each pass")

    @property
    def highest_hz(self) -> float:
        """The limit."""
        return self.low_hz

    def apply(self, signal_mv: Array, fs_hz: float) -> Array:
        """Return what is above the limit."""
        return pass_both_ways(signal_mv, fs_hz, self.order, self.low_hz, "highpass")


class Baseline(Filter):
    """Subtract the baseline that two median filters leave: the first takes out P and QRS, the second T."""

    name = "baseline"
    first_s: float = Field(0.2, gt=0, description="window of the first median")
    second_s: float = Field(0.6, gt=0, description="window of the second median")

    def apply(self, signal_mv: Array, fs_hz: float) -> Array:
        """Return the leads without their baseline."""
        from scipy.ndimage import median_filter

        baseline = signal_mv
        for window_s in (self.first_s, self.second_s):
            width = 2 * round(window_s * fs_hz / 2) + 1
            baseline = np.stack([median_filter(lead, width, mode="reflect") for lead in baseline])  # fast in 1-D alone
        return signal_mv - baseline


class Notch(Filter):
    """Take out mains interference by a second-order notch, forwards and backwards."""

    name = "notch"
    hz: float = Field(50.0, gt=0, description="50 in Europe, most of Asia, Africa; 60 in the Americas")
    width_hz: float = Field(1.0, gt=0, description="width at −3 dB of each pass")

    @property
    def highest_hz(self) -> float:
        """The frequency that is taken out."""
        return self.hz

    def apply(self, signal_mv: Array, fs_hz: float) -> Array:
        """Return the leads without that frequency."""
        from scipy.signal import iirnotch, tf2sos

        sections = _hashable(tf2sos(*iirnotch(self.hz, self.hz / self.width_hz, fs_hz)))
        return _filter_both_ways(sections, signal_mv)


FILTERS: dict[str, type[Filter]] = {kind.name: kind for kind in (BandPass, HighPass, Baseline, Notch)}


def parse_filters(text: str) -> tuple[Filter, ...]:
    """Read a request for filters.

    Parameters
    ----------
    text : str
        Such as ``bandpass,notch:hz=60``; empty for none.

    Raises
    ------
    UnknownNameError
        For a filter or parameter that does not exist.
    UserError
        For a value that does not fit.
    """
    return tuple(_parse_one(request.strip()) for request in text.split(",")) if text.strip() else ()


def apply_filters(filters: Sequence[Filter], signal_mv: Array, fs_hz: float) -> Array:
    """Return a recording after every filter in turn.

    Parameters
    ----------
    filters : sequence of Filter
        In the order in which they run.
    signal_mv : ndarray, shape (n_leads, n_samples)
        Whole leads without gaps, at their own rate.
    fs_hz : float
        Sampling rate.

    Raises
    ------
    RecordError
        If a filter names a frequency that the recording cannot hold.
    """
    if not filters:
        return signal_mv
    for step in filters:
        if step.highest_hz >= fs_hz / 2:
            raise RecordError(
                "clean",
                f"filter {step.name} at {step.highest_hz:g} Hz needs a rate above {2 * step.highest_hz:g} Hz, "
                f"the record has {fs_hz:g} Hz",
            )
    filtered_mv = np.empty(signal_mv.shape)
    for leads in lead_groups(signal_mv):
        filtered_mv[leads] = reduce(lambda passed_mv, step: step.apply(passed_mv, fs_hz), filters, signal_mv[leads])
    return filtered_mv


def lead_groups(signal: NDArray[Any]) -> Iterator[slice]:
    """Yield the leads that are worked on together: all of a short recording, which is fast; one of a day, which fits.

    Parameters
    ----------
    signal : ndarray, shape (n_leads, n_samples)
        Any leads.
    """
    width = max(1, GROUP_SAMPLES // signal.shape[1])
    for first in range(0, len(signal), width):
        yield slice(first, first + width)


def _parse_one(request: str) -> Filter:
    name, *pairs = (part.strip() for part in request.split(":"))
    if name not in FILTERS:
        raise UnknownNameError("filter", name, FILTERS)
    kind = FILTERS[name]
    given: dict[str, str] = {}
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in kind.model_fields:
            raise UnknownNameError(f"parameter of {name}", key, kind.model_fields)
        if not value or key in given:
            raise UserError(f"filter {request!r}: {pair!r} is {'given twice' if value else 'no parameter=value'}")
        given[key] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        fault: Any = error.errors()[0]
        if isinstance(fault.get("ctx", {}).get("error"), UserError):
            raise fault["ctx"]["error"] from None
        raise UserError(f"filter {request!r}: {fault['loc'][0]}={fault['input']}: {fault['msg']}") from None


def pass_both_ways(
    signal_mv: Array,
    fs_hz: float,
    order: int,
    limits_hz: float | tuple[float, float],
    kind: str = "bandpass",
) -> Array:
    """Run a Butterworth filter forwards and backwards, which moves no wave.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Whole leads without gaps.
    fs_hz : float
        Sampling rate.
    order : int
        Order of each pass.
    limits_hz : float or (float, float)
        Limit, or limits, at −6 dB.
    kind : str
        ``bandpass`` or ``highpass``.
    """
    return _filter_both_ways(_butterworth(order, limits_hz, kind, fs_hz), signal_mv)


@lru_cache(maxsize=64)  # designing a filter takes longer than filtering ten seconds
def _butterworth(
    order: int, limits_hz: float | tuple[float, float], kind: str, fs_hz: float
) -> tuple[tuple[float, ...], ...]:
    from scipy.signal import butter

    return _hashable(butter(order, limits_hz, kind, fs=fs_hz, output="sos"))


def _hashable(sections: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, sections.tolist()))


def _filter_both_ways(sections: tuple[tuple[float, ...], ...], signal_mv: Array) -> Array:
    """Filter a signal, one of many hours in pieces that overlap by more than the response lasts."""
    n_samples, length = signal_mv.shape[-1], PIECE_SAMPLES + 2 * OVERLAP_SAMPLES
    if n_samples <= length:
        return _filter_piece(sections, signal_mv)
    filtered = np.empty(signal_mv.shape)
    for start in range(0, n_samples, PIECE_SAMPLES):
        stop = min(start + PIECE_SAMPLES, n_samples)
        first = min(max(start - OVERLAP_SAMPLES, 0), n_samples - length)  # pieces of one length have one response
        piece = _filter_piece(sections, signal_mv[..., first : first + length])
        filtered[..., start:stop] = piece[..., start - first : stop - first]
    return filtered


def _filter_piece(sections: tuple[tuple[float, ...], ...], signal_mv: Array) -> Array:
    """Filter by the squared magnitude of the response, which both passes together have, in the cosine transform.

    That is the filter on a signal that runs backwards beyond its ends, five times faster than two recursions over ten
    seconds. Turned about its last point instead, one that ends on an R wave would go on a millivolt off. The end is
    extended to a length of small factors, since one with a large prime takes ten times as long and 90 MB an hour.
    """
    from scipy.fft import dct, idct, next_fast_len

    n_samples = signal_mv.shape[-1]
    n_more = next_fast_len(n_samples, real=True) - n_samples
    extended = np.concatenate([signal_mv, signal_mv[..., ::-1][..., :n_more]], axis=-1)
    spectrum = dct(extended, axis=-1) * _power_response(sections, extended.shape[-1])
    filtered: Array = idct(spectrum, axis=-1)[..., :n_samples]
    return filtered


@lru_cache(maxsize=8)  # of half an hour at 360 Hz each takes 5 MB, of the longest piece 11 MB
def _power_response(sections: tuple[tuple[float, ...], ...], n_samples: int) -> Array:
    """Return the squared magnitude at the frequencies of the cosine transform."""
    from scipy.signal import sosfreqz

    _, response = sosfreqz(sections, np.pi * np.arange(n_samples) / n_samples)
    power: Array = np.abs(response) ** 2
    return power
