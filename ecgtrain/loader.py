"""Batches of a store's rows, read ahead of the model and prepared where it computes.

All ways of reading, from memory of the device or of the host and streamed, give the very same batches, because the
order comes from `ecgtrain.samplers` alone.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from ecgtrain.augment import mix_up
from ecgtrain.config import FUTURE, SIGNAL, AugmentationConfig, DataConfig, RunConfig
from ecgtrain.devices import pick_device
from ecgtrain.distributed import this_world
from ecgtrain.inputs import input_shape, lay_out, lead_numbers
from ecgtrain.items import Items, chosen_split, known_rows, learned_label, stored_items, training_items
from ecgtrain.losses import class_shares
from ecgtrain.models.registry import InputShape
from ecgtrain.preparation import Change, Preparation, random_starts, window_starts
from ecgtrain.reading import Raw, RowReader, mixed
from ecgtrain.samplers import WINDOW_BLOCKS, Rows, batch_places, count_batches, distinct, epoch_order, step_seed
from pipelines.recipe import validate
from store.errors import UserError
from store.read import Label, Split, Store
from store.vocabulary import SPLIT_NAMES, TEST, TRAIN, VALIDATION

READ_BYTES = 2**21  # of small rows together: threads that take turns at every batch wait for each other
READ_AHEAD = 2  # batches at least
READ_AHEAD_BYTES = 2**24  # of small rows more: blocks are read in bursts, which the batches at hand have to outlast


class Batch(NamedTuple):
    """Some rows as a model reads them.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the store; of a synthetic row, that of its first parent.
    inputs : dict of str to torch.Tensor
        The model's keyword tensors, float32; ``extent``, where rows are padded, int64.
    target : torch.Tensor
        Class numbers, int64, shape (n,); or float32 shares of each class, shape (n, n_classes), of a multi-label task
        and of rows that are mixed.
    window : int
        Which of the rows' windows; 0 for the first, and for whole rows.
    """

    rows: Rows
    inputs: dict[str, Tensor]
    target: Tensor
    window: int = 0

    def parts(self, n_parts: int) -> list[Batch]:
        """Return the batch cut into so many parts, whose sizes differ by one at most."""
        cuts = [i * len(self.rows) // n_parts for i in range(n_parts + 1)]
        pieces = [slice(start, stop) for start, stop in itertools.pairwise(cuts) if stop > start]
        return [
            Batch(self.rows[p], {name: value[p] for name, value in self.inputs.items()}, self.target[p]) for p in pieces
        ]


@dataclass(frozen=True)
class Loader:
    """The rows of one part of a split.

    Parameters
    ----------
    items : Items
        The rows; those of the store ascending, synthetic ones after them.
    reader : RowReader
        Where they are read.
    preparation : Preparation
        What becomes of them.
    n_classes : int
        Number of classes.
    n_samples : int
        Samples of a stored row.
    batch_size : int
        Rows of a batch over all processes, at most.
    block_rows : int
        Rows that are read as one piece.
    device : torch.device
        Where batches are made.
    augmentation : AugmentationConfig
        How rows are changed in training.
    """

    items: Items
    reader: RowReader
    preparation: Preparation
    n_classes: int
    n_samples: int
    batch_size: int
    block_rows: int
    device: torch.device
    augmentation: AugmentationConfig

    @property
    def rows(self) -> Rows:
        """Numbers of the rows in the store."""
        return self.items.rows

    @property
    def target(self) -> Tensor:
        """Targets of the rows, in their order."""
        return self.items.target

    @property
    def n_batches(self) -> int:
        """Batches of one pass."""
        return count_batches(len(self.items), self.batch_size)

    @property
    def windows(self) -> list[int]:
        """First samples of a row's windows in evaluation: one, unless rows are cut."""
        return window_starts(self.n_samples, self.preparation.crop)

    def in_order(self, copy: int | None = None) -> Iterator[Batch]:
        """Yield the rows of this process in ascending order, each with all of its windows.

        Parameters
        ----------
        copy : int, optional
            Number of a changed copy; None: as they are stored.
        """
        world = this_world()
        own = np.arange(len(self.items))[world.rank :: world.size]
        size = math.ceil(self.batch_size / world.size)
        pieces = [own[start : start + size] for start in range(0, len(own), size)]
        for places, raw in self._read_ahead(pieces):
            yield from self._windows_of(raw, places, copy)

    def windows_of(self, rows: Rows) -> Iterator[Batch]:
        """Yield some rows of validation or test, by their numbers in the store; all of them once a window."""
        places = np.searchsorted(self.rows, rows)
        yield from self._windows_of(self._read(places, places), places, None)

    def shuffled(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield this process's part of the batches of an epoch, from number `first` on.

        Raises
        ------
        UserError
            If the batches are too small for so many processes.
        """
        world = this_world()
        if len(self.items) // self.n_batches < 2 * world.size and world.size > 1:
            raise UserError(f"batches of {self.batch_size} rows are too small for {world.size} processes; raise it")
        order = epoch_order(self.rows // self.block_rows, seed, epoch)
        wanted = (batch_places(order, k, self.batch_size, world.rank, world.size) for k in range(first, self.n_batches))
        for k, (places, raw) in enumerate(self._read_ahead(wanted), start=first):
            yield self._training_batch(raw, places, step_seed(seed, epoch, k, world.rank))

    def _training_batch(self, raw: Raw, places: Rows, seed: int) -> Batch:
        """Return a batch cut and changed by draws of a step's seed."""
        target = self.target[places].to(self.device)
        crop, start = self.preparation.crop, None
        if crop is not None:
            lengths = None if raw.valid_n is None else raw.valid_n[:, 0].cpu().numpy()
            start = random_starts(len(places), self.n_samples, lengths, crop, seed)
        raw = self._on_device(raw)
        if self.augmentation.mixup:
            raw, target = mix_up(raw, class_shares(target, self.n_classes), self.augmentation.mixup, seed)
        inputs = self.preparation.inputs(raw, start=start, change=Change(self.augmentation, seed))
        return Batch(self.rows[places], inputs, target)

    def _windows_of(self, raw: Raw, places: Rows, copy: int | None) -> Iterator[Batch]:
        raw = self._on_device(raw)
        target = self.target[places]
        for number, first in enumerate(self.windows):
            start = torch.full((len(places),), first) if self.preparation.crop else None
            change = None
            if copy is not None:
                change = Change(self.augmentation, step_seed(copy, number, int(places[0]), this_world().rank))
            yield Batch(self.rows[places], self.preparation.inputs(raw, start=start, change=change), target, number)

    def _on_device(self, raw: Raw) -> Raw:
        is_pinned = self.device.type == "cuda"  # other memory may be filled again before it is copied
        return raw.map(lambda values: values.to(self.device, non_blocking=is_pinned))

    def _read(self, places: Rows, coming: Rows) -> Raw:
        """Return items as they are stored, synthetic ones mixed, and begin to read those that come later."""
        rows, weights = self.items.rows[places], self.items.weights[places]
        raw = self.reader.take(rows)
        self.reader.expect(self.items.rows[coming])
        if weights.any():
            raw = mixed(raw, self.reader.take(self.items.partners[places]), torch.from_numpy(weights))
        return raw.map(torch.Tensor.pin_memory) if self.device.type == "cuda" and not _on_cuda(raw) else raw

    @property
    def _batches_of_a_window(self) -> int:
        """How many batches before its own a block is read: when the window before is begun, to decode all the time."""
        n_blocks = max(1, len(distinct(self.rows // self.block_rows)))
        return max(1, math.ceil(len(self.items) * WINDOW_BLOCKS / (n_blocks * self.batch_size)))

    def _read_ahead(self, wanted: Iterable[Rows]) -> Iterator[tuple[Rows, Raw]]:
        pieces = list(wanted)
        later = self._batches_of_a_window
        soon = [np.concatenate(pieces[: later + 1]), *pieces[later + 1 :]] if pieces else []
        soon += [np.zeros(0, np.int64)] * (len(pieces) - len(soon))
        together, depth, n_begun = 1, READ_AHEAD, 0
        with ThreadPoolExecutor(1, initializer=_compute_alone) as reader:
            coming: deque[tuple[list[Rows], Future[Raw]]] = deque()
            while n_begun < len(pieces) or coming:
                while n_begun < len(pieces) and sum(len(some) for some, _ in coming) <= depth:
                    some, then = (of[n_begun : n_begun + together] for of in (pieces, soon))
                    coming.append((some, reader.submit(self._read, np.concatenate(some), np.concatenate(then))))
                    n_begun += len(some)
                some, raw = coming.popleft()
                yield from zip(some, raw.result().split([len(places) for places in some]), strict=True)
                n_bytes = max(raw.result().nbytes // len(some), 1)
                together, depth = max(1, READ_BYTES // n_bytes), max(READ_AHEAD, READ_AHEAD_BYTES // n_bytes)


def _compute_alone() -> None:
    """Let torch start no threads for this one, since those of the model would then go to sleep between their works.

    OpenMP has threads wait awake only while there are no more than cores; asleep, a step takes an eighth longer.
    """
    torch.get_num_threads()  # a thread's first call would undo the limit
    threadpool_limits(1, user_api="openmp")


def _on_cuda(raw: Raw) -> bool:
    held = raw.counts if raw.counts is not None else raw.pictures
    return held is not None and held.is_cuda


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
    config : DataConfig
        What was asked for.
    placed : str
        Where the rows lie, in words.
    """

    train: Loader
    validation: Loader
    test: Loader
    label: Label
    split: Split
    shape: InputShape
    leads: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    config: DataConfig
    placed: str


def loaders(
    store: Store, inputs: Sequence[str] = (SIGNAL,), protocol: str | None = None, batch_size: int = 32, **options: Any
) -> Loaders:
    """Return loaders of a store's training, validation and test rows.

    Rows whose label is unknown are left out of all three.

    Parameters
    ----------
    store : Store
        An open store.
    inputs : sequence of str
        ``signal``, stored representations, and others in the grammar of ``--reps``; pictures are joined as channels.
    protocol : str, optional
        The split; by default the store's.
    batch_size : int
        Rows of a batch, at most.
    **options
        Further keys of `ecgtrain.config.DataConfig`, such as ``channels``, ``augmentation`` or ``device``.

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
        If the protocol has no training or validation rows, or only those of one class to train on, or numbers folds
        and none is named.
    """
    asked = {"inputs": tuple(inputs), "protocol": protocol, "batch_size": batch_size, **options}
    return load(store, validate(DataConfig, asked, "loaders"))


def load(store: Store, config: DataConfig) -> Loaders:
    """Return loaders of a store's training, validation and test rows; see `loaders`."""
    split = chosen_split(store, config, config.fold)
    label = learned_label(store, config, split.scheme)
    parts = {part: known_rows(split, label, part) for part in (TRAIN, VALIDATION, TEST)}
    _check_parts(store, split, label, parts)
    assert store.signal.shards is not None
    block_rows = store.signal.shards[0]  # the same rows in every array: the order does not depend on what is read
    shape = input_shape(store, config, label)
    device = this_world().own_device(pick_device(config.device))
    reader, preparation, facts, placed = lay_out(store, config, parts[TRAIN], block_rows, device)

    def loader(items: Items) -> Loader:
        n_samples = store.signal.shape[2]
        return Loader(
            items, reader, preparation, shape.n_classes, n_samples, config.batch_size, block_rows, device,
            config.augmentation,
        )  # fmt: skip

    train, validation, test = (loader(stored_items(label, parts[part])) for part in (TRAIN, VALIDATION, TEST))
    train = replace(train, items=training_items(store, config, train.items))
    names = tuple(store.leads[lead] for lead in lead_numbers(store, config.channels))
    return Loaders(train, validation, test, label, split, shape, names, facts, config, placed)


def check_rows(store: Store, configs: Sequence[RunConfig]) -> None:
    """Raise if none of the runs has rows to train, validate and test on: what they share is said once.

    Raises
    ------
    UserError
        With each reason once.
    """
    reasons = [_lacking(store, config) for config in configs]
    if configs and all(reasons):
        raise UserError("; ".join(dict.fromkeys(filter(None, reasons))))


def _lacking(store: Store, config: RunConfig) -> str | None:
    """Return why a run would have no rows, of its first fold if it is over folds."""
    split = chosen_split(store, config, config.fold if config.folds is None else 0)
    label = learned_label(store, config, split.scheme)
    try:
        _check_parts(store, split, label, {part: known_rows(split, label, part) for part in (TRAIN, VALIDATION, TEST)})
    except UserError as error:
        return str(error)
    return None


def _check_parts(store: Store, split: Split, label: Label, parts: Mapping[int, Rows]) -> None:
    if not np.isin(split.values, (TRAIN, VALIDATION)).any() and len(parts[TEST]):
        raise UserError(
            f"protocol {split.protocol!r} of {store.name} has test rows alone; build its database together with one "
            "that is trained on and named first, such as --dataset mitdb,nstdb"
        )
    for part, rows in parts.items():
        if not len(rows):
            raise UserError(
                f"protocol {split.protocol!r} of {store.name} has no {SPLIT_NAMES[part]} rows with a known "
                f"{split.scheme} label; build the store from more records"
            )
    if label.multilabel or label.scheme == FUTURE:
        return
    classes = np.unique(label.values[parts[TRAIN]])
    if len(classes) == 1:
        raise UserError(
            f"all {len(parts[TRAIN]):,} training rows of protocol {split.protocol!r} of {store.name} have one "
            f"{split.scheme} label, {label.classes[classes[0]]}: there is nothing to learn; name other labels by "
            "--set scheme=NAME, build the store with others, or learn without labels by --model cpc/resnet18v2_1d"
        )
