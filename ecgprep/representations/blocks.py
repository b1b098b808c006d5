"""A block of rows that is small enough for the cache, and what several representations share about it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar

from array_api_compat import array_namespace, device

Array = Any
Shared = TypeVar("Shared")

COUNTS_PER_MV = 1000
"""The store keeps int16 counts of 1 µV."""


class Block:
    """Signals of some planes (a row's leads), as the representations of one call see them.

    Parameters
    ----------
    signal_mv : array of float32, shape (n_planes, n_samples)
        Voltage in mV.
    valid_n : array of int64, shape (n_planes,), optional
        How many samples from the first on are signal and not padding; absent where all are.
    """

    def __init__(self, signal_mv: Array, valid_n: Array | None) -> None:
        self.xp = array_namespace(signal_mv)
        self.device = device(signal_mv)
        self.signal_mv = signal_mv
        self.valid_n = valid_n
        self._shared: dict[Hashable, Any] = {}

    @property
    def n_samples(self) -> int:
        """Length of the time axis."""
        return int(self.signal_mv.shape[-1])

    @cached_property
    def counts(self) -> Array:
        """The signals as the store's whole counts: ties and constant rows are exact in them."""
        return self.xp.astype(self.xp.round(self.signal_mv * COUNTS_PER_MV), self.xp.int32)

    @cached_property
    def valid(self) -> Array | None:
        """Which samples are signal, shape (n_planes, n_samples); None where all are."""
        if self.valid_n is None:
            return None
        return self.xp.arange(self.n_samples, device=self.device) < self.valid_n[:, None]

    def shared(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """Return what was made under this key before, or make it now."""
        if key not in self._shared:
            self._shared[key] = make()
        result: Shared = self._shared[key]
        return result
