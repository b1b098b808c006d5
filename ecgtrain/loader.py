"""Batches of a store's rows, read ahead of the model.

Both ways of reading, from memory and streamed, give the very same batches, because the order comes from
`ecgtrain.samplers` alone.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ecgtrain.config import CONTEXT, SIGNAL
from ecgtrain.distributed import this_world
from ecgtrain.inputs import (
    ModelInput,
    feature_input,
    input_shape,
    lead_numbers,
    picture_input,
    signal_context,
    signal_input,
    uses_rr,
    with_context,
)
from ecgtrain.models.registry import InputShape
from ecgtrain.samplers import Rows, batch_rows, count_batches, epoch_order
from ecgtrain.sources import StoredRows, place
from store.errors import UserError
from store.read import Label, Split, Store
from store.vocabulary import SPLIT_NAMES, TEST, TRAIN, VALIDATION

READ_AHEAD = 2
UNKNOWN_SINGLE, UNKNOWN_MULTI = -1, 255


class Batch(NamedTuple):
    """Some rows as a model reads them.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the store.
    inputs : dict of str to torch.Tensor
        The model's keyword tensors, float32.
    target : torch.Tensor
        Class numbers, int64, shape (n,); or float32 0 and 1, shape (n, n_classes), of a multi-label task.
    """

    rows: Rows
    inputs: dict[str, Tensor]
    target: Tensor

    def parts(self, n_parts: int) -> list[Batch]:
        """Return the batch cut into so many parts, whose sizes differ by one at most."""
        cuts = [i * len(self.rows) // n_parts for i in range(n_parts + 1)]
        pieces = [slice(start, stop) for start, stop in itertools.pairwise(cuts) if stop > start]
        return [
            Batch(self.rows[p], {name: value[p] for name, value in self.inputs.items()}, self.target[p]) for p in pieces
        ]


class Loader:
    """The rows of one part of a split.

    Parameters
    ----------
    rows : ndarray of int64
        The rows, ascending.
    inputs : mapping
        What a model reads, by keyword.
    targets : torch.Tensor
        One a row of the store.
    batch_size : int
        Rows of a batch, at most.
    block_rows : int
        Rows that are read as one piece.
    """

    def __init__(
        self, rows: Rows, inputs: Mapping[str, ModelInput], targets: Tensor, batch_size: int, block_rows: int
    ) -> None:
        self.rows = rows
        self.inputs = inputs
        self.targets = targets
        self.batch_size = batch_size
        self.block_rows = block_rows

    @property
    def n_batches(self) -> int:
        """Batches of one pass."""
        return count_batches(len(self.rows), self.batch_size)

    @property
    def target(self) -> Tensor:
        """Targets of the rows, in their order."""
        return self.targets[torch.from_numpy(self.rows)]

    def batch(self, rows: Rows) -> Batch:
        """Return some rows as one batch."""
        inputs = {name: torch.from_numpy(one.take(rows)) for name, one in self.inputs.items()}
        return Batch(rows, inputs, self.targets[torch.from_numpy(rows)])

    def in_order(self) -> Iterator[Batch]:
        """Yield the rows of this process in ascending order."""
        world = this_world()
        own = self.rows[world.rank :: world.size]
        size = math.ceil(self.batch_size / world.size)
        return self._read_ahead(own[start : start + size] for start in range(0, len(own), size))

    def shuffled(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield this process's part of the batches of an epoch, from number `first` on.

        Raises
        ------
        UserError
            If the batches are too small for so many processes.
        """
        world = this_world()
        if len(self.rows) // self.n_batches < 2 * world.size:
            raise UserError(f"batches of {self.batch_size} rows are too small for {world.size} processes; raise it")
        order = epoch_order(self.rows, self.block_rows, seed, epoch)
        return self._read_ahead(
            batch_rows(order, k, self.batch_size, world.rank, world.size) for k in range(first, self.n_batches)
        )

    def _read_ahead(self, wanted: Iterable[Rows]) -> Iterator[Batch]:
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming: deque[Future[Batch]] = deque()
            for rows in wanted:
                coming.append(reader.submit(self.batch, rows))
                if len(coming) > READ_AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()


@dataclass(frozen=True)
class Loaders:
    """The three parts of a split, with what a model and a report need to know of them.

    Parameters
    ----------
    train, validation, test : Loader
        The parts.
    label : Label
        The labels' scheme; its values cover the whole store.
    split : Split
        The protocol.
    shape : InputShape
        What a model for these rows is made for.
    leads : tuple of str
        The leads that are read.
    preprocessing : mapping
        What is done to stored values before a model sees them, as plain data.
    """

    train: Loader
    validation: Loader
    test: Loader
    label: Label
    split: Split
    shape: InputShape
    leads: tuple[str, ...]
    preprocessing: Mapping[str, Any]


