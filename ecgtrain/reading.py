"""What is stored of some rows, read from where it lies, before anything is made of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgtrain.samplers import Rows
from ecgtrain.sources import RowSource


@dataclass(frozen=True)
class Raw:
    """Some rows as they are stored; what is not read is None.

    Parameters
    ----------
    counts : torch.Tensor
        Signals, int16 counts, shape (n, n_beats, n_leads, n_samples): the row itself and the beats beside it.
    valid_n : torch.Tensor
        Samples of each before its padding, int64, shape (n, n_beats).
    mean, sd : torch.Tensor
        Of each row's record, in counts, float32, shape (n, 1, n_leads or 1, 1).
    pictures : torch.Tensor
        Stored pictures, shape (n, n_channels, height, width).
    features : torch.Tensor
        Numbers beside each row, float32, shape (n, n_features).
    """

    counts: Tensor | None = None
    valid_n: Tensor | None = None
    mean: Tensor | None = None
    sd: Tensor | None = None
    pictures: Tensor | None = None
    features: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Raw:
        """Return the rows with each tensor changed in the same way."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in tensors.items() if value is not None})

    def split(self, sizes: Sequence[int]) -> list[Raw]:
        """Return the rows in parts of these sizes, one after the other."""
        cuts = [0, *itertools.accumulate(sizes)]
        return [self.map(itemgetter(slice(start, stop))) for start, stop in itertools.pairwise(cuts)]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        tensors = (getattr(self, field.name) for field in fields(self))
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def mixed(first: Raw, second: Raw, weights: Tensor) -> Raw:
    """Return (1 − w)·first + w·second, row by row; signals as whole counts, as `store.balance.mix_rows` has them.

    What is known of a record, such as its mean, is mixed as well; a mixed row is as long as the longer of the two.

    Parameters
    ----------
    first, second : Raw
        As many rows each.
    weights : torch.Tensor
        w, float32, shape (n,).
    """

    def mix(name: str) -> Tensor | None:
        """Return one field of both, mixed; None where rows have none."""
        one, other = getattr(first, name), getattr(second, name)
        if one is None:
            return None
        one, other = cast(Tensor, one), cast(Tensor, other)
        if name == "valid_n":
            return torch.maximum(one, other)
        step = weights.to(one.device).view(-1, *(1 for _ in one.shape[1:]))
        between: Tensor = one.float() + step * (other.float() - one.float())
        return between if one.is_floating_point() else between.round().to(one.dtype)

    return Raw(**{field.name: mix(field.name) for field in fields(Raw)})


def _joined(pictures: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(pictures), dim=1) if len(pictures) > 1 else pictures[0]


@dataclass(frozen=True)
class RowReader:
    """Reads rows of a store.

    Parameters
    ----------
    signal : RowSource or None
        The signals.
    beside : sequence of ndarray of int64, shape (n_rows,)
        Numbers of the rows before and after each, −1 where there is none, and the row itself stands in.
    typical : torch.Tensor or None
        Typical beat of each record, int16, shape (n_records, n_leads, n_samples).
    record : ndarray of int64 or None
        Number of each row's record.
    valid_n : ndarray of int64 or None
        Samples of each row before its padding.
    moments : tuple of ndarray or None
        Mean and SD of each row's record in counts, shape (n_rows, 1, n_leads or 1, 1).
    pictures : sequence of RowSource
        Stored pictures, joined as channels.
    features : ndarray of float32 or None
        Numbers beside each row.
    """

    signal: RowSource | None = None
    beside: Sequence[Rows] = ()
    typical: Tensor | None = None
    record: Rows | None = None
    valid_n: NDArray[np.int64] | None = None
    moments: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    pictures: Sequence[RowSource] = ()
    features: NDArray[np.float32] | None = None

    def take(self, rows: Rows) -> Raw:
        """Return some rows of the store, in the order asked for."""
        mean, sd = (torch.from_numpy(one[rows]) for one in self.moments) if self.moments else (None, None)
        pictures = [source.take(rows) for source in self.pictures]
        return Raw(
            counts=self._signals(rows),
            valid_n=self._lengths(rows),
            mean=mean,
            sd=sd,
            pictures=_joined(pictures) if pictures else None,
            features=None if self.features is None else torch.from_numpy(self.features[rows]),
        )

    def expect(self, rows: Rows) -> None:
        """Begin to read rows that will be wanted soon."""
        if self.signal is not None:
            self.signal.expect(np.concatenate(self._beats(rows)))
        for source in self.pictures:
            source.expect(rows)

    def _beats(self, rows: Rows) -> list[Rows]:
        """Return the rows whose signals stand side by side: before, itself, after."""
        neighbours = [np.where(of[rows] < 0, rows, of[rows]) for of in self.beside]
        return [*neighbours[:1], rows, *neighbours[1:]]

    def _signals(self, rows: Rows) -> Tensor | None:
        if self.signal is None:
            return None
        beats = self._beats(rows)
        taken = self.signal.take(np.concatenate(beats)) if len(beats) > 1 else self.signal.take(rows)
        stack = list(taken.chunk(len(beats)))
        if self.typical is not None and self.record is not None:
            stack.append(self.typical[torch.from_numpy(self.record[rows])].to(taken.device))
        return torch.stack(stack, dim=1) if len(stack) > 1 else stack[0].unsqueeze(1)

    def _lengths(self, rows: Rows) -> Tensor | None:
        if self.valid_n is None:
            return None
        lengths = [self.valid_n[beat] for beat in self._beats(rows)]
        if self.typical is not None:
            lengths.append(self.valid_n[rows])
        return torch.from_numpy(np.stack(lengths, axis=1).astype(np.int64))
