"""Balances: rows that are mixed from pairs of training rows, and the training rows that take part.

A synthetic row is never stored as a signal, only as two rows and a weight. So it can be checked where it comes from,
and whatever is drawn of it is drawn from the mixed signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import LeakError
from store.plan import Values

GROUP = "synthetic"


def balance_path(protocol: str, fold: int | None, name: str) -> str:
    """Return where a balance lies in a store."""
    parts = (protocol, name) if fold is None else (protocol, str(fold), name)
    return f"{GROUP}/{'-'.join(parts)}"


@dataclass(frozen=True)
class Balance:
    """What one balance adds to the training rows of a protocol, or of one of its folds, and what it leaves of them.

    Parameters
    ----------
    protocol : str
        The split protocol.
    fold : int or None
        The fold that is tested, where the protocol numbers folds.
    name : str
        Name of the balance, such as ``smote``.
    parents : ndarray of int64, shape (n_synthetic, 2)
        The two training rows, a and b, of each synthetic row.
    weights : ndarray of float32, shape (n_synthetic,)
        w of each; the synthetic row is (1 − w)·a + w·b.
    classes : ndarray of int8, shape (n_synthetic,)
        Class of each, of the protocol's label scheme.
    keep : ndarray of bool, shape (n_rows,)
        The rows of the store that are trained on beside them.
    facts : mapping
        How it was made: ``method``, ``scheme``, ``classes``, parameters, and rows of each class ``before`` and
        ``after``.
    """

    protocol: str
    fold: int | None
    name: str
    parents: NDArray[np.int64]
    weights: NDArray[np.float32]
    classes: NDArray[np.int8]
    keep: NDArray[np.bool_]
    facts: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Where it lies in a store: ``synthetic/<protocol>[-<fold>]-<name>``."""
        return balance_path(self.protocol, self.fold, self.name)

    def stored(self) -> dict[str, Values]:
        """Return the arrays that the store keeps, by path; the facts are attributes of ``class``."""
        facts = {"protocol": self.protocol, "fold": self.fold, "name": self.name, **self.facts}
        return {
            f"{self.path}/parent": Values(self.parents, {}, ("synthetic", "parent")),
            f"{self.path}/weight": Values(self.weights, {}, ("synthetic",)),
            f"{self.path}/class": Values(self.classes, facts, ("synthetic",)),
            f"{self.path}/keep": Values(self.keep, {}, ("row",)),
        }

    def check(self, training: NDArray[np.bool_]) -> None:
        """Raise if a parent or a kept row is no training row.

        Parameters
        ----------
        training : ndarray of bool, shape (n_rows,)
            The training rows of the protocol and fold.

        Raises
        ------
        LeakError
            Naming one of the rows.
        """
        of_store = (self.parents >= 0) & (self.parents < len(training))
        strays = self.parents[~of_store | ~training[np.where(of_store, self.parents, 0)]]
        kept = np.flatnonzero(self.keep & ~training)
        fold = "" if self.fold is None else f", fold {self.fold}"
        for rows, what in ((strays, "are parents of synthetic rows"), (kept, "are kept")):
            if len(rows):
                raise LeakError(
                    f"{self.path}: {len(np.unique(rows))} rows {what} that do not train in {self.protocol!r}{fold} "
                    f"(row {rows[0]}); build the store again"
                )


def mix_rows(first: NDArray[Any], second: NDArray[Any], weights: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Return the synthetic rows of pairs of stored signals, as counts, which is what pictures are drawn from.

    Parameters
    ----------
    first, second : ndarray of int16, shape (n, n_leads, n_samples)
        Signals of the parents.
    weights : ndarray, shape (n,)
        Weight of the second of each pair, 0 to 1.
    """
    step = np.asarray(weights, np.float32)[:, None, None]
    mixed = first.astype(np.float32) + step * (second.astype(np.float32) - first)
    counts: NDArray[np.int16] = np.rint(mixed).astype(np.int16)
    return counts