def loaders(
    store: Store,
    inputs: Sequence[str] = (SIGNAL,),
    protocol: str | None = None,
    batch_size: int = 32,
    *,
    channels: Sequence[str] | None = None,
    features: str = "auto",
    context: Sequence[str] = CONTEXT,
    standardise: str = "auto",
    placement: str = "auto",
) -> Loaders:
    """Return loaders of a store's training, validation and test rows.

    Rows whose label is unknown are left out of all three.

    Parameters
    ----------
    store : Store
        An open store.
    inputs : sequence of str
        ``signal`` and stored representations; pictures are joined as channels.
    protocol : str, optional
        The split; by default the store's.
    batch_size : int
        Rows of a batch, at most.
    channels, features, context, standardise, placement
        As in `ecgtrain.config.RunConfig`.

    Returns
    -------
    Loaders
        The three parts.

    Raises
    ------
    LeakError
        If the split puts a patient on two sides and does not say so.
    UnknownNameError
        If the store lacks a protocol, representation or lead.
    UserError
        If the protocol has no training or validation rows, or numbers folds.
    """
    split = trainable_split(store, protocol)
    label = store.label(split.scheme)
    parts = {part: known_rows(split, label, part) for part in (TRAIN, VALIDATION, TEST)}
    _check_parts(store, split, parts)
    assert store.signal.chunks is not None
    block_rows = store.signal.chunks[0]  # pictures' chunks divide it: the order does not depend on what is read
    shape = input_shape(store, inputs, channels, features, context, len(label.classes))
    leads = lead_numbers(store, channels)
    read = _model_inputs(store, inputs, leads, parts[TRAIN], block_rows, standardise, placement)
    if SIGNAL in read:
        read[SIGNAL] = with_context(store, read[SIGNAL], signal_context(store, context))
    if uses_rr(store, inputs, features):
        read["features"] = feature_input(store, parts[TRAIN])
    targets = _targets(label)
    train, validation, test = (
        Loader(parts[part], read, targets, batch_size, block_rows) for part in (TRAIN, VALIDATION, TEST)
    )
    names = tuple(store.leads[lead] for lead in leads)
    facts = {name: one.describe() for name, one in read.items()}
    return Loaders(train, validation, test, label, split, shape, names, facts)


def known_rows(split: Split, label: Label, part: int) -> Rows:
    """Return the rows of one part whose label is known, ascending."""
    values = label.values
    known = (values != UNKNOWN_MULTI).all(axis=1) if label.multilabel else values != UNKNOWN_SINGLE
    return np.flatnonzero((split.values == part) & known)


def trainable_split(store: Store, protocol: str | None) -> Split:
    """Return a split that has training, validation and test rows.

    Raises
    ------
    LeakError
        If the split puts a patient on two sides and does not say so.
    UserError
        If the protocol numbers folds.
    """
    split = store.split(protocol)
    if split.kind == "folds":
        default = store.attributes["default_protocol"]
        raise UserError(f"protocol {split.protocol!r} numbers folds and has no test rows; use {default!r}")
    return split


def _check_parts(store: Store, split: Split, parts: Mapping[int, Rows]) -> None:
    for part, rows in parts.items():
        if not len(rows):
            raise UserError(
                f"protocol {split.protocol!r} of {store.name} has no {SPLIT_NAMES[part]} rows with a known "
                f"{split.scheme} label; build the store from more records"
            )


def _targets(label: Label) -> Tensor:
    if label.multilabel:
        return torch.from_numpy((label.values == 1).astype(np.float32))
    return torch.from_numpy(label.values.astype(np.int64))


def _model_inputs(
    store: Store,
    names: Sequence[str],
    leads: Sequence[int],
    rows: Rows,
    block_rows: int,
    standardise: str,
    placement: str,
) -> dict[str, ModelInput]:
    """Return readers of the signals and pictures, with statistics of the training `rows`."""
    arrays = {name: store.signal if name == SIGNAL else store.representation(name) for name in names}
    stored = {name: StoredRows(array, leads) for name, array in arrays.items()}
    sources = dict(zip(stored, place(list(stored.values()), block_rows, placement), strict=True))
    read: dict[str, ModelInput] = {}
    if SIGNAL in stored:
        read["signal"] = signal_input(store, stored[SIGNAL], sources[SIGNAL], rows, block_rows, standardise)
    if pictures := [name for name in stored if name != SIGNAL]:
        chosen = [stored[name] for name in pictures], [sources[name] for name in pictures]
        read["picture"] = picture_input(pictures, *chosen, rows, block_rows)
    return read
