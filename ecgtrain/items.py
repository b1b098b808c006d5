"""What a loader goes through: rows of a store, and synthetic ones mixed from two of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgtrain.config import FUTURE, DataConfig
from ecgtrain.samplers import Rows
from store.balance import Balance
from store.errors import UserError
from store.patients import NUMBER_COLUMN, SHARE_COLUMN, is_chosen
from store.read import Label, Split, Store

UNKNOWN_SINGLE, UNKNOWN_MULTI = -1, 255
PADDING_COLUMN = "valid_n"


@dataclass(frozen=True)
class Items:
    """Rows with their targets.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    target : torch.Tensor
        Class numbers, int64, shape (n,); or float32 0 and 1, shape (n, n_classes), of a multi-label task.
    partners : ndarray of int64, shape (n,)
        The second row of a synthetic one; the row itself of a stored one.
    weights : ndarray of float32, shape (n,)
        Share of the second row; 0 of a stored one.
    """

    rows: Rows
    target: Tensor
    partners: Rows
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_made(self) -> int:
        """How many a balance made: mixed of two rows, or copies beside a row."""
        stored = self.rows[self.partners == self.rows]
        return len(self) - len(np.unique(stored))

    def only(self, places: Rows) -> Items:
        """Return some of the items, by their places."""
        return Items(self.rows[places], self.target[places], self.partners[places], self.weights[places])


def stored_items(label: Label, rows: Rows) -> Items:
    """Return rows of a store as items."""
    values = label.values[rows]
    target = (values == 1).astype(np.float32) if label.multilabel else values.astype(np.int64)
    return Items(rows, torch.from_numpy(target), rows, np.zeros(len(rows), np.float32))


def known_rows(split: Split, label: Label, part: int) -> Rows:
    """Return the rows of one part whose label is known, ascending."""
    values = label.values
    known = (values != UNKNOWN_MULTI).all(axis=1) if label.multilabel else values != UNKNOWN_SINGLE
    return np.flatnonzero((split.values == part) & known)


def chosen_split(store: Store, config: DataConfig, fold: int | None) -> Split:
    """Return the protocol's split of one fold, with the labels that a run learns.

    Raises
    ------
    UnknownNameError
        If the store has no such protocol or labels.
    UserError
        If synthetic rows go with other labels.
    """
    split = store.split(config.protocol).of_fold(fold)
    if config.scheme is None or config.scheme == split.scheme:
        return split
    label = learned_label(store, config, config.scheme)
    if config.balance != "none":
        raise UserError(f"the balance {config.balance!r} was made for the labels {split.scheme}, not {label.scheme}")
    scored = label.classes[:1] if label.scheme == FUTURE else label.classes  # no row's next frame is another's
    return replace(split, scheme=label.scheme, score_classes=scored)


def learned_label(store: Store, config: DataConfig, scheme: str) -> Label:
    """Return labels of a store, or those of `future`: class 0, the true next frame, for each row without padding.

    Raises
    ------
    UnknownNameError
        If the store has no such labels.
    """
    if scheme != FUTURE:
        return store.label(scheme)
    values = np.zeros(store.n_rows, np.int8)
    if PADDING_COLUMN in store.columns:
        values[store.column(PADDING_COLUMN) < store.signal.shape[2]] = UNKNOWN_SINGLE
    classes = ("next", *(f"other {number}" for number in range(1, config.others + 1)))
    return Label(FUTURE, values, classes, multilabel=False, rule="the ninth of a row's nine frames comes next")


def training_items(store: Store, config: DataConfig, items: Items) -> Items:
    """Return what is trained on: the training rows of the patients that a run asks for, balanced and capped.

    Parameters
    ----------
    store : Store
        Where the balance lies.
    config : DataConfig
        Which balance, and how many rows of a class at most.
    items : Items
        The training rows.

    Raises
    ------
    UserError
        If no training row is of these patients, or a balance was made from all of them.
    """
    if config.patients is not None:
        items = of_patients(store, items, config)
    if config.balance != "none":
        items = balanced(items, store.balance(config.protocol, config.balance, config.fold))
    if config.samples_per_class is not None:
        items = capped(items, config.samples_per_class, config.seed)
    return items


def balanced(items: Items, balance: Balance) -> Items:
    """Return the training items that a balance keeps, and its synthetic ones after them."""
    kept = items.only(np.flatnonzero(balance.keep[items.rows]))
    return replace(
        kept,
        rows=np.concatenate([kept.rows, balance.parents[:, 0]]),
        target=torch.cat([kept.target, torch.from_numpy(balance.classes.astype(np.int64))]),
        partners=np.concatenate([kept.partners, balance.parents[:, 1]]),
        weights=np.concatenate([kept.weights, balance.weights.astype(np.float32)]),
    )


def of_patients(store: Store, items: Items, config: DataConfig) -> Items:
    """Return the items of the patients that a share or a range names; validation and test keep all of theirs.

    Raises
    ------
    UserError
        If there are none, or synthetic rows of other patients would come back in.
    """
    which = str(config.patients)
    if config.balance != "none":
        raise UserError(
            f"patients={which}: the balance {config.balance!r} was made from all training patients; use one"
        )
    number, share = (store.column(name)[items.rows] for name in (NUMBER_COLUMN, SHARE_COLUMN))
    kept = np.flatnonzero(is_chosen(which, number, share))
    if not len(kept):
        raise UserError(f"patients={which}: none of them is among the training patients of {store.name}")
    return items.only(kept)


def capped(items: Items, most: int, seed: int) -> Items:
    """Return at most so many items of a class, drawn at random.

    With several labels a row, items are drawn one by one and kept if any of their classes still has room; those without
    a label are a class of their own.
    """
    generator = np.random.default_rng([seed, most])
    drawn = generator.permutation(len(items))
    if items.target.ndim == 1:
        classes = items.target.numpy()[drawn]
        kept = np.concatenate([drawn[classes == name][:most] for name in np.unique(classes)])
        return items.only(np.sort(kept))
    labels = items.target.numpy() == 1
    labels = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1)
    room, chosen = np.full(labels.shape[1], most), []
    for place in drawn.tolist():
        if (room[labels[place]] > 0).any():
            room -= labels[place]
            chosen.append(place)
    return items.only(np.sort(np.array(chosen, dtype=np.int64)))
