"""What every representation has: parameters, a definition on batched arrays, a reference, a stored form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from array_api_compat import array_namespace, device
from pydantic import BaseModel, ConfigDict, Field

from ecgprep.representations.blocks import COUNTS_PER_MV, Block, Drawer, Scratch, few_planes, is_on_gpu
from store.errors import UserError

Array = Any

PREPARED_IN_CACHE = 12 * 224 * 224
"""Numbers that are prepared together on a processor: they stay near its cache."""

PIXELS_ON_GPU = 512 * 224 * 224
"""Pixels that are drawn together on a GPU: about 1 GB of intermediate arrays."""


@dataclass(frozen=True)
class RowFormat:
    """What a row of the store is, as far as a representation's defaults depend on it.

    Parameters
    ----------
    kind : {"beat", "record"}
        A beat, or a longer piece of signal.
    fs_hz : float
        Sampling frequency.
    n_samples : int
        Length of the time axis.
    """

    kind: Literal["beat", "record"]
    fs_hz: float
    n_samples: int

    @property
    def size(self) -> int:
        """Side of a picture unless another is asked for."""
        return 128 if self.kind == "beat" else 224


class Representation(BaseModel, ABC):
    """A picture of one lead, defined by its parameters and by the stored row alone.

    Parameters
    ----------
    name : str
        Name of its array in the store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind_name: ClassVar[str]
    shorthands: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Keys, or values of a key, that a request may hold and `resolve` turns into fields."""
    prepared: ClassVar[float] = 1.0
    """Numbers that `drawer` prepares for a plane, as a share of its pixels."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="name of the array in the store")

    @classmethod
    def request_keys(cls) -> list[str]:
        """Return the parameters that a request may give; the rest follows from the rows."""
        return sorted({"as", *cls.model_fields, *cls.shorthands} - {"name", "fs_hz"})

    @classmethod
    @abstractmethod
    def resolve(cls, given: dict[str, str], row: RowFormat) -> list[Self]:
        """Complete the parameters that were given with the defaults for such rows.

        Parameters
        ----------
        given : dict of str to str
            Parameters as they were written, ``name`` among them.
        row : RowFormat
            What is drawn.

        Returns
        -------
        list of Representation
            One, or several where one request asks for several arrays.

        Raises
        ------
        UserError
            Where the parameters do not fit such rows.
        """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Height and width."""

    @property
    @abstractmethod
    def value_range(self) -> tuple[float, float] | None:
        """Lowest and highest value, between which a byte is spread; None where there is no bound."""

    @property
    def dtype(self) -> str:
        """Type of the stored array: bytes where the values are bounded, else half precision."""
        return "float16" if self.value_range is None else "uint8"

    @property
    def storing(self) -> tuple[float, float]:
        """Gain and offset that turn a value into the number whose whole part is the stored byte."""
        if self.value_range is None:
            return 1.0, 0.0
        low, high = self.value_range
        return 255 / (high - low), 0.5 - low * 255 / (high - low)

    def parameters(self) -> dict[str, Any]:
        """Return every parameter, and what a reader needs to understand the array, as plain JSON values."""
        about = {"representation": self.kind_name, **self.model_dump(mode="json", exclude={"name"})}
        if self.value_range is not None:
            about["value_range"] = list(self.value_range)
        return about

    @abstractmethod
    def drawer(self, block: Block, gain: float, offset: float) -> Drawer:
        """Prepare what planes are drawn from, each value times `gain` plus `offset`.

        What is small is computed here for all planes of a block at once, which share the overhead of the calls;
        pixels are computed by what is returned, for so few planes that a core's cache holds them.

        Most pictures end in a product or a clipping that takes the two in at no cost, while further passes over
        the picture would take as long as drawing it.

        Parameters
        ----------
        block : Block
            Signals of the planes.
        gain, offset : float
            What brings the values into their stored form; 1 and 0 for the values themselves, and where they have
            no range.

        Returns
        -------
        callable
            Draws the planes of a slice, inside the ``value_range`` but for rounding. The caller may overwrite what
            it gets, and has to use it before the next call.
        """

    @abstractmethod
    def reference_plane(self, signal_mv: np.ndarray, valid_n: int) -> np.ndarray:
        """Draw one plane in float64 by the libraries of the field.

        Parameters
        ----------
        signal_mv : ndarray of float64, shape (n_samples,)
            One lead in mV.
        valid_n : int
            How many of its samples are signal and not padding.

        Returns
        -------
        ndarray of float64, shape (height, width)
        """

    def render(self, signal_mv: Array, valid_n: Array | None = None) -> Array:
        """Draw signals.

        Parameters
        ----------
        signal_mv : array of float32, shape (..., n_samples)
            Voltage in mV; a NumPy array, or a torch tensor on any device.
        valid_n : array of int, shape of the leading axes or of the first of them, optional
            How many samples from the first on are signal and not padding.

        Returns
        -------
        array of float32, shape (..., height, width)
        """
        return render_all([self], signal_mv, valid_n, stored=False)[self.name]

    def reference(self, signal_mv: np.ndarray, valid_n: np.ndarray | None = None) -> np.ndarray:
        """Draw signals plane by plane by the libraries of the field, in float64.

        Parameters
        ----------
        signal_mv : ndarray, shape (..., n_samples)
            Voltage in mV.
        valid_n : ndarray of int, shape of the leading axes or of the first of them, optional
            How many samples from the first on are signal and not padding.

        Returns
        -------
        ndarray of float64, shape (..., height, width)
        """
        signal = np.asarray(signal_mv, dtype=np.float64)
        leading, n = signal.shape[:-1], signal.shape[-1]
        lengths = np.full(leading, n) if valid_n is None else _per_plane(np.asarray(valid_n), leading)
        planes = np.empty((int(np.prod(leading)), *self.shape))
        for plane, row, length in zip(planes, signal.reshape(-1, n), lengths.reshape(-1), strict=True):
            plane[...] = self.reference_plane(row, int(length))
        return planes.reshape(*leading, *self.shape)


def _per_plane(valid_n: Array, leading: tuple[int, ...]) -> Array:
    xp = array_namespace(valid_n)
    widened = xp.reshape(valid_n, valid_n.shape + (1,) * (len(leading) - valid_n.ndim))
    return xp.broadcast_to(widened, leading)


def _planes_together(reps: Sequence[Representation], signal: Array) -> int:
    if is_on_gpu(signal):
        return max(1, PIXELS_ON_GPU // max(rep.shape[0] * rep.shape[1] for rep in reps))
    return max(1, int(PREPARED_IN_CACHE / max(rep.prepared * rep.shape[0] * rep.shape[1] for rep in reps)))


def render_all(
    reps: Sequence[Representation], signal: Array, valid_n: Array | None = None, *, stored: bool = True
) -> dict[str, Array]:
    """Draw several representations of the same signals, sharing what they have in common.

    Works through the planes in blocks, so that it needs little memory beside its result.

    Parameters
    ----------
    reps : sequence of Representation
        What to draw.
    signal : array, shape (..., n_samples)
        Voltage: int16 counts of the store, or mV in floating point. A NumPy array or a torch tensor.
    valid_n : array of int, shape of the leading axes or of the first of them, optional
        How many samples from the first on are signal and not padding.
    stored : bool, default True
        Return the stored form (uint8 or float16), else float32.

    Returns
    -------
    dict of str to array
        Under each name an array of shape (..., height, width).
    """
    xp, where = array_namespace(signal), device(signal)
    leading, n = tuple(signal.shape[:-1]), signal.shape[-1]
    signals = xp.reshape(signal, (-1, n))
    lengths = None if valid_n is None else xp.reshape(_per_plane(valid_n, leading), (-1,))
    pictures = {
        rep.name: xp.empty(
            (signals.shape[0], *rep.shape),
            dtype=getattr(xp, rep.dtype if stored else "float32"),
            device=where,
        )
        for rep in reps
    }
    step = _planes_together(reps, signal) if reps else 1
    scratch: Scratch = {}
    for first in range(0, signals.shape[0], step):
        part = slice(first, first + step)
        block = Block(_millivolts(signals[part]), None if lengths is None else lengths[part], scratch)
        for rep in reps:
            planes = pictures[rep.name][part]
            draw = rep.drawer(block, *(rep.storing if stored else (1.0, 0.0)))
            for few in few_planes(planes):
                planes[few] = draw(few)
    return {name: xp.reshape(planes, (*leading, *planes.shape[1:])) for name, planes in pictures.items()}


def draw_stored(
    reps: Sequence[Representation], counts: np.ndarray, valid_n: np.ndarray | None, engine: str
) -> dict[str, np.ndarray]:
    """Draw the stored form of representations as one of the engines of a store does.

    Parameters
    ----------
    reps : sequence of Representation
        What to draw.
    counts : ndarray of int16, shape (..., n_samples)
        Signals of the store.
    valid_n : ndarray of int, shape of the leading axes or of the first of them, or None
        How many samples from the first on are signal and not padding.
    engine : str
        ``fast``, or ``reference`` for the libraries of the field.

    Returns
    -------
    dict of str to ndarray of uint8 or float16
        Under each name an array of shape (..., height, width).
    """
    if engine == "reference":
        signal_mv = counts * (1 / COUNTS_PER_MV)
        return {rep.name: quantise(rep.reference(signal_mv, valid_n), rep) for rep in reps}
    return render_all(reps, counts, valid_n) if reps else {}


def _millivolts(signal: Array) -> Array:
    xp = array_namespace(signal)
    if xp.isdtype(signal.dtype, "real floating"):
        return xp.astype(signal, xp.float32, copy=False)
    return xp.astype(signal, xp.float32) * np.float32(1 / COUNTS_PER_MV).item()


def quantise(planes: Array, rep: Representation) -> Array:
    """Bring planes into their stored form: x = low + q (high - low) / 255, rounded to the nearest q.

    Parameters
    ----------
    planes : array of float32, shape (..., height, width)
        Pictures.
    rep : Representation
        What they are; its ``value_range`` says how.

    Returns
    -------
    array of uint8 or float16, shape (..., height, width)
        Off by at most (high - low) / 510 inside the range; values outside it are clipped.
    """
    xp = array_namespace(planes)
    gain, offset = rep.storing
    spread = xp.astype(planes, xp.float32) * gain + offset
    return xp.astype(spread if rep.value_range is None else xp.clip(spread, 0, 255), getattr(xp, rep.dtype))


def dequantise(stored: Array, rep: Representation) -> Array:
    """Bring stored planes back to their values.

    Parameters
    ----------
    stored : array of uint8 or float16, shape (..., height, width)
        Pictures as the store keeps them.
    rep : Representation
        What they are.

    Returns
    -------
    array of float32, shape (..., height, width)
    """
    xp = array_namespace(stored)
    planes = xp.astype(stored, xp.float32)
    if rep.value_range is None:
        return planes
    low, high = rep.value_range
    return planes * ((high - low) / 255) + low


def require(condition: bool, message: str) -> None:
    """Raise a `UserError` with this message unless the condition holds."""
    if not condition:
        raise UserError(message)
