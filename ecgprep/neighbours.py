"""Synthetic rows between neighbours, SMOTE and ADASYN, as pairs of rows and weights.

imbalanced-learn returns the mixed rows alone. Here the pairs are drawn, in the order in which it draws them, so that
equal seeds give its very rows and each can be traced to its parents.

References
----------
.. [1] Chawla, Bowyer, Hall, Kegelmeyer, SMOTE: Synthetic minority over-sampling technique, JAIR 16:321-357, 2002.
.. [2] He, Bai, Garcia, Li, ADASYN: Adaptive synthetic sampling approach for imbalanced learning, IJCNN 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.errors import EcgError

BLOCK_ROWS = 1025  # of fewer scikit-learn takes another way, which orders rows at one distance otherwise

Advance = Callable[[int], None]


class NoHardNeighboursError(EcgError, ValueError):
    """No row of a class has a neighbour of another class, so that ADASYN has nowhere to draw from.

    Parameters
    ----------
    number : int
        The class.
    """

    exit_code = 2

    def __init__(self, number: int) -> None:
        super().__init__(f"no row of class {number} has a neighbour of another class")
        self.number = number


@dataclass(frozen=True)
class Pairs:
    """Synthetic rows.

    Parameters
    ----------
    parents : ndarray of int64, shape (n, 2)
        The two rows that each lies between.
    weights : ndarray of float64, shape (n,)
        How far it lies from the first towards the second, 0 to 1.
    classes : ndarray of int64, shape (n,)
        Its class.
    """

    parents: NDArray[np.int64]
    weights: NDArray[np.float64]
    classes: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """Return several lots of synthetic rows as one."""
        return cls(
            parents=np.concatenate([np.empty((0, 2), np.int64), *(part.parents for part in parts)]),
            weights=np.concatenate([np.empty(0), *(part.weights for part in parts)]),
            classes=np.concatenate([np.empty(0, np.int64), *(part.classes for part in parts)]),
        )


def draw_smote(
    rows: NDArray[np.float32],
    classes: NDArray[np.int64],
    n_new: Mapping[int, int],
    n_neighbours: int,
    seed: int,
    advance: Advance = lambda n: None,
) -> Pairs:
    """Return synthetic rows between rows of a class and their nearest neighbours of that class.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        Signals, as counts: distances of whole numbers are exact, and so the neighbours are always the same.
    classes : ndarray of int64, shape (n_rows,)
        Class of each.
    n_new : mapping
        How many rows to make of each class; each class has more rows than `n_neighbours`.
    n_neighbours : int
        How many neighbours of a row are drawn from.
    seed : int
        Seed of the draw.
    advance : callable
        Called with the number of rows whose neighbours have been found since the last call.

    References
    ----------
    Chawla et al. 2002 [1]_. As in imbalanced-learn, each class starts from the seed anew.
    """
    parts = []
    for number, n in sorted(n_new.items()):
        members = np.flatnonzero(classes == number)
        near = find_neighbours(rows[members], rows[members], n_neighbours, advance)
        parts.append(pair_with_neighbours(members, near, number, n, seed))
    return Pairs.joined(parts)


def pair_with_neighbours(
    members: NDArray[np.int64], near: NDArray[np.int64], number: int, n_new: int, seed: int
) -> Pairs:
    """Return the pairs that SMOTE draws of one class whose neighbours are known.

    Parameters
    ----------
    members : ndarray of int64, shape (n,)
        The rows of the class.
    near : ndarray of int64, shape (n, n_neighbours)
        Neighbours of each, as places in `members`.
    number : int
        The class.
    n_new : int
        How many pairs to draw.
    seed : int
        Seed of the draw.
    """
    from sklearn.utils import check_random_state

    generator = check_random_state(seed)
    drawn = generator.randint(low=0, high=near.size, size=n_new)
    first, neighbour = np.divmod(drawn, near.shape[1])
    parents = np.stack([members[first], members[near[first, neighbour]]], axis=1)
    return Pairs(parents, generator.uniform(size=n_new), np.full(n_new, number))


def draw_adasyn(
    rows: NDArray[np.float32],
    classes: NDArray[np.int64],
    n_new: Mapping[int, int],
    n_neighbours: int,
    seed: int,
    advance: Advance = lambda n: None,
) -> Pairs:
    """Return synthetic rows as `draw_smote` does, more of them where neighbours belong to other classes.

    The number of rows differs a little from `n_new`, because each row's share is rounded.

    Parameters
    ----------
    rows, classes, n_new, n_neighbours, seed, advance
        As in `draw_smote`; here the rows of all classes matter.

    Raises
    ------
    NoHardNeighboursError
        If no row of a class has a neighbour of another class.

    References
    ----------
    He et al. 2008 [2]_. As in imbalanced-learn, one class is set against all others.
    """
    from sklearn.utils import check_random_state

    generator = check_random_state(seed)
    parts = []
    for number, n in sorted(n_new.items()):
        members = np.flatnonzero(classes == number)
        around = find_neighbours(rows, rows[members], n_neighbours, advance)
        n_other = np.sum(classes[around] != number, axis=1)
        if not n_other.any():
            raise NoHardNeighboursError(number)
        share = n_other / n_neighbours
        n_of_row = np.rint(share / share.sum() * n).astype(np.int64)  # in its order: halves round by the last bit
        near = find_neighbours(rows[members], rows[members], n_neighbours, advance)
        first = np.repeat(np.arange(len(members)), n_of_row)
        neighbour = generator.choice(n_neighbours, size=len(first))
        weights = generator.uniform(size=(len(first), 1))[:, 0]
        parents = np.stack([members[first], members[near[first, neighbour]]], axis=1)
        parts.append(Pairs(parents, weights, np.full(len(first), number)))
    return Pairs.joined(parts)


def find_neighbours(
    among: NDArray[np.float32], rows: NDArray[np.float32], n_neighbours: int, advance: Advance
) -> NDArray[np.int64]:
    """Return the nearest neighbours of each of `rows`, which are themselves `among` them, without the row itself.

    They are found by blocks, each of which scikit-learn searches as it would all rows at once, on one thread: so rows
    at one distance come in the order in which imbalanced-learn has them there. (On several threads it has others.)

    Parameters
    ----------
    among : ndarray of float32, shape (n, n_features)
        Where neighbours are looked for.
    rows : ndarray of float32, shape (m, n_features)
        Whose neighbours.
    n_neighbours : int
        How many of each.
    advance : callable
        Called with the number of rows that are done since the last call.

    Returns
    -------
    ndarray of int64, shape (m, n_neighbours)
        Places in `among`, the nearest first. Of equal rows the first is taken for the row itself.
    """
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    finder = NearestNeighbors(n_neighbors=n_neighbours + 1, algorithm="brute").fit(among)
    found = []
    with threadpool_limits(limits=1):
        for block in np.array_split(rows, max(1, len(rows) // BLOCK_ROWS)):
            found.append(finder.kneighbors(block, return_distance=False)[:, 1:])
            advance(len(block))
    return np.concatenate(found)
